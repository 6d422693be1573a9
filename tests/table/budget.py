"""Running plans within memory budgets so small that every table spills."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import deeprc as rc
from deeprc import journal
from deeprc.table.operators import between, skew
from deeprc.table.spill import execute, memory
from deeprc.workspace import set_memory_budget
from tests.table.compare import Launch, Result, run_cases


@contextmanager
def spilling(room: int, *, heavy_from_rows: int = 100_000) -> Iterator[list[dict[str, Any]]]:
    """Plans have `room` bytes a rank and never fit; gives the exchanges, as they are recorded."""
    usual = memory.LEAST, memory.SMALL, memory.resident_bytes, execute.TIMES_IN_MEMORY, skew.LEAST_ROWS
    usual_nulls, between.LONG = between.LONG, 2
    events: list[dict[str, Any]] = []
    # As if the process held nothing, and could work in next to nothing.
    memory.LEAST, memory.SMALL, memory.resident_bytes = 0, 0, lambda: 0
    execute.TIMES_IN_MEMORY, skew.LEAST_ROWS = 1e12, heavy_from_rows
    set_memory_budget(room)
    journal.set_sink(lambda kind, fields: events.append({"kind": kind, **fields}))
    try:
        yield events
    finally:
        memory.LEAST, memory.SMALL, memory.resident_bytes, execute.TIMES_IN_MEMORY, skew.LEAST_ROWS = usual
        between.LONG = usual_nulls
        set_memory_budget(None)
        journal.set_sink(None)


def run_cases_spilling(comm: rc.Communicator, launch: Launch, room: int) -> dict[tuple[str, str], Result]:
    """As `run_cases`, within `room` bytes."""
    with spilling(room, heavy_from_rows=0):
        return run_cases(comm, launch)
