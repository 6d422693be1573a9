"""Slurm's words as values and back, on texts that Slurm 22.05 printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from deeprc.errors import ResourceError, SpecError
from deeprc.pilots import slurm, slurm_submission
from deeprc.runtime.pilot import Allocation, Node
from deeprc.spec import SessionSpec

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


@pytest.mark.parametrize(("mpi", "told"), [("pmix", ["--mpi=pmix"]), (None, [])])
def test_ranks_may_be_started_by_srun(mpi: str | None, told: list[str]) -> None:
    """Beside the agents' step; by the plugin that was asked for, or the site's; all end if one cannot start."""
    command = slurm.ranks_command("7", ["node1", "node2"], 2, ["node2"] * 3, mpi)
    assert {"--jobid=7", "--nodelist=node2", "--nodes=1", "--ntasks=3", "--overlap", "--kill-on-bad-exit=1"} <= {
        *command
    }
    assert [word for word in command if word.startswith("--mpi")] == told


@pytest.mark.parametrize(
    ("cores", "hosts", "told"),
    [
        (2, "n1 n1 n3 n3", ["--nodelist=n1,n3", "--distribution=block", "--ntasks-per-node=2"]),
        (1, "n1 n1 n3 n3", ["--nodelist=n1,n3", "--distribution=block", "--ntasks-per-node=2"]),
        (2, "n1 n1 n2 n2 n3", ["--nodelist=n1,n2,n3", "--distribution=plane=2"]),
        (1, "n1 n1 n2", ["--nodelist=n1,n1,n2", "--distribution=arbitrary"]),
        (2, "n2 n2 n1", ["--nodelist=n2,n2,n1", "--distribution=arbitrary"]),
        (2, "n1 n2 n2", ["--nodelist=n1,n2,n2", "--distribution=arbitrary"]),
        (2, "n2 n1", ["--nodelist=n2,n1", "--distribution=arbitrary"]),
    ],
)
def test_each_rank_lands_on_the_node_that_was_chosen(cores: int, hosts: str, told: list[str]) -> None:
    """In blocks where Slurm's own order gives that, so that its PMI-2 tells MPI which ranks share a node."""
    command = slurm.ranks_command("7", ["n1", "n2", "n3"], cores, hosts.split(), "pmi2")
    assert [word for word in command if word.startswith(("--nodelist", "--distribution", "--ntasks-per"))] == told


def test_ranks_see_nothing_of_how_slurm_started_the_agents() -> None:
    """MPI and Lightning would take it for the way to start ranks."""
    environment = {"SLURM_NTASKS": "2", "SLURM_CONF": "/c", "SLURM_TMPDIR": "/t", "PMI_RANK": "0", "PATH": "/bin"}
    assert slurm.without_launcher(environment) == {"SLURM_CONF": "/c", "SLURM_TMPDIR": "/t", "PATH": "/bin"}


def test_a_step_is_found_by_its_name() -> None:
    """To be cancelled where srun is gone."""
    assert slurm.step_of("1.batch batch\n1.0 deeprc-a\n", "deeprc-a") == "1.0"
    assert slurm.step_of("1.batch batch\n", "deeprc-a") is None


def test_a_run_asks_for_whole_nodes_unless_it_asks_for_less() -> None:
    """Options of sbatch from what a session says; the user's own come last, and may take ours away."""
    whole = slurm_submission.submission_options("run", SessionSpec())
    assert {"--nodes=1", "--exclusive", "--requeue", "--no-kill"} <= {*whole}
    asked = SessionSpec(
        nodes=4, cores=8, gpus=2, memory_bytes="4GiB", time_s="1-12:00:00", options={"qos": "x", "requeue": False}
    )
    some = slurm_submission.submission_options("run", asked)
    assert {"--nodes=4", "--cpus-per-task=8", "--gres=gpu:2", "--mem=4096M", "--time=1-12:00:00", "--qos=x"} <= {*some}
    assert not {"--exclusive", "--requeue"} & {*some}


@pytest.mark.parametrize("option", ["nodes", "output", "array", "wrap", "-p", "Bad Name"])
def test_options_under_which_a_run_could_not_be_followed_are_refused(option: str) -> None:
    """And those that the session's fields say."""
    with pytest.raises(SpecError, match="options: "):
        slurm_submission.submission_options("run", SessionSpec(options={option: "1"}))


def test_a_script_quotes_what_a_shell_would_take_apart() -> None:
    """The command takes the shell's place, so that signals reach it."""
    script = slurm_submission.batch_script(
        ["python", "a b.py", "$(rm x)"], {"PYTHONPATH": "/a b"}, ["sbatch", "job.sh"]
    )
    assert script.startswith("#!/bin/bash\n")
    assert "export PYTHONPATH='/a b'\n" in script
    assert script.endswith("exec python 'a b.py' '$(rm x)'\n")


@pytest.mark.parametrize(("seconds", "text"), [(60, "0-00:01:00"), (7200, "0-02:00:00"), (129661, "1-12:01:01")])
def test_durations_are_written_as_slurm_reads_them(seconds: float, text: str) -> None:
    """Days, hours, minutes, seconds."""
    assert slurm_submission.walltime(seconds) == text


