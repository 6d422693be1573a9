"""The kinds of event a run's journal holds, and the fields of each.

An event is one JSON object on one line of `events.jsonl`: `time` (seconds since the epoch), `kind`, and the
fields below. Readers must ignore fields they do not know.

| kind | fields |
|---|---|
| run.started | run, name, pilot, nodes [{name, cores, gpus, memory_bytes}], directory, resumes (an earlier run) |
| run.finished | status ("succeeded", "failed", "interrupted"), seconds |
| input | task, path, bytes, blake2b |
| zygote.started | node, profile, import_seconds, start ("fork", "spawn"), warning |
| rank.started | node, pid, profile, log (path in the run directory) |
| rank.ended | node, pid, reason |
| task.submitted | task, name, function, ranks, backend, threads, gpus, profile, needs [task] |
| task.started | task, attempt, ranks [{rank, node, slot, pid}] |
| task.finished | task, attempt, seconds, peak_memory_bytes (of one rank), result (short text) |
| task.failed | task, attempt, seconds, error, message, traceback, rank, node, output, log, signal, will_retry |
| task.reused | task, run (whose result it is), result (short text) |
| task.cancelled | task, reason |
| progress | task, rank, done, total, message |
| transfer | task, rank, dataset, column, to, mode ("shared", "copied"), bytes, reason |
| exchange | task, rank, operator, bytes_sent, bytes_received, seconds |
| artifact | task, type, path (in the run directory) |
| checkpoint | task, rank, path (the folder of a task that uses it) |
| warning | task, rank, message |

`to` of a transfer is "torch", "tensorflow", "polars", "arrow" or "numpy". `slot` numbers the node's cores from 0: the
timeline has one lane for each slot of each node.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

EventKind = Literal[
    "run.started",
    "run.finished",
    "input",
    "zygote.started",
    "rank.started",
    "rank.ended",
    "task.submitted",
    "task.started",
    "task.finished",
    "task.failed",
    "task.reused",
    "task.cancelled",
    "progress",
    "transfer",
    "exchange",
    "artifact",
    "checkpoint",
    "warning",
]
KINDS: frozenset[str] = frozenset(get_args(EventKind))
Event = dict[str, Any]
