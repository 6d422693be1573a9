"""The as-of join of whole tables, over pieces: right rows travel to the left ones, and both are read in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import polars as pl

from deeprc.errors import DataError
from deeprc.table.exchange.exchange import concat
from deeprc.table.operators.keyed import nearest_rows
from deeprc.table.plan.row_nodes import JoinAsof
from deeprc.table.spill.context import Spilling
from deeprc.table.spill.pieces import Pieces, of_frames
from deeprc.table.spill.rounds import Parcel
from deeprc.table.spill.timeline import FIRST, LAST, TIME, View, spans


def join_asof(node: JoinAsof, run: Spilling) -> Pieces:
    """Left rows stay. Of tables whose keys have nulls all right rows are held by every rank.

    Raises:
        DataError: a table is not sorted; on all ranks alike.
    """
    sides = [run.numbered(run.pieces(table), node.label()) for table in (node.left, node.right)]
    keys = node.left_on, node.right_on
    found = [spans(rows, _view(key), node, run) for rows, key in zip(sides, keys, strict=True)]
    if any(side.nulls for side in found):
        left, right = (rows.source(node.label()) for rows in sides)
        return run.in_memory(replace(node, left=left, right=right))
    for side, name in zip(found, ("left", "right"), strict=True):
        if not side.in_order:
            raise DataError(f"join_asof: the {name} table is not sorted by its key: sort it first")
    ends = [found[0].ends.slice(start, end - start) for start, end in pairwise(found[0].edges)]

    def route(batch: pl.DataFrame) -> list[Parcel]:
        key = batch[node.right_on]
        parcels = [
            Parcel(rank, 0, nearest_rows(batch, key, part[FIRST].head(1), part[LAST].tail(1)))
            for rank, part in enumerate(ends)
            if part.height
        ]
        return [parcel for parcel in parcels if parcel.rows.height]

    arrived = run.exchange(sides[1].kept.pieces, route, f"{node.label()} (right)")

    def frames() -> Iterator[pl.DataFrame]:
        return _met(sides[0].kept.batches(), arrived.frames(0), node)

    return of_frames(frames, node.schema, again=True)


def _view(key: str) -> View:
    return lambda batch: batch.select(pl.col(key).alias(TIME))


def _met(lefts: Iterator[pl.DataFrame], rights: Iterator[pl.DataFrame], node: JoinAsof) -> Iterator[pl.DataFrame]:
    """Left rows once the right ones nearest to them are there; right rows are held until no left one needs them."""
    empty = pl.DataFrame(schema=node.right.schema)
    held, more = empty, True
    for batch in lefts:
        left = batch
        while left.height:
            held = _still_needed(held, left, node)
            ready = _ready(left, held, node) if more else left.height
            if ready:
                yield node.apply(left.head(ready).lazy(), held.lazy()).collect()
                left = left.slice(ready)
                continue
            frame = next(rights, None)
            more = frame is not None
            held = held if frame is None else concat([empty, held, frame])


def _ready(left: pl.DataFrame, held: pl.DataFrame, node: JoinAsof) -> int:
    """How many left rows come before a right key of which all rows are held: one that is not the last."""
    key = held[node.right_on]
    whole = key.head(int((key < key.tail(1)).sum())) if held.height else key
    return int((left[node.left_on] < whole.tail(1)).sum()) if len(whole) else 0


def _still_needed(held: pl.DataFrame, left: pl.DataFrame, node: JoinAsof) -> pl.DataFrame:
    """Right rows from those with the nearest key before the first left row on."""
    key = held[node.right_on]
    before = int((key < left[node.left_on].head(1)).sum())
    return held.slice(int((key < key.slice(before - 1, 1)).sum())) if before else held