@pytest.mark.parametrize(("text", "job"), [("12\n", "12"), ("12;cluster\n", "12"), ("warning\n12\n", "12")])
def test_the_id_of_a_submitted_job_is_read(text: str, job: str) -> None:
    """With the cluster's name, and behind what a site's plugins say."""
    assert slurm_submission.parse_submission(text) == job


@pytest.mark.parametrize("text", ["", "sbatch: hello"])
def test_no_id_is_refused_with_what_sbatch_said(text: str) -> None:
    """Rather than following nothing."""
    with pytest.raises(ResourceError, match="no job id"):
        slurm_submission.parse_submission(text)


@pytest.mark.parametrize(
    ("state", "exit_code", "signal", "code", "words"),
    [
        ("COMPLETED", 0, 0, 0, "completed"),
        ("FAILED", 1, 0, 1, "exit code 1"),
        ("FAILED", 0, 9, None, "signal 9"),
        ("TIMEOUT", 0, 15, None, "time limit"),
        ("NODE_FAIL", 0, 0, None, "lost the node"),
        ("OUT_OF_MEMORY", 0, 125, None, "more memory"),
    ],
)
def test_how_a_job_ended_is_told_in_words(
    state: str, exit_code: int, signal: int, code: int | None, words: str
) -> None:
    """The exit code is the command's, or there is none because Slurm ended it."""
    text = f"JobId=3 JobState={state} Reason=None ExitCode={exit_code}:{signal}"
    assert slurm_submission.outcome(slurm.parse_job(text))[0] == code
    assert words in slurm_submission.outcome(slurm.parse_job(text))[1]


@pytest.mark.parametrize(
    ("refusal", "noun", "program", "listing", "names"),
    [
        ("invalid partition specified: nowhere", "partition", "sinfo", "debug\nlong\n", ["debug", "long"]),
        (
            "Batch job submission failed: Invalid account or account/partition combination specified",
            "account",
            "sacctmgr",
            "physics\nhydro\nphysics\n",
            ["hydro", "physics"],
        ),
        ("Invalid qos specification", "QOS", "sacctmgr", "normal,long\nnormal\n", ["long", "normal"]),
        ("Invalid feature specification", "feature", "sinfo", "a100,nvme\n(null)\n", ["a100", "nvme"]),
    ],
)
def test_a_name_that_slurm_refuses_is_answered_with_those_there_are(
    refusal: str, noun: str, program: str, listing: str, names: list[str]
) -> None:
    """Which command lists them, and what is read from its answer."""
    asked = slurm_submission.unknown_name(f"sbatch failed: sbatch: error: {refusal}", "me")
    assert asked is not None and asked[0] == noun and asked[1][0] == program
    assert program != "sacctmgr" or "user=me" in asked[1]
    assert slurm_submission.listed_names(listing) == names


def test_other_refusals_are_left_as_they_are() -> None:
    """Slurm's own words say it."""
    assert slurm_submission.unknown_name("Memory specification can not be satisfied", "me") is None


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("Resources", "Resources"),
        ("PartitionTimeLimit", "PartitionTimeLimit: it asks for more time than the partition allows"),
        ("QOSMaxWallDurationPerJobLimit", "QOSMaxWallDurationPerJobLimit: it asks for more than"),
    ],
)
def test_a_job_that_may_wait_for_ever_says_so(reason: str, told: str) -> None:
    """What goes away by itself is only named."""
    assert slurm_submission.why_it_waits(reason).startswith(told)


def _job(text: str = "") -> slurm.Job:
    return slurm.parse_job(f"JobId=3 JobState=RUNNING Reason=None Requeue=1 Restarts=2 {text}")


@pytest.mark.parametrize(
    ("job", "requeues", "further", "why"),
    [
        (_job(), None, True, None),
        (_job(), 3, True, None),
        (_job(), 2, True, "restarted 2 times, and may 2 times"),
        (_job(), None, False, "no task was finished and no checkpoint written"),
        (_job("Requeue=0"), None, True, "without --requeue"),
    ],
)
def test_a_job_goes_back_into_the_queue_for_a_reason(
    job: slurm.Job, requeues: int | None, further: bool, why: str | None
) -> None:
    """Not for ever, and not if it would get no further."""
    said = slurm_submission.why_not_again(job, requeues, got_further=further)
    assert (said is None) if why is None else (said is not None and why in said)


@pytest.mark.parametrize(
    ("asked_s", "limit_s", "lead_s"), [(None, 7200, 120), (None, 60, 15), (None, None, 120), (600, 7200, 600)]
)
def test_a_run_stops_early_enough(asked_s: float | None, limit_s: float | None, lead_s: float) -> None:
    """Two minutes before its limit unless told, and not most of a short job."""
    assert slurm_submission.lead_s(asked_s, limit_s) == lead_s


@pytest.mark.parametrize(
    ("lead_s", "left_s", "grace_s"), [(120, 118, 88), (120, 7000, 90), (120, None, 90), (15, 14, 9), (120, 3, 1)]
)
def test_tasks_have_the_time_to_the_limit_but_for_the_record(
    lead_s: float, left_s: float | None, grace_s: float
) -> None:
    """Also when Slurm tells late, or long before, as in a preemption."""
    assert slurm_submission.grace_s(lead_s, left_s) == grace_s
