"""Without the session's key nobody is heard; keys are nowhere but in one private file."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import psutil
import zmq

import deeprc as rc
from deeprc.runtime.messages import GangFinished
from deeprc.runtime.wire import AgentSocket, Connection


class Exploit:
    """Unpickling this leaves a file behind."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return _touch, (self.path,)


def _touch(path: str) -> None:
    Path(path).touch()


def test_a_stranger_on_the_same_port_is_not_heard(session: rc.Session, tmp_path: Path) -> None:
    """Neither without CURVE, nor with the server's key but another token; nothing it sends is unpickled."""
    connection = json.loads((session.run_directory / ".connection.json").read_text())
    forged = Connection(connection["address"], connection["server_key"], token="0" * 64)
    stranger = AgentSocket(zmq.Context.instance(), "localhost-2", forged)
    stranger.send(Exploit(str(tmp_path / "owned")))
    stranger.send(GangFinished("sleep", 1, 0.0, (b"v" + pickle.dumps("forged"),)))
    stranger.flush()
    plain = zmq.Context.instance().socket(zmq.DEALER)
    plain.linger = 0
    plain.connect(connection["address"])
    plain.send(connection["token"].encode() + pickle.dumps(Exploit(str(tmp_path / "owned"))))
    assert session.submit(sum, [1, 2]).result(timeout=60) == 3
    assert not (tmp_path / "owned").exists()
    stranger.socket.close()
    plain.close()


def meet(comm: rc.Communicator) -> None:
    comm.barrier()


def test_the_run_is_private_and_bound_to_loopback(session: rc.Session) -> None:
    """Directories 0700, the key file 0600, and no socket of ours listens beyond this machine."""
    for comm in ("mpi", "gloo"):
        session.submit(meet, ranks=2, comm=comm).result(timeout=90)
    assert session.run_directory.stat().st_mode & 0o777 == 0o700
    assert (session.run_directory / ".connection.json").stat().st_mode & 0o777 == 0o600
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    listening = [
        connection.laddr.ip
        for process in family
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening
    assert set(listening) == {"127.0.0.1"}


def test_keys_are_not_in_arguments_environment_logs_or_journal(session: rc.Session) -> None:
    """The token and the server's key stand in the connection file alone."""
    environment = session.submit(lambda: dict(__import__("os").environ)).result(timeout=60)
    connection = json.loads((session.run_directory / ".connection.json").read_text())
    secrets = [connection["token"], connection["server_key"]]
    seen = json.dumps(environment)
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        seen += " ".join(process.cmdline())
    for path in session.run_directory.rglob("*"):
        if path.is_file() and path.name != ".connection.json":
            seen += path.read_text(errors="replace")
    assert not [secret for secret in secrets if secret in seen]


def test_gloo_listens_on_loopback_only(session: rc.Session) -> None:
    """The group's own sockets too."""

    def listening(comm: rc.Communicator) -> list[str]:
        comm.barrier()
        connections = psutil.Process().net_connections("inet")
        return [item.laddr.ip for item in connections if item.status == psutil.CONN_LISTEN]

    assert set(session.submit(listening, ranks=2, comm="gloo").result(timeout=90)) <= {"127.0.0.1", "::1"}


def test_importing_the_runtime_opens_nothing() -> None:
    """No socket and no thread before a session is made."""
    code = (
        "import deeprc, threading, psutil; deeprc.Session;"
        "print(threading.active_count(), len(psutil.Process().net_connections()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == ["1", "0"], done.stderr
