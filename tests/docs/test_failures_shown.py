"""The failures that the README shows are those that users meet."""

from __future__ import annotations

import os
import re
import signal

import pytest

import deeprc as rc
from deeprc.errors import ResourceError
from tests.docs.pages import ROOT, blocks


def half_done(comm: rc.Communicator) -> None:
    print("working on basin 01547700", flush=True)
    if comm.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    comm.barrier()


def shown(error: str) -> str:
    """The README's block about an error, on one line."""
    return next(
        " ".join(block.text.split())
        for block in blocks(ROOT / "README.md")
        if block.language == "text" and block.text.startswith(error)
    )


def told(error: BaseException | None) -> str:
    # What it held is only told where it lived long enough to be looked at.
    text = re.sub(r"; it held \S+ GiB when last seen", "", f"{type(error).__name__}: {error}")
    return " ".join(text.split())


def test_a_killed_rank_is_told_as_the_readme_says(session: rc.Session) -> None:
    """Rank, signal and last output."""
    future = session.submit(half_done, ranks=2, comm="mpi")
    assert told(future.exception(timeout=60)) == shown("RankDiedError")


def test_too_many_ranks_are_refused_as_the_readme_says() -> None:
    """With the number that would do."""
    with rc.Session(cores=2) as session, pytest.raises(ResourceError) as refusal:
        session.submit(half_done, ranks=4, comm="mpi")
    assert told(refusal.value) == shown("ResourceError")
