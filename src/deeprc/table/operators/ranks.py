"""Columns of places: the rank of a value among all, the number of a row."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import polars as pl

from deeprc.table.exchange.exchange import exchange, replicate
from deeprc.table.operators.shuffle import ROW_NUMBER, numbered
from deeprc.table.operators.sort import sort_rows
from deeprc.table.plan.expressions import from_tree, tree
from deeprc.table.plan.window_nodes import Numbered, Ranked
from deeprc.table.stage import Execution, Stage

_VALUE, _PLACE, _RUN, _FIRST, _LAST = "__value__", "__place__", "__run__", "__first__", "__last__"
_LOT = "__lot__"
_KEYS = ("__key__", "__nan__")


def run_numbered(node: Numbered, run: Execution) -> Stage:
    """Numbers begin after those of the ranks before."""
    stage = run.stage(node.input)
    frame, facts = run.measure(stage.frame, node)
    start = sum(rows for rows, _ in facts[: run.comm.rank])
    numbers = pl.int_range(start, start + frame.height, dtype=pl.Int64, eager=True)
    columns = [numbers.cast(node.schema[item.meta.output_name()]).alias(item.meta.output_name()) for item in node.exprs]
    return Stage(frame.with_columns(columns).lazy(), stage.placement)


def run_ranked(node: Ranked, run: Execution) -> Stage:
    """The values are sorted over all ranks; what place each has goes back to its row."""
    stage = run.stage(node.input)
    frame, facts = run.measure(stage.frame, node)
    heights = [rows for rows, _ in facts]
    columns = [_ranks(expression, frame, heights, node, run) for expression in node.exprs]
    return Stage(frame.with_columns(columns).lazy(), stage.placement)


def _ranks(expression: pl.Expr, frame: pl.DataFrame, heights: list[int], node: Ranked, run: Execution) -> pl.Series:
    function = tree(expression)["Alias"][0]["Function"]
    options = function["function"]["Rank"]["options"]
    name = expression.meta.output_name()
    values = run.collect(frame.lazy().select(from_tree(function["input"][0]).alias(_VALUE)), node)
    rows = numbered(values, heights, run.comm.rank)
    # Of equal values the first one comes first, or, by "random", whichever draws the lower lot.
    lots = pl.Series(_LOT, np.random.default_rng().random(rows.height))
    keys = [pl.col(_VALUE), pl.col(_LOT if options["method"] == "Random" else ROW_NUMBER)]
    rows = rows.with_columns(lots) if options["method"] == "Random" else rows
    ordered = sort_rows(rows.lazy(), keys, [options["descending"], False], [True, False], run, node.label())
    placed = _placed(ordered, str(options["method"]), node, run)
    ranked = placed.select(
        ROW_NUMBER, pl.when(pl.col(_VALUE).is_not_null()).then(_PLACE).cast(node.schema[name]).alias(name)
    ).sort(ROW_NUMBER)
    return _back(ranked, heights, node, run)[name]


def _placed(ordered: pl.DataFrame, method: str, node: Ranked, run: Execution) -> pl.DataFrame:
    """Sorted rows with the places of their values. A run of equal values may go on on other ranks."""
    facts = run.comm.all_gather(ordered.height)
    start = sum(facts[: run.comm.rank]) + 1
    rows = ordered.with_columns(
        pl.int_range(start, start + ordered.height, dtype=pl.Int64, eager=True).alias(_PLACE),
        ordered[_VALUE].rle_id().alias(_RUN),
    )
    if method in ("Ordinal", "Random"):
        return rows
    rows = rows.with_columns(
        pl.col(_PLACE).min().over(_RUN).alias(_FIRST), pl.col(_PLACE).max().over(_RUN).alias(_LAST)
    )
    ends = replicate(_ends(rows, run.comm.rank), run.comm, node.label())
    if method == "Dense":
        return rows.with_columns((pl.col(_RUN).cast(pl.Int64) + _runs_before(ends, run.comm.rank)).alias(_PLACE))
    keys = _matching(rows.schema[_VALUE])
    whole = ends.group_by(*keys).agg(pl.col(_FIRST).min().alias("__low__"), pl.col(_LAST).max().alias("__high__"))
    joined = rows.with_columns(keys).join(
        whole, on=_KEYS[: len(keys)], how="left", nulls_equal=True, maintain_order="left"
    )
    low, high = pl.min_horizontal(_FIRST, "__low__"), pl.max_horizontal(_LAST, "__high__")
    places: dict[str, Any] = {"Min": low, "Max": high, "Average": (low + high) / 2}
    return joined.with_columns(places[method].alias(_PLACE))


def _matching(dtype: pl.DataType) -> list[pl.Expr]:
    """Columns to join by, so that NaN matches NaN, which it does not in Polars' joins."""
    value = pl.col(_VALUE)
    if not dtype.is_float():
        return [value.alias(_KEYS[0])]
    return [value.fill_nan(None).alias(_KEYS[0]), value.is_nan().fill_null(False).alias(_KEYS[1])]


def _ends(rows: pl.DataFrame, rank: int) -> pl.DataFrame:
    """The first and the last row of a rank that has any."""
    some = pl.concat([rows.head(1), rows.tail(1)])
    return some.select(_VALUE, _FIRST, _LAST, _RUN, pl.lit(rank, dtype=pl.Int64).alias("rank"))


def _runs_before(ends: pl.DataFrame, rank: int) -> int:
    """One more than how many different values come before a rank's first one."""
    firsts, lasts = (ends.filter(pl.int_range(pl.len()) % 2 == which) for which in (0, 1))
    before = lasts.filter(pl.col("rank") < rank)
    # A rank whose first value is the last one of the rank before it has begun no run of its own.
    same = firsts.slice(1)[_VALUE].eq_missing(lasts.head(max(lasts.height - 1, 0))[_VALUE])
    shared = int(same.filter(firsts.slice(1)["rank"] <= rank).sum() or 0)
    return int(before[_RUN].cast(pl.Int64).sum()) + before.height - shared + 1


def _back(results: pl.DataFrame, heights: list[int], node: Ranked, run: Execution) -> pl.DataFrame:
    """The rows, which have numbers and are sorted by these, to the ranks whose numbers they are."""
    edges = results[ROW_NUMBER].search_sorted(pl.Series(accumulate(heights, initial=0), dtype=pl.Int64)).to_list()
    parts = [results.slice(start, end - start) for start, end in pairwise(edges)]
    return exchange(parts, run.comm, f"{node.label()} (back)").sort(ROW_NUMBER)
