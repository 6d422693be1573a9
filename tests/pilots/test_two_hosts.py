"""Two hosts with a slow link between them: network namespaces with addresses of their own, then one is cut off."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.pilots import two_hosts
from tests.runtime import faults

SILENT_S = 8.0


def ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=20, check=False)
    if done.returncode != 0:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")


@pytest.fixture
def hosts() -> Iterator[tuple[str, str]]:
    """Two namespaces, one link of 100 Mbit/s between them."""
    if shutil.which("ip") is None or shutil.which("tc") is None:
        pytest.skip("no ip and tc: apt-get install iproute2")
    first, second = (f"deeprc-{secrets.token_hex(4)}" for _ in range(2))
    try:
        try:
            ip("netns", "add", first)
        except OSError as error:
            pytest.skip(f"network namespaces are not permitted here: {error}")
        ip("netns", "add", second)
        ip("-n", first, "link", "add", "link0", "type", "veth", "peer", "name", "link0", "netns", second)
        for namespace, address in ((first, two_hosts.FIRST), (second, two_hosts.SECOND)):
            ip("-n", namespace, "address", "add", f"{address}/24", "dev", "link0")
            ip("-n", namespace, "link", "set", "lo", "up")
            ip("-n", namespace, "link", "set", "link0", "up")
        limit = ["tbf", "rate", "100mbit", "burst", "64kb", "latency", "100ms"]
        slow = ["tc", "-n", second, "qdisc", "add", "dev", "link0", "root", *limit]
        subprocess.run(slow, timeout=20, check=True)
        yield first, second
    finally:
        for namespace in (first, second):
            subprocess.run(["ip", "netns", "delete", namespace], capture_output=True, timeout=20, check=False)


def processes_naming(word: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if any(word in part for part in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.slow
def test_traffic_crosses_and_a_host_is_cut_off(hosts: tuple[str, str], tmp_path: Path) -> None:
    """MPI and GLOO cross the link; the loss is told within the limit of silence; both hosts end up empty."""
    first, second = hosts
    run = tmp_path / "run"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "DEEPRC_SILENT_S": str(SILENT_S),
        # The two hosts are one kernel, whose shared memory UCX would find.
        "MPIR_CVAR_CH4_NETMOD": "ofi",
        "FI_PROVIDER": "tcp",
    }
    command = ["ip", "netns", "exec", first, sys.executable, two_hosts.__file__, str(run), second]
    driver = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert faults.wait_until((run / "stuck").exists, timeout_s=120), driver.communicate(timeout=5)
        ip("-n", second, "link", "set", "link0", "down")
        cut = time.time()
        output, errors = driver.communicate(timeout=150)
    finally:
        driver.kill()
    assert driver.returncode == 0, errors
    mpi, gloo, lost, rest, end = map(json.loads, output.splitlines())
    for traffic in (mpi, gloo):
        assert traffic["right"] == [True, True, True]
        # Rank 2 is alone on its host and is sent two megabytes by each of the others.
        assert traffic["crossed"] > 4 << 20
        assert set(traffic["listening"]) <= {two_hosts.FIRST, two_hosts.SECOND}, traffic["comm"]
    assert "node second is lost: its agent has been silent" in lost["lost"]
    # By the limit, and not by TCP's, which are of minutes.
    assert lost["at"] - cut < SILENT_S + 30
    assert rest == {"rest": 3}
    assert end == {"ended_by_itself": True}
    assert faults.wait_until(lambda: not processes_naming(str(run))), processes_naming(str(run))
