"""RADICAL-Pilot in words: descriptions asked of it, states heard from it; nothing is started."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deeprc.errors import ResourceError, SpecError
from deeprc.pilots.radical import announced, environment_for_nodes
from deeprc.pilots.radical_translation import (
    Announcement,
    Machine,
    Seen,
    Site,
    after,
    agent_descriptions,
    batch_options,
    lost_nodes,
    machine_of,
    nodes_for,
    pilot_description,
    telling_lines,
)
from deeprc.runtime.pilot import Allocation

GIB = 1 << 30


def found(index: int, **fields: Any) -> Announcement:
    """What an agent says of a node of 4 cores, a GPU and 8 GiB."""
    said: dict[str, Any] = {"node": f"n{index}", "host": "h", "pid": 1, "cores": 4, "gpus": 1, "memory_bytes": 8 * GIB}
    return Announcement(index=index, **(said | fields))


def test_the_pilot_is_described_by_what_was_given_only() -> None:
    """What is left out is what RADICAL-Pilot's own configuration says; its failure must not end our interpreter."""
    described = pilot_description(Site("ncsa.delta", queue="cpu", runtime_min=90), 3, "deeprc-r", "/run/radical")
    assert described == {
        "resource": "ncsa.delta",
        "queue": "cpu",
        "runtime": 90,
        "nodes": 3,
        "job_name": "deeprc-r",
        "sandbox": "/run/radical",
        "exit_on_error": False,
    }


def test_a_run_on_this_machine_is_not_cut_off_after_ten_minutes() -> None:
    """RADICAL-Pilot's default would; a batch queue is asked for an hour."""
    assert pilot_description(Site(), 1, "n", "/s")["runtime"] == 30 * 24 * 60
    assert pilot_description(Site("ncsa.delta"), 1, "n", "/s")["runtime"] == 60


def test_a_session_says_time_and_options_by_either_name() -> None:
    """Slurm's words and RADICAL-Pilot's; minutes are rounded up."""
    asked = batch_options(5401, {"partition": "cpu", "account": "abcd", "qos": "high"})
    assert asked == {"runtime_min": 91, "queue": "cpu:high", "project": "abcd"}
    assert batch_options(None, {"queue": "cpu", "project": 7}) == {"queue": "cpu", "project": "7"}


@pytest.mark.parametrize(
    ("options", "message"),
    [({"mem": "1G"}, "no option 'mem'.*Valid options: account, partition"), ({"qos": "high"}, "give both")],
)
def test_an_option_without_a_word_is_refused(options: dict[str, str], message: str) -> None:
    """Before anything is submitted."""
    with pytest.raises(SpecError, match=message):
        batch_options(None, options)


def test_an_agent_takes_a_whole_node() -> None:
    """So no node gets two: threads count as cores, blocked cores do not."""
    machine = machine_of({"cores_per_node": 64, "system_architecture": {"smt": 2, "blocked_cores": [0, 8]}})
    described = agent_descriptions(machine, 2, ("python", "agent.py", "config"), "/run/logs")
    assert [task["arguments"] for task in described] == [["agent.py", "config", "0"], ["agent.py", "config", "1"]]
    assert {(task["executable"], task["ranks"], task["cores_per_rank"]) for task in described} == {("python", 1, 126)}
    assert described[1]["stdout"] == described[1]["stderr"] == "/run/logs/agent-1.log"


def test_a_resource_without_a_size_is_refused() -> None:
    """Whole nodes cannot be asked for; the error says what to add and where."""
    with pytest.raises(ResourceError, match=r"no `cores_per_node`.*~/.radical/pilot/configs"):
        agent_descriptions(machine_of({}), 1, ("python",), "/run/logs")
    assert machine_of({}) == Machine(0)


def heard(*events: dict[str, Any]) -> Seen:
    seen = Seen()
    for event in events:
        seen = after(seen, event)
    return seen


def test_states_are_kept_and_nothing_follows_a_final_one() -> None:
    """They come from several threads, out of order."""
    seen = heard(
        {"pilot": "pilot.0000", "state": "PMGR_ACTIVE_PENDING", "sandbox": "/s"},
        {"pilot": "pilot.0000", "state": "FAILED"},
        {"pilot": "pilot.0000", "state": "PMGR_ACTIVE", "sandbox": None},
    )
    assert (seen.state, seen.sandbox) == ("FAILED", "/s")
    assert seen.over == "RADICAL-Pilot's pilot.0000 is FAILED"
    assert heard({"pilot": "p", "state": "PMGR_ACTIVE"}).over is None


