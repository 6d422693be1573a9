"""Without the session's key nobody is heard; keys are nowhere but in one private file."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import zmq

import deeprc as rc
from deeprc.runtime.local_door import enter
from deeprc.runtime.messages import GangFinished
from deeprc.runtime.wire import packed_frame


class Exploit:
    """Unpickling this leaves a file behind."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return _touch, (self.path,)


def _touch(path: str) -> None:
    Path(path).touch()


def forged_frame(connection: dict[str, str], path: Path) -> list[bytes]:
    """Messages of one who has no token, or only a part of it: an exploit, and a result that nobody has computed."""
    messages = [Exploit(str(path)), GangFinished("sum", 1, 0.0, (b"v" + pickle.dumps("forged"),))]
    return [token + packed_frame(messages) for token in (b"", b"0" * 64, connection["token"][:63].encode() + b"x")]


def curve_stranger(connection: dict[str, str], server_key: bytes, node: bytes) -> zmq.Socket[bytes]:
    public, secret = zmq.curve_keypair()
    stranger: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
    stranger.linger = 0
    stranger.identity = node
    stranger.curve_publickey, stranger.curve_secretkey, stranger.curve_serverkey = public, secret, server_key
    stranger.connect(connection["address"])
    return stranger


def test_a_stranger_on_the_same_port_is_not_heard(session: rc.Session, tmp_path: Path) -> None:
    """Without CURVE, with a key of its own, or with the server's but no token: nothing it sends is unpickled."""
    connection = json.loads((session.run_directory / ".connection.json").read_text())
    plain = zmq.Context.instance().socket(zmq.DEALER)
    plain.linger = 0
    plain.connect(connection["address"])
    strangers = [
        plain,
        curve_stranger(connection, zmq.curve_keypair()[0], b"localhost"),
        curve_stranger(connection, connection["server_key"].encode(), b"localhost"),
        curve_stranger(connection, connection["server_key"].encode(), b"localhost-2"),
    ]
    for stranger in strangers:
        for frame in forged_frame(connection, tmp_path / "owned"):
            stranger.send(frame, zmq.NOBLOCK)
    plain.send(connection["token"].encode() + packed_frame([Exploit(str(tmp_path / "owned"))]))
    for number in range(20):
        assert session.submit(sum, [number, 2]).result(timeout=60) == number + 2
    assert not (tmp_path / "owned").exists()
    for stranger in strangers:
        stranger.close()


def test_a_flood_of_garbage_on_the_port_leaves_the_run_unharmed(session: rc.Session) -> None:
    """Connections that say nothing, something else, or half of a greeting, and hang up or stay."""
    host, port = json.loads((session.run_directory / ".connection.json").read_text())["address"][6:].split(":")
    kept = []
    for said in (b"", b"GET / HTTP/1.1\r\n\r\n", os.urandom(4096), b"\xff\0\0\0\0\0\0\0\1\x7f\3\0CURVE") * 20:
        stranger = socket.create_connection((host, int(port)), timeout=10)
        stranger.sendall(said)
        kept.append(stranger)
    for stranger in kept[::2]:
        stranger.close()
    for number in range(20):
        assert session.submit(sum, [number, 2]).result(timeout=60) == number + 2
    for stranger in kept:
        stranger.close()


def test_the_door_in_the_run_directory_opens_to_the_token_only(session: rc.Session, tmp_path: Path) -> None:
    """Whoever gets that far and has no token, or another, or names a node that is there, is hung up on unread."""
    connection = json.loads((session.run_directory / ".connection.json").read_text())
    assert session.submit(sum, [1, 2]).result(timeout=60) == 3
    frames = [*forged_frame(connection, tmp_path / "owned"), connection["token"].encode() + b"localhost", b"x" * 5000]
    for frame in frames:
        stranger = enter(session.run_directory)
        stranger.settimeout(20)
        exploit = packed_frame([Exploit(str(tmp_path / "owned"))])
        stranger.sendall(b"".join(len(part).to_bytes(8, "little") + part for part in (frame, exploit)))
        with contextlib.suppress(ConnectionResetError):
            assert stranger.recv(1) == b""
        stranger.close()
    assert session.submit(sum, [1, 2]).result(timeout=60) == 3
    assert not (tmp_path / "owned").exists()


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
