"""A process that has imported what ranks need, runs nothing, and forks a rank in about 10 ms.

Forking is safe only while the parent has run no multi-threaded operation: a child of a process whose BLAS,
torch or TensorFlow threads have started waits for threads it does not have. So this process imports, and
before it serves, a forked child proves on a small operation that it works.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn

from deeprc.runtime.link.lease import call_when_over
from deeprc.runtime.process import shared_folder
from deeprc.runtime.process.family import adopt_orphans, children, descendants, die_with_parent, signal_at_parents_death
from deeprc.runtime.process.segments import remove_segments, segments_of, segments_open_in

# The kernel's out-of-memory killer takes ranks before it takes the driver, an agent or a zygote.
_RANK_OOM_SCORE = b"500"
_CHECK_TIMEOUT_S = float(os.environ.get("DEEPRC_FORK_CHECK_TIMEOUT_S", "20"))
_MAX_MESSAGE_BYTES = 1 << 16


def main() -> None:
    """Serve fork requests: `python -m deeprc.runtime.rank.zygote SOCKET LEASE SHARED_FOLDER`.

    The first two are descriptors; the folder is for the shared memory of the ranks' libraries.
    """
    control = socket.socket(fileno=int(sys.argv[1]))
    shared = Path(sys.argv[3])
    ranks: Ranks = {}
    end = end_with_parent(partial(remove_shared_memory, shared, ranks))
    shared_folder.hold(shared)
    if _has_hung_up(control):
        # The agent had died before the kernel was asked to tell us.
        end()
    settings = json.loads(control.recv(_MAX_MESSAGE_BYTES))
    sys.path[:] = settings["path"]
    started = time.perf_counter()
    # Imports make many objects and hardly any garbage: collecting meanwhile costs about a fifth of their time.
    gc.disable()
    failed = import_all(settings["modules"])
    _import_ranks_own()
    gc.freeze()
    gc.enable()
    seconds = time.perf_counter() - started
    problem = _fork_problem()
    _send(control, ready=True, import_seconds=seconds, failed=failed, unsafe=problem)
    serve(control, int(sys.argv[2]), settings["run_directory"], forked if problem is None else _spawned, ranks, end)


def _has_hung_up(control: socket.socket) -> bool:
    """Whether the agent has closed its end, even if what it has sent before is still to be read."""
    waiting = select.poll()
    waiting.register(control, 0)
    return bool(waiting.poll(0))


def _import_ranks_own() -> None:
    """What each rank runs on besides: imported in every fork instead, it would cost ten times the fork."""
    importlib.import_module("deeprc.runtime.rank.rank")
    importlib.import_module("deeprc.communicator").load_backends()


def import_all(modules: list[str]) -> dict[str, str]:
    """Import each module; what cannot be imported is left to the task, whose error then says why."""
    failed = {}
    for module in modules:
        try:
            importlib.import_module(module)
        except (Exception, SystemExit) as error:
            failed[module] = f"{type(error).__name__}: {error}"
    return failed


Start = Callable[[dict[str, Any], list[int], socket.socket, str], int]
# Living ranks: what the MPI library calls their world's shared memory, a pattern.
Ranks = dict[int, str]


def serve(
    control: socket.socket, lease: int, run_directory: str, start: Start, ranks: Ranks, end: Callable[[], NoReturn]
) -> None:
    """Start ranks on request, report exits; `end` once the agent closes its end or dies, or its lease is over."""
    # What an import has started is no rank's.
    household = set(children(os.getpid()))
    # An import may have put its own in this place.
    signal.signal(signal.SIGTERM, lambda *_: end())
    call_when_over(lease, end)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    while True:
        readable, _, _ = select.select([control.fileno(), wake_read], [], [])
        if wake_read in readable:
            os.read(wake_read, 4096)
            _report_exits(control, ranks, household)
        if control.fileno() in readable:
            message, descriptors, _, _ = socket.recv_fds(control, _MAX_MESSAGE_BYTES, 8)
            if not message:
                end()
            request = json.loads(message)
            if request["op"] == "import":
                import_all(request["modules"])
                continue
            pid = start(request, descriptors, control, run_directory)
            ranks[pid] = request.get("segments") or segments_of(pid)
            for descriptor in descriptors:
                os.close(descriptor)
            _send(control, started=request["id"], pid=pid)


def forked(request: dict[str, Any], descriptors: list[int], control: socket.socket, run_directory: str) -> int:
    """Fork a rank, which never returns from here."""
    zygote = os.getpid()
    pid = os.fork()
    if pid == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        control.close()
        _become_rank(zygote, request, descriptors, run_directory)
    return pid


def _spawned(request: dict[str, Any], descriptors: list[int], control: socket.socket, run_directory: str) -> int:
    """Start a rank as a plain new interpreter, where a forked one has been seen not to work."""
    channel, log, *pmi = descriptors
    env = {**os.environ, **request["env"], "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    if pmi:
        env["PMI_FD"] = str(pmi[0])
    process = subprocess.Popen(
        [sys.executable, "-m", "deeprc.runtime.rank.rank", str(channel), run_directory],
        pass_fds=[channel, *pmi],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=env,
        start_new_session=True,
    )
    # Its exit is reported by the same waitpid as a forked one's.
    process.returncode = 0
    return process.pid


def _become_rank(zygote: int, request: dict[str, Any], descriptors: list[int], run_directory: str) -> NoReturn:
    """In the child: own session, log and environment, then serve until the agent hangs up."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        die_with_parent(zygote)
        _offer_to_oom_killer()
        channel, log, *pmi = descriptors
        _redirect_output(log)
        if pmi:
            request["env"]["PMI_FD"] = str(pmi[0])
        os.environ.update(request["env"])
        from deeprc.runtime.link.channel import RankChannel
        from deeprc.runtime.rank.rank import serve

        serve(RankChannel(channel), Path(run_directory))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        # Not sys.exit: exit handlers of the imported libraries belong to the zygote, and MPI's would wait for
        # peers that may be dead.
        os._exit(code)


