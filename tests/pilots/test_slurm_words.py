"""Slurm's words as values and back, on texts that Slurm 22.05 printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from deeprc.errors import ResourceError
from deeprc.pilots import slurm
from deeprc.runtime.pilot import Allocation
from deeprc.runtime.scheduler import Node

OUTPUTS = Path(__file__).parent / "slurm_outputs"
MIB = 1024**2


def output(name: str) -> str:
    return (OUTPUTS / f"{name}.txt").read_text()


def test_a_running_job_tells_what_it_holds_of_each_node() -> None:
    """Cores, GPUs and memory may differ from node to node."""
    job = slurm.parse_job(output("job_running"))
    assert (job.id, job.state, job.ended, job.can_requeue, job.restarts) == ("1", "RUNNING", False, True, 0)
    assert job.nodes == (
        Node("node1", 1, 1, 100 * MIB),
        Node("node3", 4, 1, 100 * MIB),
        Node("node4", 2, 1, 100 * MIB),
    )


@pytest.mark.parametrize(
    ("name", "state", "reason", "ended"),
    [
        ("job_pending", "PENDING", "Resources", False),
        (
            "job_cancelled",
            "CANCELLED",
            "Nodes_required_for_job_are_DOWN,_DRAINED_or_reserved_for_jobs_in_higher_priority_partitions",
            True,
        ),
    ],
)
def test_a_job_without_nodes_tells_why(name: str, state: str, reason: str, ended: bool) -> None:
    """It waits or has ended, for a reason."""
    job = slurm.parse_job(output(name))
    assert (job.state, job.reason, job.ended, job.nodes) == (state, reason, ended, ())


def test_no_job_is_refused_with_what_slurm_said() -> None:
    """An id that Slurm has forgotten."""
    with pytest.raises(ResourceError, match="Invalid job id"):
        slurm.parse_job("slurm_load_jobs error: Invalid job id specified")


def test_hosts_are_read() -> None:
    """The machine behind each node, its address and memory."""
    assert slurm.parse_hosts(output("nodes")) == {
        name: slurm.Host("vm", "127.0.0.1", 2048 * MIB) for name in ("node1", "node3")
    }


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("node1", ["node1"]),
        ("node[1-3,07],login", ["node1", "node2", "node3", "node07", "login"]),
        ("r[1-2]n[08-10]", ["r1n08", "r1n09", "r1n10", "r2n08", "r2n09", "r2n10"]),
        ("gpu-a[1,3]-ib", ["gpu-a1-ib", "gpu-a3-ib"]),
        ("", []),
    ],
)
def test_host_lists_expand(text: str, names: list[str]) -> None:
    """As `scontrol show hostnames` does it."""
    assert slurm.expand_hosts(text) == names


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [("", 0), ("gpu:1(IDX:0)", 1), ("gpu:a100:2(IDX:0,3),gpu:v100:1(IDX:5),nic:1", 3), ("nic:gpu:4", 0)],
)
def test_gpus_are_counted(gres: str, gpus: int) -> None:
    """With and without a type, beside other devices."""
    assert slurm.count_gpus(gres) == gpus


def test_srun_tells_which_agents_ended() -> None:
    """Each node by name, with the signal's name where one ended it; its other words are left alone."""
    told = """\
srun: cluster configuration lacks support for cpu binding
srun: error: node2: task 1: Killed
srun: error: node[4-5]: tasks 3-4: Exited with exit code 1
srun: error: Node failure on node7
srun: error: Timed out waiting for job step to complete
"""
    assert slurm.lost_tasks(told) == {
        "node2": "its agent ended: Killed (SIGKILL)",
        "node4": "its agent ended: Exited with exit code 1",
        "node5": "its agent ended: Exited with exit code 1",
        "node7": "Slurm reports its failure",
    }


def test_nodes_that_slurm_gave_up_are_lost() -> None:
    """One that does not answer just now is not: its agent says whether it lives."""
    told = "node1 mixed\nnode2 down*\nnode3 allocated*\nnode4 drained\nnode5 failing\n"
    assert slurm.lost_states(told) == {"node2": "Slurm calls it down", "node5": "Slurm calls it failing"}


def test_a_session_uses_what_the_job_holds_unless_it_asks_for_less() -> None:
    """More cores than there are may be asked for; nodes, GPUs and memory may not."""
    job = slurm.parse_job(output("job_running"))
    hosts = slurm.parse_hosts(output("nodes"))
    assert slurm.nodes_for(job, hosts, Allocation()) == list(job.nodes)
    assert slurm.nodes_for(job, hosts, Allocation(cores=8, gpus=0, memory_bytes=MIB, nodes=1)) == [
        Node("node1", 8, 0, MIB)
    ]
    for asked, message in (
        (Allocation(nodes=4), "holds 3 nodes, not 4"),
        (Allocation(gpus=2), "holds 1 GPUs on node1, not 2"),
        (Allocation(memory_bytes=101 * MIB), "--mem=101M"),
    ):
        with pytest.raises(ResourceError, match=message):
            slurm.nodes_for(job, hosts, asked)


def test_the_agents_step_carries_no_secret_and_outlives_one_agent() -> None:
    """Its command line names nodes and the agent's command, nothing else; one agent's end is not the step's."""
    nodes = [Node("node1", 1), Node("node3", 4)]
    command = slurm.step_command("7", nodes, "deeprc-run", ["python", "-m", "agent"])
    assert command[0] == "srun" and command[-3:] == ["python", "-m", "agent"]
    assert {"--jobid=7", "--nodes=2", "--ntasks=2", "--nodelist=node1,node3", "--no-kill", "--kill-on-bad-exit=0"} <= {
        *command
    }


def test_ranks_see_nothing_of_how_slurm_started_the_agents() -> None:
    """MPI and Lightning would take it for the way to start ranks."""
    environment = {"SLURM_NTASKS": "2", "SLURM_CONF": "/c", "SLURM_TMPDIR": "/t", "PMI_RANK": "0", "PATH": "/bin"}
    assert slurm.without_launcher(environment) == {"SLURM_CONF": "/c", "SLURM_TMPDIR": "/t", "PATH": "/bin"}


def test_a_step_is_found_by_its_name() -> None:
    """To be cancelled where srun is gone."""
    assert slurm.step_of("1.batch batch\n1.0 deeprc-a\n", "deeprc-a") == "1.0"
    assert slurm.step_of("1.batch batch\n", "deeprc-a") is None
