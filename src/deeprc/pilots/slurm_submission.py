"""A job of our own in Slurm's words: what is asked of `sbatch`, when the run stops before the limit, how a job ended.

No side effects.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Mapping

from deeprc.errors import ResourceError, SpecError
from deeprc.pilots.slurm import MIB, Job
from deeprc.spec import SessionSpec

# What a session's own fields say, or what following the job depends on.
_OURS = {
    "nodes": "nodes",
    "time": "time",
    "mem": "memory",
    "cpus-per-task": "cores",
    "gres": "gpus",
    "ntasks": "nodes",
    "ntasks-per-node": "nodes",
    "output": "run_dir",
    "chdir": "the directory you are in",
}
# How long before its time limit a run stops, and how often its job then goes back into the queue, unless told.
LEAD_S = 120.0
REQUEUES = 10
_IMPOSSIBLE = ("array", "wrap", "wait", "parsable", "test-only", "hold", "error")


def submission_options(name: str, asked: SessionSpec) -> list[str]:
    """The options of sbatch for a run: one task's place on each node, whole nodes unless cores are asked for.

    Raises:
        SpecError: an option that the session's own fields say, or under which the run could not be followed.
    """
    own = asked.options or {}
    for option in own:
        if option in _OURS:
            raise SpecError(f"options: {option!r} is said by {_OURS[option]!r} of the session, or of the command line")
        if option in _IMPOSSIBLE or not re.fullmatch(r"[a-z][a-z0-9-]+", option):
            raise SpecError(f"options: {option!r} cannot be given: a run is one job, followed by its log and journal")
    options: dict[str, str | int | bool] = {
        "job-name": name,
        "nodes": asked.nodes or 1,
        "ntasks-per-node": 1,
        "open-mode": "append",
        "requeue": True,
        "no-kill": True,
        # To the script alone: agents and ranks are told by the run.
        "signal": f"B:USR1@{max(1, round(lead_s(asked.stop_before_s, asked.time_s)))}",
    }
    if asked.time_s is not None:
        options["time"] = walltime(asked.time_s)
    if asked.cores is None:
        options["exclusive"] = True
    else:
        options["cpus-per-task"] = asked.cores
    if asked.memory_bytes is not None:
        options["mem"] = f"{-(-asked.memory_bytes // MIB)}M"
    if asked.gpus:
        options["gres"] = f"gpu:{asked.gpus}"
    return [_option(option, value) for option, value in {**options, **own}.items() if value is not False]


def _option(name: str, value: str | int | bool) -> str:
    return f"--{name}" if value is True else f"--{name}={value}"


def lead_s(stop_before_s: float | None, limit_s: float | None) -> float:
    """How long before its time limit a run stops: as asked for, else two minutes or a quarter of a shorter limit."""
    return stop_before_s or min(LEAD_S, (limit_s or math.inf) / 4)


def grace_s(lead_s: float, left_s: float | None) -> float:
    """How long tasks have once the run stops; what is left then is for its record, its report and the requeue."""
    closing_s = min(max(lead_s / 4, 5.0), 60.0)
    return max(min(lead_s, lead_s if left_s is None else left_s) - closing_s, 1.0)


def why_not_again(job: Job, requeues: int | None, *, got_further: bool) -> str | None:
    """Why a job whose run has stopped does not go back into the queue; None if it does."""
    most = REQUEUES if requeues is None else requeues
    if not job.can_requeue:
        return f"job {job.id} was submitted without --requeue"
    if not got_further:
        return (
            "no task was finished and no checkpoint written this time, so that another would not get further either: "
            "give the job more time, or its tasks checkpoints"
        )
    if job.restarts >= most:
        return f"job {job.id} has been restarted {job.restarts} times, and may {most} times (--requeues)"
    return None


def walltime(seconds: float) -> str:
    """ "1-12:00:00": how Slurm writes a duration."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days}-{hours:02}:{minutes:02}:{rest:02}"


