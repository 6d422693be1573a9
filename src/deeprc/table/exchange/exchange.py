"""The exchange: every rank sends every other a part of its rows, as Arrow IPC buffers.

Rows travel as columns in the Arrow streaming format, never pickled, over whichever communicator the task
has. What a rank keeps is not encoded at all. Received parts are concatenated in rank order, so the order
(source rank, row) of the table is kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar, cast

import polars as pl

from deeprc import journal
from deeprc.communicator import Buffer, Communicator
from deeprc.errors import DataError
from deeprc.table.exchange.encoding import decode, encode
from deeprc.table.exchange.two_levels import all_to_all

T = TypeVar("T")
Facts = TypeVar("Facts")


def concat(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Rows of all frames in order; all have the same columns."""
    if frames[0].width == 0:
        return pl.DataFrame(height=sum(frame.height for frame in frames))
    filled = [frame for frame in frames if frame.height]
    if not filled:
        return frames[0]
    return filled[0] if len(filled) == 1 else pl.concat(filled, how="vertical", rechunk=False)


def exchange(parts: Sequence[pl.DataFrame], comm: Communicator, operator: str) -> pl.DataFrame:
    """Send `parts[i]` to rank i; return what all ranks sent here, in rank order. Collective."""
    (arrived,) = exchange_in_rounds([parts], comm, operator)
    return concat(arrived)


def exchange_in_rounds(
    rounds: Iterable[Sequence[pl.DataFrame]], comm: Communicator, operator: str
) -> Iterator[list[pl.DataFrame]]:
    """As `exchange`, of one list of parts after another, as many on all ranks; the parts that arrive, in rank order.

    Collective with each that is taken: all have to be.
    """
    started = time.perf_counter()
    sent = received = count = 0
    for parts in rounds:
        arrived, out, back = _exchanged(parts, comm)
        sent, received, count = sent + out, received + back, count + 1
        del parts  # Else they would be held until those of the next round are there.
        yield arrived
        del arrived
    journal.record(
        "exchange",
        operator=operator,
        bytes_sent=sent,
        bytes_received=received,
        seconds=time.perf_counter() - started,
        **({"rounds": count} if count > 1 else {}),
    )


def _exchanged(parts: Sequence[pl.DataFrame], comm: Communicator) -> tuple[list[pl.DataFrame], int, int]:
    """What has arrived, and the bytes sent and received."""
    own = parts[comm.rank]
    encoded: dict[int, Buffer] = {}
    messages = [b"" if rank == comm.rank else _encoded(part, encoded) for rank, part in enumerate(parts)]
    received = all_to_all(comm, messages)
    frames = [own if rank == comm.rank else decode(buffer, own.clear()) for rank, buffer in enumerate(received)]
    sent = sum(memoryview(buffer).nbytes for buffer in messages)
    return frames, sent, sum(buffer.nbytes for rank, buffer in enumerate(received) if rank != comm.rank)


def _encoded(part: pl.DataFrame, encoded: dict[int, Buffer]) -> Buffer:
    """A part that goes to many ranks is encoded once."""
    if id(part) not in encoded:
        encoded[id(part)] = encode(part)
    return encoded[id(part)]


def replicate(frame: pl.DataFrame, comm: Communicator, operator: str) -> pl.DataFrame:
    """All ranks' rows, in rank order, on every rank."""
    return exchange([frame] * comm.size, comm, operator)


def gather(frame: pl.DataFrame, comm: Communicator, operator: str, root: int = 0) -> pl.DataFrame:
    """All ranks' rows, in rank order, on `root`; no rows elsewhere."""
    nothing = frame.clear()
    return exchange([frame if rank == root else nothing for rank in range(comm.size)], comm, operator)


def scatter(frame: pl.DataFrame, counts: Sequence[int], comm: Communicator, operator: str) -> pl.DataFrame:
    """Give each rank its `counts[rank]` rows of rank 0's frame, in order."""
    if comm.rank:
        return exchange([frame.clear()] * comm.size, comm, operator)
    starts = [sum(counts[:rank]) for rank in range(comm.size)]
    parts = [frame.slice(start, count) for start, count in zip(starts, counts, strict=True)]
    return exchange(parts, comm, operator)


def together(
    comm: Communicator, doing: str, work: Callable[[], T], facts: Callable[[T], Facts]
) -> tuple[T, list[Facts]]:
    """Do this rank's work and learn `facts` of every rank's result; if one rank fails, all do. Collective.

    Raises:
        DataError: another rank's work failed; says which, and its error. This rank's own error is raised
            unchanged; of a panic of Polars, which is no Exception, a DataError is made.
    """
    result: list[T] = []
    failure: Exception | None = None
    report: tuple[str | None, Facts | None]
    try:
        result.append(work())
        report = (None, facts(result[0]))
    except Exception as error:
        failure, report = error, (f"{type(error).__name__}: {error}", None)
    except pl.exceptions.PanicException as panic:
        # Were it to pass, the other ranks would take what comes next for the answer to this.
        failure = DataError(f"Polars gave up while {doing}: {panic}")
        failure.__cause__ = panic
        report = (str(failure), None)
    reports = comm.all_gather(report)
    if failure is not None:
        raise failure
    for rank, (problem, _) in enumerate(reports):
        if problem is not None:
            raise DataError(f"rank {rank} of {comm.size} failed while {doing}: {problem}")
    return result[0], [cast(Facts, fact) for _, fact in reports]