def _redirect_output(log: int) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(null)
    os.close(log)
    # Whatever the locale: a letter that it lacks is no reason for a task to fail.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _offer_to_oom_killer() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_bytes(_RANK_OOM_SCORE)


def _report_exits(control: socket.socket, ranks: Ranks, household: set[int]) -> None:
    """Report ranks that have ended; end what they left behind, which is ours since we adopt orphans."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            break
        remove_segments(segments_of(pid))
        if ranks.pop(pid, None):
            _send(control, exited=pid, code=os.waitstatus_to_exitcode(status))
    for orphan in set(children(os.getpid())) - set(ranks) - household:
        os.kill(orphan, signal.SIGKILL)


def end_with_parent(clean: Callable[[], None]) -> Callable[[], NoReturn]:
    """From now on end all descendants, `clean`, and end, when the parent dies or says so; what is returned does it."""
    keeper, parent = os.getpid(), os.getppid()

    def end(*_: object) -> NoReturn:
        if os.getpid() != keeper:
            # A child that an import has forked, and that has not started another program.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        _end_descendants()
        clean()
        os._exit(0)

    adopt_orphans()
    signal.signal(signal.SIGTERM, end)
    # Not SIGKILL: when the agent dies, what its ranks have started has to be ended, and only we know of it.
    signal_at_parents_death(signal.SIGTERM)
    if os.getppid() != parent:
        end()
    return end


def _end_descendants() -> None:
    """End all processes below this one, and remove the shared memory that their MPI has not."""
    segments = set[Path]()
    while family := descendants(os.getpid()):
        for pid in family:
            # The name of a world that the library's launcher has made is not known.
            segments.update(segments_open_in(pid))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # Orphans of what has just been ended become ours, and are found in the next round.
        with contextlib.suppress(ChildProcessError):
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                remove_segments(segments_of(pid))
    for segment in segments:
        segment.unlink(missing_ok=True)


def remove_shared_memory(folder: Path, ranks: Ranks) -> None:
    """Remove what ranks that have been ended had: the agent, whose part that is while they live, may be dead."""
    shared_folder.remove(folder)
    for segments in set(ranks.values()):
        remove_segments(segments)


def _fork_problem() -> str | None:
    """Why a forked child of this process would not work; None if one just did."""
    pid = os.fork()
    if pid == 0:
        try:
            _small_operations()
            os._exit(0)
        except BaseException:
            os._exit(1)
    deadline = time.monotonic() + _CHECK_TIMEOUT_S
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return None if code == 0 else f"a forked child failed its check (exit code {code})"
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return f"a forked child hung in its check for {_CHECK_TIMEOUT_S:.0f} s"


def _small_operations() -> None:
    """One operation of each library that starts threads, on whatever has been imported."""
    if "polars" in sys.modules:
        import polars as pl

        pl.LazyFrame({"a": [1, 2, 3]}).select(pl.col("a").sum()).collect()
    if "torch" in sys.modules:
        import torch

        torch.ones(64, 64).mm(torch.ones(64, 64)).sum()
    if "tensorflow" in sys.modules:
        import tensorflow as tf

        tf.reduce_sum(tf.ones((8, 8)))


def _send(control: socket.socket, **message: Any) -> None:
    control.send(json.dumps(message).encode())


if __name__ == "__main__":
    main()
