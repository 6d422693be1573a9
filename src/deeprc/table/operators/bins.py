"""Bins whose edges are quantiles of the whole table: the edges are found by all ranks, then each has its own values."""

from __future__ import annotations

import polars as pl

from deeprc.table.exchange.exchange import replicate
from deeprc.table.operators.aggregate import aggregate
from deeprc.table.plan.expressions import from_tree, tree
from deeprc.table.plan.nodes import Select
from deeprc.table.plan.window_nodes import Binned
from deeprc.table.stage import Execution, Stage


def run_binned(node: Binned, run: Execution) -> Stage:
    """`qcut`. Rows stay where they are."""
    stage = run.stage(node.input)
    frame = run.collect(stage.frame, node)
    columns = [_bins(expression, frame, node, run) for expression in node.exprs]
    return Stage(run.collect(frame.lazy().with_columns(columns), node).lazy(), stage.placement)


def _bins(expression: pl.Expr, frame: pl.DataFrame, node: Binned, run: Execution) -> pl.Expr:
    """The expression with edges in place of parts of one.

    Raises:
        DuplicateError: edges are equal, and `allow_duplicates` was not given; on all ranks alike, as by Polars.
    """
    function = tree(expression)["Alias"][0]["Function"]
    options = function["function"]["QCut"]
    known = from_tree(function["input"][0]).cast(pl.Float64).fill_nan(None)
    quantiles = [known.quantile(part, "linear").alias(f"__{index}") for index, part in enumerate(options["probs"])]
    once = aggregate(Select(node.input, tuple(quantiles)), Stage(frame.lazy()), run)
    found = replicate(run.collect(once.frame, node), run.comm, node.label()).row(0) if quantiles else ()
    edges = sorted(edge for edge in found if edge is not None)
    if len(set(edges)) < len(edges) and not options["allow_duplicates"]:
        raise pl.exceptions.DuplicateError("quantiles are not unique while allow_duplicates=False")
    # Of bins between equal edges, which are empty, the labels are left out too.
    last = [index for index, edge in enumerate(edges) if edge not in edges[index + 1 :]]
    labels = options["labels"] and [options["labels"][index] for index in (0, *(place + 1 for place in last))]
    kept = {name: options[name] for name in ("left_closed", "include_breaks")}
    cut = {"Cut": {"breaks": [edges[index] for index in last], "labels": labels, **kept}}
    name = expression.meta.output_name()
    return from_tree({"Function": {**function, "function": cut}}).cast(node.schema[name]).alias(name)
