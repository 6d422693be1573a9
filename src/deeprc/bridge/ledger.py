"""What each conversion of a dataset shared, what it copied, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from deeprc import journal

Target = Literal["torch", "tensorflow", "polars", "arrow", "numpy"]
Mode = Literal["shared", "copied"]


@dataclass(frozen=True)
class LedgerEntry:
    """One column of one conversion.

    `bytes` is the size of the column's data in its new form. `reason` says why it had to be copied; it is
    empty where the new form is the mapped file itself.
    """

    column: str
    to: Target
    mode: Mode
    bytes: int
    reason: str = ""

    def __str__(self) -> str:
        because = f", because {self.reason}" if self.reason else ""
        return f"{self.column} -> {self.to}: {self.mode} {self.bytes} bytes{because}"


class Ledger:
    """The conversions of one dataset in this process, in order; each is an event of the run as well."""

    def __init__(self, dataset: str) -> None:
        self._dataset = dataset
        self.entries: list[LedgerEntry] = []

    def add(self, entries: Iterable[LedgerEntry]) -> None:
        for entry in entries:
            self.entries.append(entry)
            journal.record(
                "transfer",
                dataset=self._dataset,
                column=entry.column,
                to=entry.to,
                mode=entry.mode,
                bytes=entry.bytes,
                reason=entry.reason,
            )
