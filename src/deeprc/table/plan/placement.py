"""Where rows are: which columns' hash decides a row's rank, and what operators leave of that."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from deeprc.table.plan.expressions import plain_column
from deeprc.table.plan.nodes import Drop, Filter, Rename, Select, Step, WithColumns

# Names of the columns that rows are hashed by, in the order of the hash; None: no rule.
Placement = tuple[str, ...] | None


def after_step(step: Step, placement: Placement) -> Placement:
    """The placement of a step's result, given that of its input."""
    if placement is None or isinstance(step, Filter):
        return placement
    if isinstance(step, Rename):
        return tuple(step.mapping.get(name, name) for name in placement)
    if isinstance(step, Drop):
        return None if set(placement) & set(step.names) else placement
    if isinstance(step, WithColumns):
        written = set(pl.LazyFrame(schema=step.input.schema).select(*step.exprs).collect_schema())
        return None if set(placement) & written else placement
    if isinstance(step, Select):
        kept = {plain_column(expression) for expression in step.exprs}
        return placement if set(placement) <= kept else None
    return None


def key_columns(keys: Sequence[pl.Expr]) -> Placement:
    """The placement that hashing by these keys gives: known where all keys are plain columns."""
    names = [plain_column(key) for key in keys]
    return None if None in names else tuple(name for name in names if name is not None)


def matching_keys(placement: Placement, keys: Sequence[pl.Expr]) -> tuple[int, ...] | None:
    """Which of the keys, in which order, the rows are hashed by; None where rows with equal keys may be apart."""
    if placement is None:
        return None
    names = [plain_column(key) for key in keys]
    if not all(name in names for name in placement):
        return None
    return tuple(names.index(name) for name in placement)