@pytest.mark.parametrize(
    ("event", "why"),
    [
        ({"state": "FAILED", "exit_code": 137}, "its agent was killed by SIGKILL"),
        ({"state": "FAILED", "exit_code": 1}, "its agent ended with exit code 1 (RADICAL-Pilot: FAILED)"),
        ({"state": "CANCELED"}, "its agent ended (RADICAL-Pilot: CANCELED)"),
        ({"state": "FAILED", "exit_code": 255}, "its agent ended with exit code 255 (RADICAL-Pilot: FAILED)"),
    ],
)
def test_the_end_of_an_agent_is_the_loss_of_its_node(event: dict[str, Any], why: str) -> None:
    """And of no other; a state on the way is nothing."""
    running = heard({"agent": 1, "state": "AGENT_EXECUTING"})
    assert lost_nodes(running, {0: "a", 1: "b"}) == {}
    assert lost_nodes(after(running, {"agent": 1, **event}), {0: "a", 1: "b"}) == {"b": why}


def test_the_end_of_radical_pilot_is_the_loss_of_all_nodes() -> None:
    """An agent whose own end is known keeps its reason."""
    seen = heard({"agent": 0, "state": "FAILED", "exit_code": 137}, {"error": "its process was killed"})
    assert lost_nodes(seen, {0: "a", 1: "b"}) == {
        "a": "its agent was killed by SIGKILL",
        "b": "RADICAL-Pilot failed: its process was killed",
    }


def test_nodes_are_what_agents_found_or_what_was_asked() -> None:
    """In the order of the agents; `cores` are as the agent took them, GPUs and memory may be asked to be less."""
    nodes = nodes_for(Allocation(gpus=0, memory_bytes=GIB), [found(1), found(0, cores=16)])
    assert [(node.name, node.cores, node.gpus, node.memory_bytes) for node in nodes] == [
        ("n0", 16, 0, GIB),
        ("n1", 4, 0, GIB),
    ]
    assert nodes_for(Allocation(), [found(0)])[0].gpus == 1


@pytest.mark.parametrize(
    ("asked", "said", "message"),
    [
        (Allocation(gpus=2), found(0), "n0 has 1 GPUs, not 2"),
        (Allocation(memory_bytes=9 * GIB), found(0), "n0 has .* bytes of memory, not"),
        (Allocation(), found(0, error="the driver is not reached"), "n0: the driver is not reached"),
    ],
)
def test_a_node_that_has_less_is_refused(asked: Allocation, said: Announcement, message: str) -> None:
    """By its name."""
    with pytest.raises(ResourceError, match=message):
        nodes_for(asked, [said])


def test_announcements_are_read_whole(tmp_path: Path) -> None:
    """Claims and files that are being written are not."""
    (tmp_path / "n0.json").write_text(json.dumps(vars(found(0))))
    (tmp_path / "n1.claim").touch()
    (tmp_path / "n1.tmp").write_text("{")
    assert list(announced(tmp_path)) == [found(0)]


def test_lines_that_tell_are_picked() -> None:
    """Errors of logs, ends of components; no debug lines of libraries."""
    told = {
        "pmgr.err": "DEBUG:psij:x\n\nINFO:psij:y\n",
        "agent_0.err": "bootstrap_0.sh: line 1749: radical-pilot-agent_0: command not found\n",
        "session.log": "1 : DEBUG : a\n2 : ERROR : no launcher found\n",
        "pmgr.log": "3.1 : ERROR : launch failed\nTraceback:\n  x.py\nOSError: no room\n4.2 : INFO : b\n",
    }
    assert telling_lines(told) == [
        "agent_0.err: bootstrap_0.sh: line 1749: radical-pilot-agent_0: command not found",
        "session.log: 2 : ERROR : no launcher found",
        "pmgr.log: 3.1 : ERROR : launch failed",
        "pmgr.log: OSError: no room",
    ]


def test_a_nodes_environment_is_the_users_without_what_is_of_this_machine() -> None:
    """The job we are in, this terminal and this machine's folders are not those of the node."""
    here = {"PATH": "/bin", "MODEL": "x", "SLURM_JOB_ID": "1", "TMPDIR": "/t", "CUDA_VISIBLE_DEVICES": "0", "PWD": "/"}
    assert environment_for_nodes(here) == {"PATH": "/bin", "MODEL": "x"}
