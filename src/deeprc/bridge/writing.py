"""Writing a dataset, every rank its part: all ranks succeed, or all raise and nothing is left."""

from __future__ import annotations

from collections.abc import Sequence
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
    outcomes = comm.all_gather(_attempt(frame, name, comm.rank))
    if failures := _failures(outcomes):
        mine = outcomes[comm.rank]
        if isinstance(mine, tuple):
            Path(mine[0].path).unlink(missing_ok=True)
        raise DataError("; ".join(failures))
    parts = tuple(outcome[0] for outcome in outcomes if isinstance(outcome, tuple))
    return parts, _published(comm, name, parts)


def _attempt(frame: pl.DataFrame | pl.LazyFrame, name: str, rank: int) -> tuple[Part, pl.Schema] | str:
    """This rank's part, or what went wrong: the other ranks wait to hear either."""
    try:
        if not isinstance(frame, pl.DataFrame | pl.LazyFrame):
            return (
                f"rank {rank}: from_polars takes a Polars frame, not {type(frame)}; convert it with pl.DataFrame(...)"
            )
        collected = frame.collect() if isinstance(frame, pl.LazyFrame) else frame
        return write_part(collected, name, rank), collected.schema
    except (DataError, pl.exceptions.PolarsError) as error:
        return f"rank {rank}: {error}"


def _failures(outcomes: Sequence[tuple[Part, pl.Schema] | str]) -> list[str]:
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


def _published(comm: Communicator, name: str, parts: tuple[Part, ...]) -> str:
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
        Path(parts[comm.rank].path).unlink(missing_ok=True)
        raise DataError(text)
    return text
