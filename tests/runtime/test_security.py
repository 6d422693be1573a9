"""Without the session's key nobody is heard; keys are nowhere but in one private file."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pickle
import socket
import subprocess
import sys
import traceback
from pathlib import Path

import psutil
import pytest
import zmq
import zmq.utils.z85

import deeprc as rc
from deeprc.journal import new_run_directory
from deeprc.runtime.link.local_door import enter
from deeprc.runtime.link.messages import GangFinished
from deeprc.runtime.link.wire import packed_frame, read_connection


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


def listening() -> set[tuple[str, int]]:
    """Address and port of every socket on which this process or one below it listens."""
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    found = set()
    for process in family:
        # It may have ended meanwhile.
        with contextlib.suppress(psutil.Error):
            connections = process.net_connections("inet")
            found |= {tuple(each.laddr) for each in connections if each.status == psutil.CONN_LISTEN}
    return found


def test_the_run_is_private_and_bound_to_loopback(tmp_path: Path) -> None:
    """Directories 0700, the key file 0600, and no socket of ours listens beyond this machine."""
    # Services that other tests keep have sockets of their own.
    others = listening()
    with rc.Session(cores=2, run_dir=tmp_path / "run") as session:
        for comm in ("mpi", "gloo"):
            session.submit(meet, ranks=2, comm=comm).result(timeout=90)
        assert session.run_directory.stat().st_mode & 0o777 == 0o700
        assert (session.run_directory / ".connection.json").stat().st_mode & 0o777 == 0o600
        ours = listening() - others
    assert ours
    assert {host for host, _ in ours} == {"127.0.0.1"}


def forms(secret: bytes) -> set[bytes]:
    """A key as it may have been written: raw, in Z85 as ZeroMQ has it, in hexadecimal, in base64, by Python's repr."""
    raw = zmq.utils.z85.decode(secret) if len(secret) == 40 else bytes.fromhex(secret.decode())
    shown = {secret, raw, zmq.utils.z85.encode(raw), raw.hex().encode(), raw.hex().upper().encode(), repr(raw).encode()}
    return shown | {base64.b64encode(raw).rstrip(b"="), base64.urlsafe_b64encode(raw).rstrip(b"=")}


@pytest.fixture
def made_keys(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The keys that this process makes from now on: ZeroMQ does not give its secret one back."""
    made, make = list[bytes](), zmq.curve_keypair

    def keypair() -> tuple[bytes, bytes]:
        pair = make()
        made.extend(pair)
        return pair

    monkeypatch.setattr(zmq, "curve_keypair", keypair)
    return made


def seen_of_processes(session: rc.Session) -> bytes:
    """What other processes of the user, and `ps`, see of a session's."""
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    assert len(family) >= 4
    seen = b""
    for process in family:
        for name in ("environ", "cmdline", "comm"):
            # A rank may have ended meanwhile.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                seen += Path(f"/proc/{process.pid}/{name}").read_bytes()
    return seen


def seen_in_files(directory: Path, *, without: str = "") -> dict[Path, bytes]:
    files = [path for path in directory.rglob("*") if path.is_file() and path.name != without]
    assert {"events.jsonl", "environment.json"} <= {path.name for path in files}
    return {path: path.read_bytes() for path in files}


def everything(comm: rc.Communicator) -> dict[str, str]:
    comm.barrier()
    print(os.environ)
    return dict(os.environ)


def fail_loudly(comm: rc.Communicator) -> None:
    raise ValueError(f"{vars(comm)} {os.environ}")


def test_keys_are_in_one_private_file_while_the_run_lasts_and_nowhere_else(
    tmp_path: Path, made_keys: list[bytes]
) -> None:
    """Not in arguments, environments, results, errors, logs, journal or spec; once it has ended in no file at all."""
    with rc.Session(cores=4, run_dir=tmp_path / "run", keep_results=True) as session:
        connection = json.loads((session.run_directory / ".connection.json").read_text())
        assert len(made_keys) == 2
        assert connection["server_key"].encode() == made_keys[0]
        keys, seen = set[bytes]().union(*map(forms, [*made_keys, connection["token"].encode()])), b""
        for comm in ("mpi", "gloo"):
            future = session.submit(everything, ranks=2, comm=comm)  # type: ignore[arg-type]
            seen += repr(future.result(timeout=90)).encode()
            with pytest.raises(rc.DeepRCError) as caught:
                session.submit(fail_loudly, ranks=2, comm=comm).result(timeout=90)  # type: ignore[arg-type]
            seen += "".join(traceback.format_exception(caught.value)).encode()
        seen += seen_of_processes(session)
        seen += repr(read_connection(session.run_directory)).encode()
        files = seen_in_files(session.run_directory, without=".connection.json")
        assert not [key for key in keys if key in seen]
        assert not [path for path, content in files.items() if any(key in content for key in keys)]
    files = seen_in_files(session.run_directory)
    assert not [path for path, content in files.items() if any(key in content for key in keys)]


def test_an_open_umask_opens_nothing(tmp_path: Path) -> None:
    """The run's directories are the user's alone, and so are its key file, journal and logs."""
    before = os.umask(0)
    try:
        with rc.Session(cores=2, run_dir=tmp_path / "deep" / "run", keep_results=True) as session:
            session.submit(everything, ranks=2, comm="gloo").result(timeout=90)
            run = session.run_directory
            private = {path: path.stat().st_mode & 0o777 for path in (run / ".connection.json", run / "events.jsonl")}
            assert set(private.values()) == {0o600}
            folders = [run, *(path for path in run.iterdir() if path.is_dir())]
            assert {path.name: path.stat().st_mode & 0o777 for path in folders} == {
                path.name: 0o700 for path in folders
            }
            door = run / ".driver.sock"
            assert door.is_socket()
        assert not door.exists()
    finally:
        os.umask(before)


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


def test_no_other_user_may_put_a_run_in_the_place_of_another(tmp_path: Path) -> None:
    """Whatever the umask, only its owner can write to the folder of the runs, and nobody else enter a run."""
    before = os.umask(0)
    try:
        run = new_run_directory(tmp_path / "deeprc-runs")
    finally:
        os.umask(before)
    assert run.parent.stat().st_mode & 0o777 == 0o755
    assert run.stat().st_mode & 0o777 == 0o700
