"""The Unix socket in a run directory, by which agents on the driver's own host reach it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NAME = ".driver.sock"


def this_host() -> str:
    """What tells this host, and on it this network, from all others: one cut off from the network is another host."""
    return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}/{Path('/proc/self/ns/net').stat().st_ino}"


def open_door(run_directory: Path) -> socket.socket | None:
    """Listen in a run directory; None if its file system has no sockets."""
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short(run_directory) as directory:
            door.bind(f"{directory}/{_NAME}")
    except OSError:
        door.close()
        return None
    door.listen()
    door.setblocking(False)
    return door


def enter(run_directory: Path) -> socket.socket:
    """Connect to who listens in a run directory."""
    entered = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with _short(run_directory) as directory:
        entered.connect(f"{directory}/{_NAME}")
    return entered


def remove_door(run_directory: Path) -> None:
    (run_directory / _NAME).unlink(missing_ok=True)


@contextmanager
def _short(directory: Path) -> Iterator[str]:
    """Another name for a directory: a socket's path may have 107 characters at most."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
