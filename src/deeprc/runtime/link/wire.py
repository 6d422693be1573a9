"""What driver and agents have in common to speak with each other: where and with which keys, and messages as frames.

Agents of the driver's own host reach it over a Unix socket in the run directory, which only the user can enter; all
others over ZeroMQ with CURVE, which encrypts and tells who the driver is. Either way an agent shows the session's
token before anything of it is unpickled. Keys and token travel in one file that only the user can read.
"""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from deeprc.runtime.link.messages import GangFinished, GangStarted, PickledFunction, Profile, RankPlace, RunGang

_CONNECTION_FILE = ".connection.json"
# Results of up to 1 MiB travel in messages: so no frame is of more than 64 MiB or so.
MOST_IN_A_FRAME = 64


@dataclass(frozen=True)
class Connection:
    """What an agent needs to reach its driver; `host` is the driver's, if it can be reached by a Unix socket."""

    address: str
    server_key: str = field(repr=False)
    token: str = field(repr=False)
    host: str = ""


# Pickle asks a named tuple for its parts in Python, and looks its class up; a plain tuple it writes by itself.
_TUPLES: tuple[Any, ...] = (RunGang, GangStarted, GangFinished)
_CODES = {kind: code for code, kind in enumerate(_TUPLES)}


def packed_frame(messages: list[Any]) -> bytes:
    """Messages as one pickle, in which what they have in common is written once."""
    return pickle.dumps([_plain(message) for message in messages], pickle.HIGHEST_PROTOCOL)


def unpacked_frame(frame: bytes | memoryview) -> list[Any]:
    return [_restored(*entry) for entry in pickle.loads(frame)]


def _plain(message: Any) -> tuple[int | None, Any]:
    code = _CODES.get(type(message))
    if type(message) is GangStarted:
        return code, (message.task, message.attempt, tuple(map(tuple, message.ranks)), message.time)
    if type(message) is RunGang:
        function, profile, *others = message
        return code, (tuple(function), tuple(profile), *others)
    return (None, message) if code is None else (code, tuple(message))


def _restored(code: int | None, content: Any) -> Any:
    if code is None:
        return content
    if _TUPLES[code] is GangStarted:
        task, attempt, ranks, time = content
        return GangStarted(task, attempt, tuple(map(RankPlace._make, ranks)), time)
    if _TUPLES[code] is RunGang:
        function, profile, *others = content
        return RunGang(PickledFunction._make(function), Profile._make(profile), *others)
    return _TUPLES[code]._make(content)


def read_connection(run_directory: Path) -> Connection:
    """Read the file that the driver left for its agents."""
    return Connection(**json.loads((run_directory / _CONNECTION_FILE).read_text()))


def write_connection(run_directory: Path, connection: Connection) -> None:
    descriptor = os.open(run_directory / _CONNECTION_FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(asdict(connection), file)


def forget_connection(run_directory: Path) -> None:
    """Remove the session's keys once no agent needs them."""
    (run_directory / _CONNECTION_FILE).unlink(missing_ok=True)