def batch_script(command: Iterable[str], environment: Mapping[str, str], submitted_by: Iterable[str]) -> str:
    """The job: `command` takes the shell's place, so that Slurm's signals reach it."""
    exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in environment.items())
    return f"""\
#!/bin/bash
# Submitted by: {shlex.join(submitted_by)}
{exports}
# Until the run listens: it looks at the clock as well.
trap '' USR1
exec {shlex.join(command)}
"""


def parse_submission(text: str) -> str:
    """The job's id, of `sbatch --parsable`: "12" or "12;cluster".

    Raises:
        ResourceError: there is none.
    """
    identifier = text.strip().splitlines()[-1].partition(";")[0] if text.strip() else ""
    if not identifier.isdigit():
        raise ResourceError(f"sbatch gave no job id, but: {text.strip() or 'nothing'}")
    return identifier


# What sbatch says of a name that it does not know, and who knows the names that there are.
_ASSOCIATIONS = ("sacctmgr", "--noheader", "--parsable2", "show", "associations", "where", "user={user}")
_UNKNOWN = {
    "invalid partition": ("partition", ("sinfo", "--noheader", "--format=%R")),
    "invalid account": ("account", (*_ASSOCIATIONS, "format=account")),
    "invalid qos": ("QOS", (*_ASSOCIATIONS, "format=qos")),
    "invalid feature": ("feature", ("sinfo", "--noheader", "--format=%f")),
}


def unknown_name(refusal: str, user: str) -> tuple[str, list[str]] | None:
    """If sbatch refuses a job for a name: of what, and the command that lists those that are valid."""
    for words, (noun, command) in _UNKNOWN.items():
        if words in refusal.lower():
            return noun, [word.format(user=user) for word in command]
    return None


def listed_names(text: str) -> list[str]:
    """The names in such a list, each once."""
    return sorted(set(re.split(r"[\s,]+", text)) - {"", "(null)"})


# Reasons of a waiting job that do not go away by waiting.
_WAITS_IN_VAIN = {
    "PartitionConfig": "it asks for more nodes than the partition has",
    "PartitionNodeLimit": "it asks for more nodes than the partition allows",
    "PartitionTimeLimit": "it asks for more time than the partition allows",
    "PartitionDown": "the partition takes no jobs",
    "PartitionInactive": "the partition takes no jobs",
    "BadConstraints": "no node has what it asks for",
    "JobHeldUser": "it is held: scontrol release",
    "JobHeldAdmin": "an administrator holds it",
    "DependencyNeverSatisfied": "what it waits for has failed",
}


def why_it_waits(reason: str) -> str:
    """Slurm's reason; in words, where the job may wait for ever."""
    words = _WAITS_IN_VAIN.get(reason)
    if words is None and reason.startswith(("QOSMax", "AssocMax", "QOSGrp", "AssocGrp")):
        words = "it asks for more than its account or QOS may have now"
    return f"{reason}: {words}" if words else reason


def forgotten(identifier: str) -> Job:
    """A job that ended so long ago that the controller does not know it any more."""
    return Job(identifier, "FORGOTTEN", "None", 0, 0, 0, False, None, ())


def outcome(job: Job) -> tuple[int | None, str]:
    """The exit code of a job's command, None if Slurm ended the job; and how it ended, in words."""
    if job.state == "COMPLETED":
        return 0, "completed"
    if job.state == "FAILED" and job.signal == 0:
        return job.exit_code, f"ended with exit code {job.exit_code}"
    told = {
        "TIMEOUT": "ran into its time limit",
        "CANCELLED": "was cancelled",
        "NODE_FAIL": "lost the node that it was started on",
        "OUT_OF_MEMORY": "was ended for using more memory than it holds",
        "PREEMPTED": "had to give way to another job",
        "BOOT_FAIL": "could not be started",
        "DEADLINE": "could not be started before its deadline",
        "FAILED": f"was ended by signal {job.signal}",
    }
    words = told.get(job.state, "ended")
    reason = "" if job.reason in ("None", "", job.state) else f", reason {job.reason}"
    return None, f"{words} (Slurm: {job.state}{reason})"
