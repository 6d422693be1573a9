"""The session: one allocation, to which tasks are submitted as functions are to an executor."""

from __future__ import annotations

import contextlib
import functools
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import zmq

from deeprc.errors import DeepRCError, JournalError, ResourceError, SessionClosedError, SpecError
from deeprc.journal import JournalWriter, new_run_directory, read_run, write_json
from deeprc.journal.directories import make_root
from deeprc.journal.durations import remembered_durations
from deeprc.journal.environment import describe_environment
from deeprc.runtime.driver.driver import Driver
from deeprc.runtime.driver.driver_socket import DriverSocket
from deeprc.runtime.driver.future import Future
from deeprc.runtime.link.wire import forget_connection
from deeprc.runtime.pilot import Allocation, Node, Pilot, chosen_pilot
from deeprc.runtime.session.submissions import Submissions
from deeprc.spec.arguments import fill
from deeprc.spec.pipeline import Pipeline
from deeprc.spec.task import Backend, Resources

_DIRECTORIES = ("logs", "datasets", "results", "artifacts", "checkpoints")


class Session:
    """An allocation and the run that uses it; a context manager.

    Leaving the block waits for every task. Leaving it by an exception, Ctrl-C included, ends what runs.

    Args:
        pilot: who gives the nodes: "local", or another installed pilot, by name or made with options of its own.
        cores: cores of a node; more than it has lets ranks share cores. Default: all it offers.
        gpus: GPUs of a node. Default: all it has.
        memory: bytes of a node, or text such as "16GiB". Default: all it has. Tables stay within it: a rank's within
            the share of its cores, unless its task has a `memory` of its own.
        nodes: nodes of the allocation. Default: all the pilot has.
        run_dir: where the run's record and data go. Default: a new directory under `deeprc-runs`.
        name: the run's, in history and report.
        resume: directory of an earlier run, whose results are used where function, arguments and input files are
            the same; that run has to have kept them. Implies `keep_results`.
        keep_results: keep each result in the run directory, for a later `resume`. `run` of a pipeline always does.

    Raises:
        SpecError: an unknown pilot, or a run directory that already holds a run.
        JournalError: `resume` is no run's directory.
        ResourceError: the site cannot give what was asked.
    """

    def __init__(
        self,
        pilot: str | Pilot = "local",
        *,
        cores: int | None = None,
        gpus: int | None = None,
        memory: int | str | None = None,
        nodes: int | None = None,
        run_dir: str | Path | None = None,
        name: str = "session",
        resume: str | Path | None = None,
        keep_results: bool = False,
    ) -> None:
        self._name = name
        self._closed = False
        self._started = time.time()
        memory_bytes = Resources(memory_bytes=memory).memory_bytes
        earlier = _earlier_run(resume)
        self._pilot = chosen_pilot(pilot)
        self.run_directory = _prepared_directory(run_dir)
        # Polars has a wait go on after Ctrl-C; so `concurrent.futures.wait` could not be interrupted.
        signal.siginterrupt(signal.SIGINT, True)
        durations = remembered_durations(self.run_directory.parent)
        self._journal = JournalWriter(self.run_directory)
        allocated = self._allocate(Allocation(cores, gpus, memory_bytes, nodes))
        self._remarks = self._pilot.remarks()
        self._submissions = Submissions(self._driver, self.run_directory, durations)
        try:
            self._record_start(pilot, allocated, earlier)
            if earlier or keep_results:
                self._submissions.keep_results(earlier)
        except BaseException:
            self.close(status="failed")
            raise

    def _allocate(self, wanted: Allocation) -> list[Node]:
        """Get the nodes, and start the driver; what has been made for that is removed if it fails."""
        with contextlib.ExitStack() as undo:
            undo.callback(self._journal.close)
            agents = DriverSocket(zmq.Context.instance(), self._pilot.host(wanted), self.run_directory)
            undo.callback(forget_connection, self.run_directory)
            undo.callback(agents.close)
            nodes = self._pilot.start(wanted, self.run_directory)
            undo.pop_all()
        self._driver = Driver(self._pilot, agents, nodes, self._journal, wanted.memory_bytes)
        self._driver.start()
        return nodes

    def _record_start(self, pilot: str | Pilot, nodes: list[Node], earlier: Path | None) -> None:
        self._driver.record(
            "run.started",
            run=self.run_directory.name,
            name=self._name,
            pilot=pilot if isinstance(pilot, str) else type(pilot).__name__,
            nodes=[vars(node) for node in nodes],
            directory=str(self.run_directory),
            **({"resumes": str(earlier)} if earlier else {}),
        )
        for remark in self._remarks:
            self._driver.record("warning", message=remark)
        write_json(self.run_directory / "environment.json", describe_environment())

    def submit(
        self,
        function: Callable[..., Any],
        *args: Any,
        name: str | None = None,
        ranks: int = 1,
        comm: Backend | None = "auto",
        threads: int = 1,
        gpus: int = 0,
        memory: int | str | None = None,
        timeout: float | str | None = None,
        retries: int = 0,
        isolated: bool = False,
        priority: int = 0,
        **kwargs: Any,
    ) -> Future:
        """Run `function(*args, **kwargs)` on `ranks` ranks once every future among the arguments is done.

        A parameter of the function annotated `rc.Communicator`, or named `comm` without annotation, receives the task's
        private communicator. The result is rank 0's, or one Dataset made of every rank's part.

        Args:
            name: unique in the session; default: the function's name, numbered.
            comm: "auto", "solo", "mpi", "gloo", "nccl", or None for no communicator.
            threads, gpus, memory: for each rank; memory in bytes, or text such as "2GiB".
            timeout: seconds, or text such as "10m"; then the task's ranks are ended.
            retries: fresh starts after a rank died, hung past its timeout or lost its node.
            isolated: run in ranks of its own, which end with the task.
            priority: of tasks that are ready, a higher one always goes first; may be negative.

        Raises:
            SpecError: the call could not succeed: names what is wrong and what is valid.
            ResourceError: more than the allocation has.
            SessionClosedError: the session has ended.
        """
        try:
            resources = _resources(
                ranks=ranks,
                comm=comm,
                threads=threads,
                gpus=gpus,
                memory_bytes=memory,
                timeout_s=timeout,
                retries=retries,
                isolated=isolated,
                priority=priority,
            )
            return self._submit(function, args, kwargs, resources, name)
        except DeepRCError as error:
            # The line at fault is the caller's.
            raise error.with_traceback(None) from error.__cause__

    def map(self, function: Callable[..., Any], *iterables: Iterable[Any], **options: Any) -> list[Future]:
        """Submit the function once for each element (of each iterable); `options` are those of `submit`."""
        return [self.submit(function, *args, **options) for args in zip(*iterables, strict=True)]

    def run(self, pipeline: Pipeline) -> dict[str, Future]:
        """Submit every task of a pipeline, after checking all of them; returns their futures by name.

        The session's own allocation counts, not the one that the pipeline describes.

        Raises:
            SpecError: a function, parameter or argument is wrong; then nothing has been submitted.
        """
        functions = pipeline.functions()
        for task in pipeline.tasks:
            self._submissions.check(functions[task.name], task)
        write_json(self.run_directory / "spec.json", pipeline.plain())
        self._submissions.keep_results()
        futures: dict[str, Future] = {}
        for task in pipeline.order():
            args, kwargs = fill((task.args, task.kwargs), futures.__getitem__)
            futures[task.name] = self._submit(functions[task.name], args, kwargs, task.resources, task.name)
        return {task.name: futures[task.name] for task in pipeline.tasks}

    def cancel(self, future: Future) -> bool:
        """End a task, waiting or running, and cancel those that need it; False if it has ended."""
        return future.cancel()

    def stop(self, within_s: float, reason: str = "it was asked to") -> None:
        """End the run before its time, so that another may resume it; may be called from a signal handler.

        No more tasks are started. Those that run are told (`deeprc.stopping()`), and ended after `within_s` seconds.
        The futures of all that are not done then raise `TaskStoppedError`. Returns at once.
        """
        self._driver.stop(reason, within_s)

    @property
    def stopped_tasks(self) -> int:
        """How many tasks `stop` has left to a run that resumes this one, not counting those that need them."""
        return self._driver.stopped_tasks

    def subscribe(self, listener: Callable[[dict[str, Any]], None]) -> None:
        """Call `listener(event)` for each event of the journal from now on, in the driver's thread."""
        self._driver.subscribe(listener)

    def close(self, *, status: str | None = None) -> None:
        """End the session and all its processes. Tasks that have not ended are cancelled."""
        if self._closed:
            return
        self._closed = True
        with contextlib.ExitStack() as end:
            # All of it in any case, the last first: also after another Ctrl-C, or when the site does not answer.
            end.callback(self._journal.close)
            end.callback(self._write_spec)
            end.callback(forget_connection, self.run_directory)
            end.callback(self._pilot.close)
            end.callback(self._driver.close)
            for future in self._driver.unfinished():
                self._driver.cancel(future.task, "the session was closed")
            outcome = status or self._outcome()
            self._submissions.close()
            self._driver.record("run.finished", status=outcome, seconds=round(time.time() - self._started, 3))

    def _outcome(self) -> str:
        if self._driver.failed_tasks:
            return "failed"
        return "interrupted" if self._driver.stopped_tasks else "succeeded"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        status = None
        try:
            if kind is None:
                self._wait()
            else:
                status = "interrupted" if issubclass(kind, KeyboardInterrupt) else "failed"
        except BaseException as interrupt:
            status = "interrupted" if isinstance(interrupt, KeyboardInterrupt) else "failed"
            raise
        finally:
            self.close(status=status)

    def _wait(self) -> None:
        for future in self._driver.unfinished():
            future.exception()

    def _submit(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        resources: Resources,
        name: str | None,
    ) -> Future:
        if self._closed:
            raise SessionClosedError("this session has ended; submit inside its `with` block, or open another")
        try:
            return self._submissions.submit(function, args, kwargs, resources, name)
        except ResourceError as error:
            if not self._remarks:
                raise
            # Why there is so little: in a notebook nobody reads the journal's warnings.
            raise ResourceError(" ".join([f"{error} Note:", *self._remarks])) from None

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<Session {self._name!r}, {state}; its run: {self.run_directory}>"

    def _write_spec(self) -> None:
        path = self.run_directory / "spec.json"
        if not path.exists():
            tasks = self._submissions.plain()
            # No room for it: then there is none for the journal either, which says so.
            with contextlib.suppress(OSError):
                write_json(path, {"tasks": tasks})


@functools.lru_cache(maxsize=1024, typed=True)
def _resources(**options: Any) -> Resources:
    """Options of `submit`, checked once for all tasks that have the same."""
    return Resources(**options)


def _earlier_run(resume: str | Path | None) -> Path | None:
    if resume is None:
        return None
    directory = Path(resume).absolute()
    read_run(directory)
    return directory


def _prepared_directory(run_dir: str | Path | None) -> Path:
    try:
        directory = new_run_directory() if run_dir is None else Path(run_dir).absolute()
        make_root(directory.parent)
        directory.mkdir(exist_ok=True, mode=0o700)
        if (directory / "events.jsonl").exists():
            raise SpecError(f"{directory} already holds a run; give run_dir a new directory, or leave it out")
        directory.chmod(0o700)
        for part in _DIRECTORIES:
            (directory / part).mkdir(exist_ok=True, mode=0o700)
    except OSError as error:
        raise JournalError(
            f"{error.filename}: no run can be kept there: {error.strerror}. Set $DEEPRC_RUNS to a folder that you may "
            "write to, or give run_dir (--run-dir)"
        ) from error
    return directory
