from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deeprc.spec import Pipeline, Resources, SessionSpec, TaskRef, TaskSpec, dump_pipeline, load_pipeline

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,8}", fullmatch=True)
TRICKY = st.sampled_from(
    [
        "",
        "no",
        "1e-3",
        "01547700",
        "~",
        "null",
        "${x}",
        "$${x}",
        "a: b",
        "#",
        "- x",
        "1:30",
        "2000-01-01",
        "0x1",
        "\n",
        " x ",
        "\ttab",
        "é",
        "=",
        "<<",
        "*",
        "&a",
        "!t",
        "%",
        "@",
        "`",
        "'",
        '"',
        "{a}",
        "[",
        "?",
        "true",
        "+1",
    ]
)
TEXT = st.text(max_size=12) | TRICKY
FLOATS = st.floats(allow_nan=False)
SCALARS = st.none() | st.booleans() | st.integers() | FLOATS | TEXT


KEYS = TEXT.filter(lambda key: key not in ("task", "tasks"))
# A reference to one of the tasks before, by its number, counted anew where there are fewer.
REFERENCES = st.integers(0, 3).map(lambda number: {"before": number})
VALUES = st.recursive(
    SCALARS | REFERENCES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


def refer(value: Any, before: list[str]) -> Any:
    if isinstance(value, dict) and set(value) == {"before"} and before:
        return TaskRef(task=before[value["before"] % len(before)]) if isinstance(value["before"], int) else value
    if isinstance(value, dict):
        return {key: refer(item, before) for key, item in value.items()}
    return [refer(item, before) for item in value] if isinstance(value, list) else value


RESOURCES = st.builds(
    Resources,
    ranks=st.integers(1, 4),
    comm=st.sampled_from(["auto", "mpi", "gloo"]),
    threads=st.integers(1, 3),
    memory_bytes=st.none() | st.integers(1, 2**45),
    timeout_s=st.none() | st.floats(1e-3, 1e7),
    retries=st.integers(0, 3),
    isolated=st.booleans(),
    priority=st.integers(-5, 5),
)
SESSIONS = st.builds(SessionSpec, pilot=NAMES, cores=st.none() | st.integers(12, 99), nodes=st.integers(1, 5))


ARGS = st.lists(VALUES, max_size=2)
KWARGS = st.dictionaries(TEXT, VALUES, max_size=2)
NAME_LISTS = st.lists(NAMES, min_size=1, max_size=4, unique=True)
FUNCTIONS = st.sampled_from(["package.module:function", "/some/folder/${x}/file.py:f"])


@st.composite
def pipelines(draw: st.DrawFn) -> Pipeline:
    names = draw(NAME_LISTS)
    tasks = [
        TaskSpec(
            name=name,
            function=draw(FUNCTIONS),
            args=tuple(refer(draw(ARGS), names[:index])),
            kwargs=refer(draw(KWARGS), names[:index]),
            resources=draw(RESOURCES),
        )
        for index, name in enumerate(names)
    ]
    return Pipeline(name=draw(NAMES), session=draw(SESSIONS), tasks=tuple(tasks))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("roundtrip")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(pipeline=pipelines())
def test_any_pipeline_survives_yaml(folder: Path, pipeline: Pipeline) -> None:
    """Whatever Python can describe, YAML says as well: dumped and loaded it is equal, digest included."""
    path = folder / "pipeline.yaml"
    path.write_text(dump_pipeline(pipeline), encoding="utf-8")
    loaded = load_pipeline(path, check=False)
    assert loaded == pipeline
    assert loaded.plain() == pipeline.plain()
