"""From a call to a task of the run: checked, named, pickled, and looked up among the results of an earlier run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from deeprc.errors import SpecError
from deeprc.journal.fingerprints import files_below, files_in, fingerprint_inputs
from deeprc.runtime.driver.driver import Driver
from deeprc.runtime.driver.future import Future, is_made_by
from deeprc.runtime.driver.scheduler import Demand
from deeprc.runtime.driver.tasks import Task
from deeprc.runtime.session.backend import backend_for
from deeprc.runtime.session.calls import pickle_arguments
from deeprc.runtime.session.prepared import Preparations, Prepared
from deeprc.runtime.session.reuse import Reuse
from deeprc.runtime.session.task_names import TaskNames
from deeprc.spec.engine import PARAMETER, check_engine_argument, check_engine_call
from deeprc.spec.imports import folders_read, known_arguments, without_written
from deeprc.spec.task import Resources, TaskSpec

# Arguments of these kinds name no input file.
_NO_FILES = frozenset({int, float, complex, bool, bytes, type(None), Future})


class Submissions:
    """Makes the tasks of a session and hands them to its driver.

    `expected_s` is how long tasks of those names took in earlier runs.
    """

    def __init__(self, driver: Driver, run_directory: Path, expected_s: Mapping[str, float]) -> None:
        self._driver = driver
        self._run_directory = run_directory
        self._expected_s = expected_s
        self._names = TaskNames()
        self._preparations = Preparations()
        self._checked: set[Demand] = set()
        self._fingerprinted: set[Path] = set()
        self._specs: list[tuple[str, Prepared, list[str]]] = []
        self._reuse: Reuse | None = None

    def keep_results(self, earlier: Path | None = None) -> None:
        """Keep each result from now on, and use those of an earlier run; no change if they are kept already."""
        if self._reuse is not None:
            return

        def warn(task: str, message: str) -> None:
            self._driver.record("warning", task=task, message=message)

        def note(event: dict[str, Any]) -> None:
            if event["kind"] == "checkpoint":
                reuse.note_checkpoint(event["task"])

        self._reuse = reuse = Reuse(self._run_directory, earlier, warn)
        self._driver.subscribe(note)

    def check(self, function: Callable[..., Any], task: TaskSpec) -> None:
        """All that `submit` would refuse, without submitting."""
        self._demand(task.resources)
        _run_own_check(function, task.args, task.kwargs)
        backend_for(task.resources.comm, function, ranks=task.resources.ranks, gpus=task.resources.gpus)
        check_engine_call(function, gpus=task.resources.gpus)
        _check_engine(function, task.args, task.kwargs, task.resources)

    def submit(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        resources: Resources,
        name: str | None,
    ) -> Future:
        """The future of a task that runs the function; what it needs are the futures among its arguments.

        Raises:
            SpecError: the call could not succeed: names what is wrong and what is valid.
            ResourceError: more than the allocation has.
        """
        prepared = self._preparations.of(function, args, kwargs, resources)
        _run_own_check(function, args, kwargs)
        if prepared.takes_engine:
            _check_engine(function, args, kwargs, resources)
        demand = self._demand(resources)
        pickled_function, needs = prepared.function(function)
        arguments, more_needs = pickle_arguments(function, args, kwargs)
        if more_needs:
            needs = tuple(dict.fromkeys((*needs, *more_needs)))
        self._refuse_others(needs)
        task_name = self._names.new(function, name)
        needs_names = [need.task for need in needs]
        self._fingerprint(task_name, function, args, kwargs, defaults=prepared.names_files)
        self._specs.append((task_name, prepared, needs_names))
        task = Task(
            name=task_name,
            function=pickled_function,
            arguments=arguments,
            needs=needs,
            demand=demand,
            backend=prepared.backend,
            profile=prepared.profile,
            modules=prepared.modules,
            timeout_s=resources.timeout_s,
            retries=resources.retries,
            isolated=resources.isolated,
            priority=resources.priority,
            future=Future(task_name, self._cancel),
            expected_s=self._expected_s.get(task_name, 1.0),
            described={"task": task_name, "name": task_name, **prepared.described, "needs": needs_names},
        )
        if self._reuse is not None:
            arguments_known = (args, kwargs, known_arguments(function, args, kwargs))
            ranks = (resources.ranks, prepared.backend)
            task.keep = self._reuse.keep
            task.reused = self._reuse.look_up(task_name, function, arguments_known, tuple(needs_names), ranks)
        self._driver.submit(task)
        return task.future

    def plain(self) -> list[dict[str, Any]]:
        """All tasks so far, as `spec.json` has them."""
        return [_plain(*spec) for spec in self._specs]

    def close(self) -> None:
        """Keep no more results; those on their way to the disk are waited for."""
        if self._reuse is not None:
            self._reuse.close()

    def _cancel(self, task: str) -> None:
        self._driver.cancel(task, "by request")

    def _refuse_others(self, needs: tuple[Future, ...]) -> None:
        """Refuse futures of other sessions, whose tasks may have the names of this one's."""
        for need in needs:
            if not is_made_by(need, self._cancel):
                raise SpecError(
                    f"the future of task {need.task!r} is another session's, which this one cannot wait for; "
                    "pass its result() instead"
                )

    def _fingerprint(
        self,
        task: str,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        defaults: bool,
    ) -> None:
        """Take the fingerprints of files named in the arguments, beside the run."""
        if defaults or not all(type(value) in _NO_FILES for value in (*args, *kwargs.values())):
            known = known_arguments(function, args, kwargs)
            files = chain(files_in(without_written(function, known)), files_below(folders_read(function, known)))
            fingerprint_inputs(task, files, self._fingerprinted, self._driver.record)

    def _demand(self, resources: Resources) -> Demand:
        demand = _demand(resources)
        if demand not in self._checked:
            self._driver.check(demand)
            self._checked.add(demand)
        return demand


@functools.lru_cache(maxsize=1024)
def _demand(resources: Resources) -> Demand:
    return Demand(resources.ranks, resources.threads, resources.gpus, resources.memory_bytes or 0)


def _plain(name: str, prepared: Prepared, needs: list[str]) -> dict[str, Any]:
    """A task as `spec.json` has it."""
    return {
        "task": name,
        "name": name,
        **prepared.described,
        "needs": needs,
        "resources": prepared.resources.model_dump(mode="json"),
    }


def _run_own_check(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Let a function refuse its arguments now (`deeprc.spec.imports.checked_by`)."""
    check = getattr(function, "__deeprc_check__", None)
    if check is not None:
        check(known_arguments(function, args, kwargs))


def _check_engine(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], resources: Resources
) -> None:
    check_engine_argument(known_arguments(function, args, kwargs).get(PARAMETER), gpus=resources.gpus)
