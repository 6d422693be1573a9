"""The watch over what the tests leave behind sees it, and nothing of another run's."""

from __future__ import annotations

import json
import os
import subprocess
import sys

_HOLDS = """
import sys
from deeprc.runtime.process import shared_folder
folder = shared_folder.new_name()
shared_folder.hold(folder)
print(flush=True)
sys.stdin.read()
shared_folder.remove(folder)
"""
_SCRIPT = f"""
import json, os, subprocess, sys, tempfile, time
from tests.leftovers import Watch

def started():
    command = [sys.executable, "-c", {_HOLDS!r}]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    return process

before = started()
watch = Watch()
during = started()
time.sleep(3)
tempfile.mkdtemp(prefix="deeprc-left-")
tempfile.mkdtemp(prefix="another-")
told = watch.end(patience_s=0.5)
for process in (before, during):
    process.communicate(b"")
print(json.dumps([before.pid, during.pid, *told]))
"""


def test_a_watch_sees_what_is_left_since_it_began() -> None:
    """A process, its folder in shared memory and a file; a process of another run has the same, and is not told."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", _SCRIPT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    before, during, deeprc, others = json.loads(done.stdout)
    told = "\n".join(deeprc)
    assert f"process {during}: " in told
    assert f"/dev/shm/deeprc-mpi-{during}-" in told
    assert "/deeprc-left-" in told
    assert str(before) not in told
    assert len(deeprc) == 3
    assert ["/another-" in each for each in others] == [True]
