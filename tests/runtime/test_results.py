"""Large results: in files, read by who asks, in nobody's way."""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import deeprc as rc
from deeprc.journal import read_run

MIB = 1 << 20


def ramp(kind: str, size: int) -> Any:
    """0, 1, 2, ... in `size` bytes."""
    values = np.arange(size // 8)
    if kind == "array":
        return values
    return values.tobytes() if kind == "bytes" else pl.DataFrame({"value": values})


def ends(value: Any) -> tuple[int, int, int]:
    """How many there are, the first but one, and the last."""
    if isinstance(value, pl.DataFrame):
        value = value["value"]
    elif isinstance(value, bytes):
        value = np.frombuffer(value, dtype=np.int64)
    return len(value), int(value[1]), int(value[-1])


def peak_bytes() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def test_a_large_result_is_read_by_who_asks_for_it(session: rc.Session) -> None:
    """Once, and not by the driver; a task that needs it gets it all the same; the journal names its file."""
    future = session.submit(ramp, "array", 4 * MIB)
    assert session.submit(ends, future).result(timeout=60) == (MIB // 2, 1, MIB // 2 - 1)
    assert future.done()
    [file] = (session.run_directory / "results").iterdir()
    [finished] = [e for e in read_run(session.run_directory).of_kind("task.finished") if e["task"] == future.task]
    assert finished["result"] == f"{file.stat().st_size} bytes in results/{file.name}"
    assert ends(future.result()) == (MIB // 2, 1, MIB // 2 - 1)
    file.unlink()
    assert future.result() is future.result()
    assert future.exception() is None


def test_a_large_result_that_cannot_be_read_says_so(session: rc.Session) -> None:
    """Its file has been removed before anybody has asked for it."""
    future = session.submit(ramp, "bytes", 4 * MIB)
    assert future.exception(timeout=60) is None
    [file] = (session.run_directory / "results").iterdir()
    file.unlink()
    with pytest.raises(rc.DeepRCError, match=r"result of task 'ramp' cannot be read: .*No such file"):
        future.result()


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "copies"), [("array", 1), ("bytes", 1), ("frame", 2)])
def test_a_result_of_two_gibibytes_arrives(session: rc.Session, kind: str, copies: int) -> None:
    """Whole, in little more memory than it needs; other tasks go on meanwhile, and nobody is taken for dead."""
    size = 2048 * MIB + 8
    session.submit(abs, 1).result(timeout=60)
    reset_peak()
    before = peak_bytes()
    future = session.submit(ramp, kind, size)
    waits = []
    while not future.done():
        began = time.monotonic()
        session.submit(abs, -1).result(timeout=60)
        waits.append(time.monotonic() - began)
    # The driver has not touched it: a task that needs seconds would be in the way of all others.
    assert peak_bytes() - before < 100 * MIB
    assert len(waits) > 10
    assert ends(future.result()) == (size // 8, 1, size // 8 - 1)
    assert peak_bytes() - before < copies * size + 200 * MIB
    assert not list(read_run(session.run_directory).of_kind("warning"))
    [file] = (session.run_directory / "results").iterdir()
    file.unlink()


class Dataset:
    """Somebody else's class of the name, as torch and Hugging Face have one."""

    def __init__(self, rank: int) -> None:
        self.rank = rank


def other_dataset(comm: rc.Communicator) -> Dataset:
    return Dataset(comm.rank)


def test_the_result_is_rank_0s_whatever_its_class_is_called(lasting: rc.Session) -> None:
    """Only datasets of ours are made of every rank's part."""
    assert lasting.submit(other_dataset, ranks=2, comm="gloo").result(timeout=60).rank == 0
