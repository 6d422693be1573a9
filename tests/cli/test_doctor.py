from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from deeprc.cli.doctor import print_findings
from deeprc.cli.machine import Finding, Probe, inspect_machine
from deeprc.cli.trial import try_communicators
from deeprc.pilots.leases import CoreLease


def by_name(probe: Probe | None = None) -> dict[str, Finding]:
    return {finding.name: finding for finding in inspect_machine(probe)}


BARE = Probe(installed=lambda package: None, which=lambda program: None, output=lambda command: "", environment={})


def test_doctor_sees_this_machine() -> None:
    """What these tests themselves use is found."""
    found = by_name()
    for name in ("Python", "memory", "disk", "pilots", "communicators"):
        assert found[name].status in ("ok", "warning"), found[name]
    assert sys.executable in found["Python"].detail
    assert "local" in found["pilots"].detail
    assert "gloo, mpi, nccl, solo" in found["communicators"].detail


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("PyTorch", "pip install 'deeprc[torch]'"),
        ("TensorFlow", "pip install 'deeprc[tensorflow]'"),
        ("NeuralForecast", "pip install 'deeprc[forecast]'"),
        ("mpi4py", "pip install 'deeprc[mpi]'"),
        ("MPI library", "pip install 'deeprc[mpi]'"),
        ("demo data", "pip install 'deeprc[demo]'"),
        ("Ray", "pip install 'deeprc[ray]'"),
        ("RADICAL-Pilot", "pip install 'deeprc[radical]'"),
        ("Slurm", "slurm-client"),
        ("GPU", "driver"),
    ],
)
def test_what_is_missing_comes_with_the_command_that_brings_it(name: str, remedy: str) -> None:
    """Each thing, once hidden, is reported missing with its remedy."""
    finding = by_name(BARE)[name]
    assert finding.status == "missing"
    assert remedy in finding.remedy


def test_sessions_that_hold_cores_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By their process, with the cores; nothing is said where there is none."""
    monkeypatch.setenv("DEEPRC_LEASES", str(tmp_path))
    assert "sessions" not in by_name()
    lease = CoreLease(None)
    assert by_name()["sessions"].detail == f"process {os.getpid()} holds {', '.join(map(str, lease.cores))}"
    assert "--cores N" in by_name()["sessions"].remedy
    lease.release()


def test_every_remedy_names_an_extra_that_exists() -> None:
    """`pip install 'deeprc[x]'` is only said of an x that the package has."""
    from importlib.metadata import metadata

    extras = set(metadata("deeprc").get_all("Provides-Extra") or [])
    said = {
        finding.remedy.partition("[")[2].partition("]")[0]
        for finding in inspect_machine(BARE)
        if "pip" in finding.remedy
    }
    assert said
    assert said <= extras


def test_programs_are_asked_for_what_they_know() -> None:
    """GPUs come from nvidia-smi, the Slurm version and job from Slurm."""
    said = {"/bin/nvidia-smi": "H100, 81559 MiB, 570.1\nH100, 81559 MiB, 570.1", "/bin/sbatch": "slurm 24.11"}
    found = by_name(
        Probe(
            which=lambda program: f"/bin/{program}" if f"/bin/{program}" in said else None,
            output=lambda command: said.get(command[0], ""),
            environment={"SLURM_JOB_ID": "77"},
        )
    )
    assert found["GPU 1"].detail == "H100, 81559 MiB, 570.1"
    assert "GPU" not in found
    assert found["Slurm"].detail == "slurm 24.11, inside job 77"


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"cpu.max": "50000 100000"}, "0.5"),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, "0.5"),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({}, None),
    ],
)
def test_a_container_s_core_limit_is_seen(files: dict[str, str], limit: str | None, tmp_path: Path) -> None:
    """A quota below the cores is a warning: ranks would share them."""
    for name, text in files.items():
        path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    cores = by_name(Probe(root=tmp_path))["cores"]
    assert cores.status == ("ok" if limit is None else "warning")
    assert limit is None or f"limit is {limit}" in cores.detail


def test_absent_shared_memory_is_missed(tmp_path: Path) -> None:
    """Without /dev/shm the remedy says how to mount it."""
    assert "mount" in by_name(Probe(root=tmp_path))["/dev/shm"].remedy


def test_findings_are_printed_with_their_remedies() -> None:
    """All findings appear, what lacks with its remedy; brackets are not taken for markup."""
    console = Console(file=io.StringIO(), width=100)
    print_findings(inspect_machine(BARE), console)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(finding.name in text for finding in inspect_machine(BARE))
    assert "→ pip install 'deeprc[torch]'" in text


def test_doctor_prints_json() -> None:
    """--json is for programs: a list of findings."""
    command = [sys.executable, "-m", "deeprc.cli.main", "doctor", "--json"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert {"group", "name", "status", "detail", "remedy"} == set(json.loads(printed)[0])


def test_communicators_are_tried_by_using_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """--check starts two ranks; a communicator that does not exist is told, not raised."""
    monkeypatch.setenv("DEEPRC_RUNS", str(tmp_path))
    mpi, nonsense = try_communicators(("mpi", "nccl"))
    assert (mpi.status, mpi.detail) == ("ok", "gathered [0, 1]")
    assert nonsense.status == "missing"
    assert list(tmp_path.iterdir()) == []


def slurm_probe(answers: dict[str, str], **environment: str) -> Probe:
    """A machine with Slurm's commands, which answer as given."""
    return Probe(
        which=lambda program: program if program == "sbatch" else None,
        output=lambda command: answers.get(command[0], ""),
        environment=environment,
    )


def test_on_a_login_node_the_partitions_are_told() -> None:
    """To which jobs can be submitted; a controller that does not answer is told with what to look at."""
    findings = by_name(slurm_probe({"sbatch": "slurm 22.05", "sinfo": "gpu* up 4 2-00:00:00\nlong down 8 infinite"}))
    assert findings["Slurm"].detail == "slurm 22.05, not inside a job"
    assert findings["Slurm partitions"].detail == (
        "gpu* (up, 4 nodes, at most 2-00:00:00); long (down, 8 nodes, at most infinite)"
    )
    silent = by_name(slurm_probe({}))["Slurm partitions"]
    assert silent.status == "warning" and "SLURM_CONF" in silent.remedy


def test_inside_a_job_its_nodes_are_told() -> None:
    """As the pilot will use them; a job that Slurm has forgotten is told as such."""
    recorded = (Path(__file__).parents[1] / "pilots/slurm_outputs/job_running.txt").read_text()
    findings = by_name(slurm_probe({"scontrol": recorded}, SLURM_JOB_ID="1"))
    assert "inside job 1" in findings["Slurm"].detail
    assert findings["Slurm job"].detail.startswith("node1: 1 cores, 1 GPUs, 0.1 GiB; node3: 4 cores")
    assert by_name(slurm_probe({}, SLURM_JOB_ID="1"))["Slurm job"].status == "warning"
