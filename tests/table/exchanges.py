"""What a plan moves between ranks, as the journal has it."""

from __future__ import annotations

import deeprc as rc
from deeprc import journal


def operators_moved(table: rc.Table) -> list[str]:
    """Compute; the operators of all exchanges, in order. Collective."""
    moved: list[str] = []
    journal.set_sink(lambda kind, fields: moved.append(str(fields["operator"])) if kind == "exchange" else None)
    try:
        table.collect()
    finally:
        journal.set_sink(None)
    return moved


def exchanges_said(table: rc.Table) -> int:
    """How many `explain` says there are."""
    return int(table.explain().splitlines()[0].split()[2])
