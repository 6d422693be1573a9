"""Whether a function will compute on a GPU is found in its code where every run of it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from deeprc.errors import MissingDependencyError, SpecError
from deeprc.spec import engine


def plain(table: Any) -> Any:
    return table.sort("k").collect(engine="gpu")


def among_others(table: Any, name: str) -> Any:
    rows = table.filter(name is not None)
    return rows.persist(name, engine="gpu", other=name)


def after_a_branch(table: Any, name: str | None) -> Any:
    if name is None:
        name = "table"
    for _ in range(3):
        table = table.head()
    return table.gather(0, engine="gpu")


def in_a_branch(table: Any, fast: bool) -> Any:
    return table.collect(engine="gpu") if fast else table.collect()


def after_a_way_out(table: Any, fast: bool) -> Any:
    if not fast:
        return table.collect()
    return table.collect(engine="gpu")


def in_a_loop(tables: Any) -> Any:
    for table in tables:
        table.collect(engine="gpu")


def with_a_way_back(table: Any) -> Any:
    try:
        return table.collect(engine="gpu")
    except SpecError:
        return table.collect()


def of_another(table: Any, kind: str) -> Any:
    return table.collect(engine="streaming", kind="gpu").join(table.collect(kind=kind, engine=kind))


def never(table: Any) -> Any:
    return table.map(lambda part: part.collect(engine="gpu"))


@pytest.mark.parametrize("function", [plain, among_others, after_a_branch])
def test_a_certain_call_is_refused_without_a_gpu(function: Callable[..., Any]) -> None:
    """With what to do."""
    with pytest.raises(SpecError, match=r"this task has gpus=0\. Use gpus=1 .* or engine=\"streaming\""):
        engine.check_engine_call(function, gpus=0)


@pytest.mark.parametrize(
    "function", [in_a_branch, after_a_way_out, in_a_loop, with_a_way_back, of_another, never, len, int]
)
def test_a_call_that_may_not_come_is_left_to_the_rank(function: Callable[..., Any]) -> None:
    """Nothing is refused that could succeed."""
    engine.check_engine_call(function, gpus=0)


def test_the_package_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU alone is not enough."""
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install \"polars\[gpu\]\""):
        engine.check_engine_call(plain, gpus=1)
    monkeypatch.setattr(engine, "find_spec", lambda name: object())
    engine.check_engine_call(plain, gpus=1)
    engine.check_engine_argument("streaming", gpus=0)
