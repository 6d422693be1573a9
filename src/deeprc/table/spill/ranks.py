"""Ranks of values, over pieces: the values sorted with the numbers of their rows, and what has come before each."""

from __future__ import annotations

import secrets

import polars as pl

from deeprc.table.operators.shuffle import ROW_NUMBER
from deeprc.table.plan.expressions import from_tree, tree
from deeprc.table.plan.lowering import lowered
from deeprc.table.plan.nodes import Select, Sort, Source
from deeprc.table.plan.window_nodes import Ranked
from deeprc.table.spill.context import Spilling
from deeprc.table.spill.pieces import Pieces
from deeprc.table.spill.windows import beside

_VALUE, _LOT = "__value__", "__lot__"


def ranked(node: Ranked, run: Spilling) -> Pieces:
    """One expression after another; the places go back by the numbers of the rows."""
    rows = run.numbered(run.pieces(node.input), node.label())
    source = rows.source(node.label(), numbers=True)
    results = [run.pieces(lowered(_placed(expression, source, node, run))) for expression in node.exprs]
    return beside(rows, results, node, run)


def _placed(expression: pl.Expr, source: Source, node: Ranked, run: Spilling) -> Select:
    """The numbers of the rows and the places of their values, by the operators of a table."""
    function = tree(expression)["Alias"][0]["Function"]
    options = function["function"]["Rank"]["options"]
    name, method = expression.meta.output_name(), str(options["method"])
    # Of equal values the first one comes first, or, by "random", whichever draws the lower lot.
    tie = pl.col(ROW_NUMBER)
    if method == "Random":
        tie = tie.hash(run.comm.broadcast(secrets.randbits(63)))
    values = Select(source, (from_tree(function["input"][0]).alias(_VALUE), pl.col(ROW_NUMBER), tie.alias(_LOT)))
    by = (pl.col(_VALUE), pl.col(_LOT))
    ordered = Sort(values, by, (bool(options["descending"]), False), (True, False))
    place = pl.when(pl.col(_VALUE).is_not_null()).then(_places(method))
    return Select(ordered, (pl.col(ROW_NUMBER), place.cast(node.schema[name]).alias(name)))


def _places(method: str) -> pl.Expr:
    """Of sorted values, nulls last."""
    value, number = pl.col(_VALUE), pl.int_range(pl.len()) + 1
    # The neighbour of the first or the last row is null, as no value that is ranked is.
    begins, ends = value.ne_missing(value.shift(1)), value.ne_missing(value.shift(-1))
    first, last = pl.when(begins).then(number).forward_fill(), pl.when(ends).then(number).backward_fill()
    places: dict[str, pl.Expr] = {
        "Ordinal": number,
        "Random": number,
        "Dense": begins.cast(pl.Int64).cum_sum(),
        "Min": first,
        "Max": last,
        "Average": (first + last) / 2,
    }
    return places[method]
