"""Tables side by side, over pieces: rows of the same number meet batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import polars as pl

from deeprc.table.exchange.exchange import concat, replicate
from deeprc.table.operators.beside import common_rows
from deeprc.table.plan.row_nodes import Beside
from deeprc.table.spill.context import Numbered, Spilling
from deeprc.table.spill.pieces import Pieces, of_frames
from deeprc.table.spill.rows import to_positions

Batches = Callable[[], Iterator[pl.DataFrame]]


def side_by_side(node: Beside, run: Spilling) -> Pieces:
    """Only rows that are not yet where they belong travel.

    Raises:
        DataError: the tables differ in how many rows they have; on all ranks alike.
    """
    tables = [run.numbered(run.pieces(table), node.label()) for table in node.tables]
    totals = [sum(rows.heights) for rows in tables]
    most = common_rows(node, totals)
    sizes = tables[totals.index(most)].heights
    parts: list[Batches | pl.DataFrame] = []
    for rows, total in zip(tables, totals, strict=True):
        if total == 1 and most != 1:
            mine = concat([rows.kept.pieces.empty, *rows.kept.batches()])
            parts.append(replicate(mine, run.comm, node.label()))
        else:
            parts.append(_placed(rows, sizes, node, run))
    return of_frames(lambda: _met(parts), node.schema, again=True)


def _placed(rows: Numbered, sizes: tuple[int, ...], node: Beside, run: Spilling) -> Batches:
    if rows.heights == sizes:
        return rows.kept.batches
    moved = to_positions(rows.kept, rows.edges[run.comm.rank], sizes, node.label(), run)
    return lambda: moved.batches(run.room)


def _met(parts: Sequence[Batches | pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Batches of all columns; a frame is one row, which is repeated."""
    streams = {index: part() for index, part in enumerate(parts) if not isinstance(part, pl.DataFrame)}
    held = {index: next(stream, None) for index, stream in streams.items()}
    while all(frame is not None for frame in held.values()):
        left = {index: frame for index, frame in held.items() if frame is not None}
        some = min(frame.height for frame in left.values())
        columns: list[pl.Series] = []
        for index, part in enumerate(parts):
            found = part[[0] * some] if isinstance(part, pl.DataFrame) else left[index].head(some)
            columns += found.get_columns()
        yield pl.DataFrame(columns)
        for index, frame in left.items():
            rest = frame.slice(some)
            held[index] = rest if rest.height else next(streams[index], None)
