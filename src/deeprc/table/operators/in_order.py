"""Columns of the table in another order: rows are sorted over the ranks, computed there, and the column comes back."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import polars as pl

from deeprc.table.exchange.exchange import exchange
from deeprc.table.operators.shuffle import ROW_NUMBER, numbered
from deeprc.table.operators.sort import sort_rows
from deeprc.table.plan.expressions import from_tree, root_columns, tree
from deeprc.table.plan.lowering import lowered
from deeprc.table.plan.nodes import Node, Source, WithColumns
from deeprc.table.plan.window_nodes import InOrder
from deeprc.table.stage import Execution, Stage


def run_in_order(node: InOrder, run: Execution) -> Stage:
    """`x.over(order_by=...)` of the whole table."""
    stage = run.stage(node.input)
    frame, facts = run.measure(stage.frame, node)
    heights = [rows for rows, _ in facts]
    flags = node.descending, node.nulls_last
    columns = [in_order(_function(expression), frame, node.by, flags, heights, node, run) for expression in node.exprs]
    return Stage(frame.with_columns(columns).lazy(), stage.placement)


def _function(expression: pl.Expr) -> pl.Expr:
    over = tree(expression)["Alias"][0]["Over"]
    return from_tree(over["function"]).alias(expression.meta.output_name())


def in_order(
    expression: pl.Expr,
    frame: pl.DataFrame,
    by: Sequence[pl.Expr],
    flags: tuple[bool, bool],
    heights: Sequence[int],
    node: Node,
    run: Execution,
) -> pl.Series:
    """This rank's part of a column that is computed of the table sorted by some keys. Collective.

    Args:
        flags: whether the order descends, and whether nulls are last.
        heights: how many rows of the table each rank has.
    """
    schema = frame.schema
    read = root_columns((expression, *by), schema)
    rows = numbered(frame.select([name for name in schema if name in read]), heights, run.comm.rank)
    keys = [*by, pl.col(ROW_NUMBER)]
    descending, nulls_last = ([flag] * len(by) + [False] for flag in flags)
    ordered = sort_rows(rows.lazy(), keys, descending, nulls_last, run, node.label())
    source = Source(f"ROWS IN ORDER OF {node.label()}", ordered.schema, lambda _: ordered.lazy())
    stage = run.stage(lowered(WithColumns(source, (expression,))))
    name = expression.meta.output_name()
    results = run.collect(stage.frame.select(ROW_NUMBER, name), node).sort(ROW_NUMBER)
    edges = results[ROW_NUMBER].search_sorted(pl.Series(accumulate(heights, initial=0), dtype=pl.Int64)).to_list()
    parts = [results.slice(start, end - start) for start, end in pairwise(edges)]
    return exchange(parts, run.comm, f"{node.label()} (back)").sort(ROW_NUMBER)[name]
