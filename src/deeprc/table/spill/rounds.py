"""The exchange in rounds: each round moves one batch of every rank, and what arrives is put into buckets on disk."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl

from deeprc import journal
from deeprc.communicator import Buffer, Communicator
from deeprc.errors import DataError
from deeprc.table.exchange.encoding import encode
from deeprc.table.exchange.exchange import together
from deeprc.table.exchange.partition import key_hashes, split
from deeprc.table.spill.file import Segment, SpillFile


class Parcel(NamedTuple):
    """Rows for one bucket of one rank."""

    rank: int
    bucket: int
    rows: pl.DataFrame


Route = Callable[[pl.DataFrame], list[Parcel]]


@dataclass
class Buckets:
    """What a rank has received, by bucket."""

    file: SpillFile
    empty: pl.DataFrame
    segments: dict[int, list[Segment]] = field(default_factory=dict)

    def bytes_in(self, bucket: int) -> int:
        return sum(segment.length for segment in self.segments.get(bucket, ()))

    def rows_in(self, bucket: int) -> int:
        return sum(segment.rows for segment in self.segments.get(bucket, ()))

    def frames(self, bucket: int) -> Iterator[pl.DataFrame]:
        """The bucket's rows, in the order of the whole table they came from."""
        return self.file.frames(self.segments.get(bucket, []), self.empty)

    def put(self, bucket: int, stream: Buffer, rows: int, source: int) -> None:
        self.segments.setdefault(bucket, []).append(self.file.append(stream, rows, source))


def by_hash(keys: Sequence[pl.Expr], size: int, buckets: int, level: int = 0) -> Route:
    """Equal keys to one bucket of one rank, which is the same however many buckets there are."""

    def route(batch: pl.DataFrame) -> list[Parcel]:
        targets = key_hashes(batch, keys, level) % (size * buckets)
        parts = split(batch, targets, size * buckets)
        return [Parcel(index % size, index // size, part) for index, part in enumerate(parts) if part.height]

    return route


@dataclass
class _Traffic:
    """What one rank's exchange did, for the journal."""

    rounds: int = 0
    sent: int = 0
    received: int = 0


def exchange_in_rounds(
    batches: Iterator[pl.DataFrame], route: Route, buckets: Buckets, comm: Communicator, operator: str
) -> Buckets:
    """Send each batch where `route` says; fill `buckets` with what arrives. If one rank fails, all do. Collective."""
    started = time.perf_counter()
    before = buckets.file.bytes_written
    traffic = _Traffic()
    failure: Exception | None = None
    done = False
    while not done:
        parcels: list[Parcel] = []
        more = False
        try:
            batch = next(batches, None) if failure is None else None
            if batch is not None:
                more, parcels = True, route(batch)
                batch = None
        except Exception as error:
            failure, more = error, False
        messages = _messages(parcels, more, failure, comm.size)
        parcels = []
        traffic.sent += sum(memoryview(part).nbytes for rank, part in enumerate(messages) if rank != comm.rank)
        received = comm.all_to_all(messages)
        traffic.rounds += 1
        traffic.received += sum(part.nbytes for rank, part in enumerate(received) if rank != comm.rank)
        headers = [_header(message) for message in received]
        _raise_if_any(failure, [problem for _, problem, _ in headers], comm, operator)
        done = not any(still for still, _, _ in headers)
        try:
            _store(received, buckets)
        except DataError as error:
            failure = error
    _told(failure, comm, operator)
    journal.record(
        "exchange",
        operator=operator,
        bytes_sent=traffic.sent,
        bytes_received=traffic.received,
        seconds=time.perf_counter() - started,
        rounds=traffic.rounds,
        bytes_spilled=buckets.file.bytes_written - before,
    )
    return buckets


def sort_into_buckets(batches: Iterator[pl.DataFrame], route: Route, buckets: Buckets, comm: Communicator) -> Buckets:
    """As `exchange_in_rounds`, for rows that `route` leaves on their rank.

    Raises:
        DataError: a row belongs to another rank.
    """
    for batch in batches:
        for rank, bucket, rows in route(batch):
            if rank != comm.rank:
                raise DataError(f"a row of rank {rank} was on rank {comm.rank}: this is a bug of the placement of rows")
            buckets.put(bucket, encode(rows), rows.height, rank)
    return buckets


def _messages(parcels: Sequence[Parcel], more: bool, failure: Exception | None, size: int) -> list[Buffer]:
    """One message a rank: the length of a header, the header, and the streams that it lists."""
    problem = None if failure is None else f"{type(failure).__name__}: {failure}"
    encoded: dict[int, Buffer] = {}
    listed: list[list[tuple[int, int, int]]] = [[] for _ in range(size)]
    streams: list[list[Buffer]] = [[] for _ in range(size)]
    for rank, bucket, rows in parcels:
        if id(rows) not in encoded:
            encoded[id(rows)] = encode(rows)
        stream = encoded[id(rows)]
        listed[rank].append((bucket, memoryview(stream).nbytes, rows.height))
        streams[rank].append(stream)
    messages: list[Buffer] = []
    for rank in range(size):
        header = pickle.dumps((more, problem, listed[rank]))
        messages.append(b"".join((len(header).to_bytes(8, "little"), header, *streams[rank])))
        streams[rank] = []
    return messages


def _header(message: memoryview) -> tuple[bool, str | None, list[tuple[int, int, int]]]:
    length = int.from_bytes(message[:8], "little")
    header: tuple[bool, str | None, list[tuple[int, int, int]]] = pickle.loads(message[8 : 8 + length])
    return header


def _store(received: Sequence[memoryview], buckets: Buckets) -> None:
    for source, message in enumerate(received):
        offset = 8 + int.from_bytes(message[:8], "little")
        for bucket, length, rows in _header(message)[2]:
            buckets.put(bucket, message[offset : offset + length], rows, source)
            offset += length


def _raise_if_any(failure: Exception | None, problems: Sequence[str | None], comm: Communicator, operator: str) -> None:
    """A rank's own error unchanged; another's as a DataError that says which rank's."""
    if failure is not None:
        raise failure
    for rank, problem in enumerate(problems):
        if problem is not None:
            raise DataError(f"rank {rank} of {comm.size} failed while exchanging rows for {operator}: {problem}")


def _told(failure: Exception | None, comm: Communicator, operator: str) -> None:
    """The last round may have failed on one rank after all had left it."""

    def check() -> None:
        if failure is not None:
            raise failure

    together(comm, f"exchanging rows for {operator}", check, lambda _: None)
