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


def values(names: list[str]) -> st.SearchStrategy[Any]:
    """Arguments of a task that may need the tasks `names`."""
    leaves = SCALARS | (st.sampled_from(names).map(lambda name: TaskRef(task=name)) if names else st.none())
    keys = TEXT.filter(lambda key: key not in ("task", "tasks"))
    return st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3))


RESOURCES = st.builds(
    Resources,
    ranks=st.integers(1, 4),
    comm=st.sampled_from(["auto", "mpi", "gloo"]),
    threads=st.integers(1, 3),
    memory_bytes=st.none() | st.integers(1, 2**45),
    timeout_s=st.none() | st.floats(1e-3, 1e7),
    retries=st.integers(0, 3),
    isolated=st.booleans(),
)
SESSIONS = st.builds(SessionSpec, pilot=NAMES, cores=st.none() | st.integers(12, 99), nodes=st.integers(1, 5))


@st.composite
def pipelines(draw: st.DrawFn) -> Pipeline:
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    tasks = [
        TaskSpec(
            name=name,
            function=draw(st.sampled_from(["package.module:function", "/some/folder/${x}/file.py:f"])),
            args=tuple(draw(st.lists(values(names[:index]), max_size=2))),
            kwargs=draw(st.dictionaries(TEXT, values(names[:index]), max_size=2)),
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
