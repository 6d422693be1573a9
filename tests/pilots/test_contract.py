"""The contract that every pilot keeps: nodes, agents, news of their loss, nothing left behind."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

import deeprc as rc
from deeprc.errors import AgentLostError, SpecError
from deeprc.journal import read_run
from deeprc.runtime.pilot import chosen_pilot, pilots

PILOTS = ["local"]
every_pilot = pytest.mark.parametrize("pilot", PILOTS)


def test_pilots_under_this_contract_are_installed() -> None:
    """A new pilot joins by its entry point and by its name here."""
    assert set(PILOTS) <= set(pilots())


def test_an_unknown_pilot_names_the_valid_ones() -> None:
    """Before anything is started."""
    with pytest.raises(SpecError, match="Valid pilots: local"):
        chosen_pilot("lokal")


def places(comm: rc.Communicator) -> list[tuple[int, int]]:
    return comm.all_gather((comm.rank, os.getpid()))


@every_pilot
@pytest.mark.parametrize("comm", ["mpi", "gloo"])
def test_gangs_are_placed(pilot: str, comm: Any, tmp_path: Path) -> None:
    """Ranks of a task run with either communicator, and the journal says where."""
    with rc.Session(pilot, cores=2, run_dir=tmp_path / "run") as session:
        assert len(session.submit(places, ranks=2, comm=comm).result(timeout=90)) == 2
    run = read_run(tmp_path / "run")
    started, nodes = run.first("task.started"), run.first("run.started")
    assert started and nodes
    assert {rank["node"] for rank in started["ranks"]} <= {node["name"] for node in nodes["nodes"]}


@every_pilot
def test_cancel_frees_the_ranks(pilot: str, tmp_path: Path) -> None:
    """A cancelled task's cores serve the next."""
    with rc.Session(pilot, cores=1, run_dir=tmp_path / "run") as session:
        stuck = session.submit(time.sleep, 600)
        while not stuck.running():
            time.sleep(0.02)
        stuck.cancel()
        assert session.submit(abs, -1).result(timeout=30) == 1


@every_pilot
def test_a_lost_agent_is_reported_with_its_end(pilot: str, tmp_path: Path) -> None:
    """What ran on the node fails, naming the node and how its agent ended."""
    with rc.Session(pilot, cores=1, run_dir=tmp_path / "run") as session:
        future = session.submit(time.sleep, 600)
        while not future.running():
            time.sleep(0.02)
        for process in psutil.Process().children():
            if {"deeprc.runtime.agent", str(session.run_directory)} <= set(process.cmdline()):
                process.kill()
        with pytest.raises(AgentLostError, match="SIGKILL"):
            future.result(timeout=30)
        with pytest.raises(AgentLostError, match="no node is left"):
            session.submit(abs, -1).result(timeout=30)


@every_pilot
def test_close_leaves_nothing(pilot: str, tmp_path: Path) -> None:
    """No process, no keys."""
    before = set(psutil.Process().children(recursive=True))
    with rc.Session(pilot, cores=2, run_dir=tmp_path / "run") as session:
        session.submit(places, ranks=2, comm="mpi").result(timeout=60)
        during = set(psutil.Process().children(recursive=True)) - before
    assert during
    assert not [process for process in during if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    assert not list((tmp_path / "run").glob(".connection*"))
