"""Tasks of a storm, and the hand that kills ranks in it."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil

import deeprc as rc
from tests.runtime import faults


def squares(comm: rc.Communicator, number: int, diary: str) -> int:
    """number², summed over ranks with their weights; every run of the function is noted in the diary."""
    note(diary, number, comm.rank)
    shares = comm.all_gather(number * number * (comm.rank + 1))
    time.sleep(0.002)
    comm.barrier()
    return sum(shares)


def expected_squares(number: int, ranks: int) -> int:
    return number * number * sum(range(1, ranks + 1))


def note(diary: str, number: int, rank: int) -> None:
    """One line, appended whole: who ran, and when it began."""
    line = f"{number} {rank} {time.time()!r}\n".encode()
    descriptor = os.open(diary, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, line)
    os.close(descriptor)


def starts_in(diary: Path) -> dict[int, list[float]]:
    """When rank 0 of each task began to run its function."""
    starts: dict[int, list[float]] = {}
    for line in diary.read_text().splitlines():
        number, rank, moment = line.split()
        if rank == "0":
            starts.setdefault(int(number), []).append(float(moment))
    return starts


def ranks_of(session: rc.Session) -> list[int]:
    """Processes that zygotes of the session's agents have forked."""
    agents = [child for child in psutil.Process().children() if faults.is_agent(child, session)]
    found = []
    for agent in agents:
        with suppress(psutil.NoSuchProcess):
            for zygote in agent.children():
                with suppress(psutil.NoSuchProcess):
                    found += [rank.pid for rank in zygote.children()]
    return found


class Reaper(threading.Thread):
    """Kills a random rank every `period_s`, until told to stop; on a slow machine only once a task has ended since.

    Else, where a gang takes longer than that to start, none would ever end.
    """

    def __init__(self, session: rc.Session, futures: list[rc.Future], period_s: float, seed: int) -> None:
        super().__init__(daemon=True)
        self._session = session
        self._futures = futures
        self._period_s = period_s
        self._choice = random.Random(seed)
        self._told_to_stop = threading.Event()
        self.killed = 0

    def run(self) -> None:
        ended = 0
        while not self._told_to_stop.wait(self._period_s):
            ranks, before = ranks_of(self._session), ended
            ended = sum(future.done() for future in self._futures)
            if ranks and ended > before:
                try:
                    os.kill(self._choice.choice(ranks), signal.SIGKILL)
                except ProcessLookupError:
                    continue
                self.killed += 1

    def stop(self) -> None:
        self._told_to_stop.set()
        self.join(10)
