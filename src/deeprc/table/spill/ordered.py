"""Operators whose result has an order of its own, over pieces: rows are numbered, and sorted by their numbers."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import polars as pl

from deeprc.table.exchange.exchange import concat, gather, together
from deeprc.table.files.statistics import widths
from deeprc.table.operators.shuffle import ROW_NUMBER
from deeprc.table.plan.expressions import is_row_wise, reads_by_selector, tree
from deeprc.table.plan.nodes import Drop, GroupBy, Head, Node, Select, Sort, Source, Unique
from deeprc.table.plan.row_nodes import Permute, Reverse, TopK
from deeprc.table.spill.context import Spilling, unread
from deeprc.table.spill.groups import of_keys
from deeprc.table.spill.pieces import Pieces

_HASH = "__hash__"


def ranks_locally(node: TopK) -> bool:
    """Whether a row's keys can be told from the row alone."""
    schema = node.input.schema
    return all(is_row_wise(key, schema) and not reads_by_selector(tree(key)) for key in node.by)


def top_k(node: TopK, run: Spilling) -> Pieces:
    """The best rows of each batch and of those before it; so many that they are no batch are the first of a sort."""
    if node.k * sum(widths(node.schema).values()) > run.room.batch:
        # Polars takes nulls last, whatever the direction.
        descending = tuple(back != node.largest for back in node.reverse)
        return run.pieces(Head(Sort(node.input, node.by, descending, (True,) * len(node.by)), node.k))
    pieces = run.pieces(node.input)

    def best() -> pl.DataFrame:
        found = pieces.empty
        for batch in pieces.batches(run.room):
            found = node.apply(concat([found, batch]).lazy()).collect()
        return found

    own, _ = together(run.comm, f"computing its part for {node.label()}", best, lambda _: None)
    # Of all ranks' the best, on rank 0.
    part = node.apply(gather(own, run.comm, node.label()).lazy())
    return Pieces(node.schema, lambda: iter([part]), again=True)


def group_by(node: GroupBy, run: Spilling) -> Pieces:
    """`maintain_order=True`: groups in the order of their first rows in the whole table."""
    rows = run.numbered(run.pieces(node.input), node.label())
    first = pl.col(ROW_NUMBER).min()
    if not any(reads_by_selector(tree(item)) for item in (*node.keys, *node.aggs)):
        return _in_order(GroupBy(rows.source(node.label(), numbers=True), node.keys, (*node.aggs, first)), node, run)
    pieces = rows.pieces(rows.kept.pieces.schema.names())

    def groups(frame: pl.LazyFrame) -> pl.LazyFrame:
        numbers = frame.group_by(*node.keys, maintain_order=True).agg(first).select(ROW_NUMBER)
        return pl.concat([node.apply(frame.drop(ROW_NUMBER)), numbers], how="horizontal")

    schema = pl.Schema({**node.schema, ROW_NUMBER: pl.Int64()})
    found = of_keys(pieces, node.keys, groups, schema, node, run, run.buckets_of(rows.bytes))
    return _in_order(Source(node.label(), schema, unread, portions=lambda comm, size: found.frames), node, run)


def unique(node: Unique, run: Spilling) -> Pieces:
    """`maintain_order=True`: what is kept, in the order of the whole table."""
    rows = run.numbered(run.pieces(node.input), node.label())
    names = tuple(node.input.schema) if node.subset is None else node.subset
    return _in_order(Unique(rows.source(node.label(), numbers=True), names, node.keep), node, run)


def reverse(node: Reverse, run: Spilling) -> Pieces:
    rows = run.numbered(run.pieces(node.input), node.label())
    return _in_order(rows.source(node.label(), numbers=True), node, run, descending=True)


def permute(node: Permute, run: Spilling) -> Pieces:
    """Sorted by the hashes of the rows' numbers."""
    rows = run.numbered(run.pieces(node.input), node.label())
    seed = run.comm.broadcast(secrets.randbits(63) if node.seed is None else node.seed)
    numbered = rows.pieces(rows.kept.pieces.schema.names())
    schema = pl.Schema({**numbered.schema, _HASH: pl.UInt64()})
    hashed = numbered.map(lambda frame: frame.with_columns(pl.col(ROW_NUMBER).hash(seed).alias(_HASH)), schema)
    source = Source(node.label(), schema, unread, portions=lambda comm, size: hashed.frames)
    return run.pieces(Drop(_sorted(source, (_HASH, ROW_NUMBER)), (_HASH, ROW_NUMBER)))


def _in_order(numbered: Node, node: Node, run: Spilling, *, descending: bool = False) -> Pieces:
    """The rows of a node with numbers, by these, in the columns of another."""
    ordered = Drop(_sorted(numbered, (ROW_NUMBER,), descending=descending), (ROW_NUMBER,))
    return run.pieces(Select(ordered, tuple(pl.col(name) for name in node.schema)))


def _sorted(node: Node, names: Sequence[str], *, descending: bool = False) -> Sort:
    count = len(names)
    return Sort(node, tuple(pl.col(name) for name in names), (descending,) * count, (False,) * count)
