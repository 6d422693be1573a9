"""Fixtures that several rooms' tests share, and what holds for all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import deeprc as rc
from tests.leftovers import Watch, at_end

# Sessions of other tests, and of whoever else uses this machine, are not to change what a test is given.
os.environ.setdefault("DEEPRC_LEASES", "")
# How long an example takes says how busy the machine is.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

_watch = pytest.StashKey[Watch]()
_left = pytest.StashKey[tuple[list[str], list[str]]]()


def pytest_configure(config: pytest.Config) -> None:
    """Before any test may start a process."""
    config.stash[_watch] = Watch()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A run whose tests pass fails all the same if something of deeprc's is left of it."""
    at_end.close()
    session.config.stash[_left] = session.config.stash[_watch].end()
    if session.config.stash[_left][0] and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name what is left."""
    for title, left in zip(("left behind by deeprc", "left behind by others"), config.stash[_left], strict=True):
        if left:
            terminalreporter.section(title)
            terminalreporter.write_line("\n".join(left))


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rc.Session]:
    """A session of four pretend cores for all tests of a file: they may harm its ranks, and imports are done once."""
    session = rc.Session(cores=4, run_dir=tmp_path_factory.mktemp("lasting") / "run")
    yield session
    session.close()


@pytest.fixture
def session(tmp_path: Path) -> Iterator[rc.Session]:
    """A session of four pretend cores, with a run directory of its own."""
    session = rc.Session(cores=4, run_dir=tmp_path / "run")
    yield session
    # Not the session as a context manager: after a failed test nothing is waited for.
    session.close()
