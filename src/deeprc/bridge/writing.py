"""Writing a dataset, every rank its parts: all ranks succeed, or all raise and nothing is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import polars as pl

from deeprc.bridge.manifest import write_manifest
from deeprc.bridge.parts import Part, new_path, part_schema, write_part
from deeprc.communicator import Communicator
from deeprc.errors import DataError


def write_together(frame: pl.DataFrame | pl.LazyFrame, name: str, comm: Communicator) -> tuple[tuple[Part, ...], str]:
    """The parts of all ranks, in rank order, and the path of the manifest. Collective.

    Raises:
        DataError: a rank could not write, or the ranks' columns differ; on all ranks alike.
    """
    return _gathered(_attempt(lambda: iter([_frame(frame)]), name, comm.rank), name, comm)


def write_batches_together(
    batches: Iterator[pl.DataFrame], empty: pl.DataFrame, name: str, comm: Communicator
) -> tuple[tuple[Part, ...], str]:
    """As `write_together`, with a part for each batch; for `empty`, which has their columns, where there is none."""

    def frames() -> Iterator[pl.DataFrame]:
        yield next(batches, empty)
        yield from batches

    return _gathered(_attempt(frames, name, comm.rank), name, comm)


def _gathered(
    attempt: tuple[list[Part], pl.Schema] | str, name: str, comm: Communicator
) -> tuple[tuple[Part, ...], str]:
    outcomes = comm.all_gather(attempt)
    mine = [] if isinstance(attempt, str) else attempt[0]
    if failures := _failures(outcomes):
        _unlink(mine)
        raise DataError("; ".join(failures))
    parts = tuple(part for outcome in outcomes if isinstance(outcome, tuple) for part in outcome[0])
    return parts, _published(comm, name, parts, mine)


def _attempt(frames: Callable[[], Iterator[pl.DataFrame]], name: str, rank: int) -> tuple[list[Part], pl.Schema] | str:
    """This rank's parts, or what went wrong: the other ranks wait to hear either."""
    parts: list[Part] = []
    schema = pl.Schema()
    try:
        for frame in frames():
            parts.append(write_part(frame, name, rank))
            schema = frame.schema
        return parts, schema
    except Exception as error:
        _unlink(parts)
        return f"rank {rank}: {error}"


def _frame(frame: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    if not isinstance(frame, pl.DataFrame | pl.LazyFrame):
        raise DataError(f"from_polars takes a Polars frame, not {type(frame)}; convert it with pl.DataFrame(...)")
    return frame.collect() if isinstance(frame, pl.LazyFrame) else frame


def _unlink(parts: Sequence[Part]) -> None:
    for part in parts:
        Path(part.path).unlink(missing_ok=True)


def _failures(outcomes: Sequence[tuple[list[Part], pl.Schema] | str]) -> list[str]:
    failures = [outcome for outcome in outcomes if isinstance(outcome, str)]
    schemas = [outcome[1] for outcome in outcomes if isinstance(outcome, tuple)]
    if not failures:
        failures = [
            different("rank 0", schemas[0], f"rank {rank}", schema)
            for rank, schema in enumerate(schemas)
            if schema != schemas[0]
        ]
    return failures


def different(one: str, schema: pl.Schema, other: str, other_schema: pl.Schema) -> str:
    return (
        f"the parts of a dataset need the same columns: {one} has {dict(schema)}, {other} has "
        f"{dict(other_schema)}. Select and cast to the same columns first"
    )


def _published(comm: Communicator, name: str, parts: tuple[Part, ...], mine: Sequence[Part]) -> str:
    """Rank 0 writes the manifest; the others hear its path only once it is there."""
    outcome: tuple[str, bool] | None = None
    if comm.rank == 0:
        path = new_path(name, ".json")
        try:
            write_manifest(path, name, parts, part_schema(parts[0]))
            outcome = str(path), True
        except DataError as error:
            outcome = str(error), False
    heard = comm.broadcast(outcome)
    assert heard is not None
    text, written = heard
    if not written:
        _unlink(mine)
        raise DataError(text)
    return text
