"""How much memory a plan may use, and the sizes of batches and buckets that follow from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

LEAST = 16 << 20


@dataclass(frozen=True)
class Room:
    """The bytes that a rank may use for a plan, beyond what it holds already.

    A batch is in memory about five times while it is exchanged: read, split, encoded, sent and received. A
    bucket is there with the hash table that Polars makes of it and with the batch that its result becomes.
    """

    total: int

    @property
    def batch(self) -> int:
        return self.total // 20

    @property
    def bucket(self) -> int:
        return self.total // 8


def room_within(budget: int) -> Room:
    """What is left of a budget of bytes; a quarter of it, or 16 MiB, where hardly anything is."""
    return Room(max(budget - resident_bytes(), budget // 4, LEAST))


def resident_bytes() -> int:
    """Anonymous and shared memory of this process; pages of mapped files, which the kernel can drop, not counted."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    kilobytes = dict(line.split(":", 1) for line in lines if line.startswith(("RssAnon", "RssShmem")))
    return sum(int(value.split()[0]) for value in kilobytes.values()) << 10
