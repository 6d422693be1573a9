"""How much memory a plan may use, and the sizes of batches and buckets that follow from it."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from deeprc.errors import ResourceError

# Rounds take no less, however small their batches: about half of it Polars' threads, readers and writers hold anyway.
LEAST = 112 << 20
# A plan that is expected to hold no more runs in memory, whatever the budget is.
SMALL = 16 << 20
_MEBIBYTE = 1 << 20
# What the same rank holds differs by so much from run to run: a budget that is advised is to do then, too.
_VARIES = 8 << 20


@dataclass(frozen=True)
class Room:
    """The bytes that a rank may use for a plan, beyond what it holds already.

    A batch is in memory about five times while it is exchanged: read, split, encoded, sent and received. A
    bucket is there with the hash table that Polars makes of it and with the batch that its result becomes. And what
    Polars has freed stays with its allocator for half a second, about as much again.
    """

    total: int

    @property
    def batch(self) -> int:
        return self.total // 40

    @property
    def portion(self) -> int:
        """What is read of a file at a time."""
        return self.total // 20

    @property
    def bucket(self) -> int:
        return self.total // 16


class Standing(NamedTuple):
    """A rank's budget, what it holds already, and what a plan is expected to take: None if that is not known."""

    budget: int
    held: int
    expected: float | None


def room_for(ranks: Sequence[Standing]) -> Room | None:
    """The room of the rank that has least; None where the plan fits into it on all ranks.

    Raises:
        ResourceError: a rank has less than what rounds need: says how much would do.
    """
    least = min(rank.budget - rank.held for rank in ranks)
    if all(rank.expected is not None and rank.expected <= max(least, SMALL) for rank in ranks):
        return None
    if least < LEAST:
        raise ResourceError(_too_little(ranks))
    return Room(least)


def _too_little(ranks: Sequence[Standing]) -> str:
    number, rank = min(enumerate(ranks), key=lambda item: item[1].budget - item[1].held)
    needed = -(-max(rank.held + LEAST + _VARIES for rank in ranks) // _MEBIBYTE)
    return (
        f"this table operation has too little memory: rank {number} may hold {rank.budget / _MEBIBYTE:.0f} MiB (its "
        f"task's memory=, or its cores' share of the session's) and holds {rank.held / _MEBIBYTE:.0f} MiB already, "
        f"imported libraries included; {LEAST / _MEBIBYTE:.0f} MiB more are the least that it can work in. Give the "
        f'task memory="{needed}MiB" or more, or hold less when it begins'
    )


def give_back() -> None:
    """Return freed memory to the system where the C library keeps it: what Python's bytes have left behind."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def resident_bytes() -> int:
    """Anonymous and shared memory of this process; pages of mapped files, which the kernel can drop, not counted."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    kilobytes = dict(line.split(":", 1) for line in lines if line.startswith(("RssAnon", "RssShmem")))
    return sum(int(value.split()[0]) for value in kilobytes.values()) << 10
