"""Ask one engine its questions, in a process of its own: `python measure.py ENGINE.py ORDERS.json ANSWERS.json`.

Runs under the interpreter of the engine, so it knows nothing but Python's standard library. Loading the tables
is not timed, nor is a first run of each question over a few rows, which pays for imports and compilation.
Answers are written down one by one: what has been answered counts, though a later question never ends.
"""

from __future__ import annotations

import gc
import json
import mmap
import os
import runpy
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_MOST_TOUCHED_BYTES = 3 << 30
_MADV_POPULATE_WRITE = 23  # Linux 5.14; mmap has no name for it.


def ask(
    engine: dict[str, Any], orders: dict[str, Any], tell: Callable[[list[dict[str, Any]]], object] = lambda _: None
) -> list[dict[str, Any]]:
    """Each question's begin and end (seconds of the machine's monotonic clock), and what was answered.

    `tell` is given all answers so far after each. `engine["meet"]()`, if there is one, lets all ranks begin together.
    """
    few = engine["load"](orders["few"], orders["cores"])
    failed = {}
    for question in orders["questions"]:
        if question not in engine["QUESTIONS"]:
            failed[question] = "not asked"
            continue
        try:
            engine["describe"](engine["QUESTIONS"][question](few))
        except Exception as error:
            failed[question] = f"{type(error).__name__}: {str(error)[:300]}"
    tables = engine["load"](orders["tables"], orders["cores"])
    share = min(_MOST_TOUCHED_BYTES, 10 * _size(orders["tables"])) // (orders.get("ranks") or 1)
    answers = []
    for question in orders["questions"]:
        known = {"question": question, "failed": failed[question]} if question in failed else None
        answers.append(known or _asked(engine, question, tables, share))
        tell(answers)
    return answers


def _asked(engine: dict[str, Any], question: str, tables: Any, share: int) -> dict[str, Any]:
    subprocess.run([sys.executable, __file__, "touch", str(share)], check=False)
    engine.get("meet", gc.collect)()
    began = time.monotonic()
    answer = engine["QUESTIONS"][question](tables)
    ended = time.monotonic()
    rows, sums = engine["describe"](answer)
    return {"question": question, "began": began, "ended": ended, "rows": rows, "sums": sums}


def _size(tables: dict[str, str]) -> int:
    return sum(Path(file).stat().st_size for file in tables.values())


def touch(num_bytes: int) -> None:
    """Write to so much memory, at most a quarter of what is free, and free it, in a process that ends.

    A virtual machine may have given memory that nobody used for seconds back to its host. Then the first touch of a
    page takes many times as long as on a machine of one's own: whoever was asked first would pay for all.
    """
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGESIZE")
    with mmap.mmap(
        -1, min(num_bytes, free // 4) or mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    ) as memory:
        memory.madvise(mmap.MADV_HUGEPAGE)
        try:
            memory.madvise(_MADV_POPULATE_WRITE)
        except OSError:
            for begin in range(0, len(memory), mmap.PAGESIZE):
                memory[begin] = 1


def main(script: str, orders_file: str, answers_file: str) -> None:
    """Run the script for its functions, ask, write the answers down."""
    engine = runpy.run_path(script)
    orders = json.loads(Path(orders_file).read_text())

    def write(answers: list[dict[str, Any]]) -> None:
        part = Path(answers_file).with_suffix(".part")
        part.write_text(json.dumps(answers))
        part.replace(answers_file)

    write(engine["ask_all"](orders) if "ask_all" in engine else ask(engine, orders, write))
    if "stop" in engine:
        engine["stop"]()


if __name__ == "__main__":
    if sys.argv[1] == "touch":
        touch(int(sys.argv[2]))
    else:
        main(*sys.argv[1:])
