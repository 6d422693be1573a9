"""The frozen description of one run: a session and a graph of tasks."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import entry_points
from typing import Any

from pydantic import Field, field_validator, model_validator

from deeprc.errors import DeepRCError, SpecError, valid_values
from deeprc.spec.arguments import plain, references
from deeprc.spec.function import absolute_reference, resolve
from deeprc.spec.imports import known_arguments
from deeprc.spec.refusal import Problem, Refusal
from deeprc.spec.signature import check_call
from deeprc.spec.task import Bytes, Count, CountOrNone, Frozen, Seconds, TaskName, TaskSpec, Walltime


class SessionSpec(Frozen):
    """The allocation a pipeline asks for; what is None is decided where it runs."""

    pilot: str = Field(
        default="local",
        description="Who gets the nodes, and where: `radical:ncsa.delta`; `deeprc doctor` lists the pilots.",
    )
    cores: Count | None = Field(default=None, description="Cores of each node; default: all it offers.")
    gpus: CountOrNone | None = Field(default=None, description="GPUs of each node; default: all it offers.")
    memory_bytes: Bytes | None = Field(default=None, description='Memory of each node, such as "16GiB".')
    nodes: Count | None = Field(default=None, description="Nodes of the allocation; default: all the pilot has.")
    time_s: Walltime | None = Field(default=None, description='Time limit of a job, such as "2h" or "2:00:00".')
    options: dict[str, str | int | bool] | None = Field(
        default=None, description="Options of the site for a job: those of sbatch, such as `{partition: gpu}`."
    )
    stop_before_s: Seconds | None = Field(
        default=None, description="How long before a job's time limit its run stops, to be resumed; default: 2m."
    )
    requeues: CountOrNone | None = Field(
        default=None, description="How often a job whose run stops so goes back into the queue; default: 10."
    )

    def replaced(self, **fields: Any) -> SessionSpec:
        """The same session with some fields replaced; None leaves a field as it is, options are added to those there.

        Raises:
            SpecError: an unknown field or a wrong value.
        """
        changed = {name: value for name, value in fields.items() if value is not None}
        if "options" in changed:
            changed["options"] = {**(self.options or {}), **changed["options"]}
        return SessionSpec(**{**self.model_dump(), **changed})


class Pipeline(Frozen):
    """Named tasks, each with its arguments and resources, and the session they run in.

    Arguments are plain data and references to other tasks (see `arguments.plain`), so a pipeline is the same
    whether Python or YAML said it: both compare equal and have one `digest`. Task order is kept and counts.

    Raises:
        SpecError: names not unique, an unknown task, a cycle, or more than the session has.
    """

    name: TaskName = "pipeline"
    session: SessionSpec = SessionSpec()
    tasks: tuple[TaskSpec, ...]

    @field_validator("tasks")
    @classmethod
    def _make_plain(cls, tasks: tuple[TaskSpec, ...]) -> tuple[TaskSpec, ...]:
        _refuse(_name_problems(tasks))
        names = [task.name for task in tasks]
        problems: list[Problem] = []
        made = tuple(_plain_task(task, index, names, problems) for index, task in enumerate(tasks))
        _refuse(problems)
        _refuse(_cycle_problems(made))
        return made

    @model_validator(mode="after")
    def _fits_session(self) -> Pipeline:
        _refuse([problem for i, task in enumerate(self.tasks) for problem in _excess(task, i, self.session)])
        return self

    def in_session(self, **fields: Any) -> Pipeline:
        """The same tasks in a session of which some fields are replaced; None leaves a field as it is.

        Raises:
            SpecError: an unknown field, a wrong value, or a task that no longer fits.
        """
        return Pipeline(name=self.name, session=self.session.replaced(**fields), tasks=self.tasks)

    def task(self, name: str) -> TaskSpec:
        """The task of that name.

        Raises:
            SpecError: there is none.
        """
        for task in self.tasks:
            if task.name == name:
                return task
        valid = valid_values(name, [task.name for task in self.tasks], noun="task")
        raise SpecError(f"pipeline {self.name!r} has no task {name!r}. {valid}")

    def needs(self) -> dict[str, tuple[str, ...]]:
        """For each task the tasks whose results it takes."""
        return {task.name: _needs(task) for task in self.tasks}

    def order(self) -> list[TaskSpec]:
        """The tasks, each after all that it needs."""
        by_name = {task.name: task for task in self.tasks}
        return [by_name[name] for name in TopologicalSorter(self.needs()).static_order()]

    def functions(self) -> dict[str, Callable[..., Any]]:
        """Import every task's function, check its arguments, and let it check them (`imports.checked_by`).

        Raises:
            SpecError: a module, function, parameter or pilot that does not exist, with the valid names; or what
                a function's own check refused.
        """
        problems, found = _pilot_problems(self.session), {}
        for index, task in enumerate(self.tasks):
            try:
                found[task.name] = _checked_function(task)
            except Refusal as refusal:
                problems += [problem.under(("tasks", index)) for problem in refusal.problems]
            except DeepRCError as error:
                problems.append(Problem(("tasks", index, "function"), str(error)))
        _refuse([_named(problem, self.tasks) for problem in problems])
        return found

    def plain(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return self.model_dump(mode="json")

    def digest(self) -> str:
        """A hash of all it says; not of the functions' source."""
        text = json.dumps(self.plain(), sort_keys=True, separators=(",", ":"))
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def __eq__(self, other: object) -> bool:
        # Not field by field: to Python 1 == 1.0 == True, to a task they differ.
        return self.digest() == other.digest() if isinstance(other, Pipeline) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.digest())


def _checked_function(task: TaskSpec) -> Callable[..., Any]:
    function = resolve(task.function)
    check_call(function, task.args, task.kwargs, task.resources)
    own_check = getattr(function, "__deeprc_check__", None)
    if own_check is not None:
        own_check(known_arguments(function, task.args, task.kwargs))
    return function


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise Refusal(problems)


def _named(problem: Problem, tasks: tuple[TaskSpec, ...]) -> Problem:
    """A problem's message with the task's name in front."""
    match problem.where:
        case ("tasks", int(index), *_):
            return Problem(problem.where, f"task {tasks[index].name!r}: {problem.message}")
    return problem


def _name_problems(tasks: tuple[TaskSpec, ...]) -> list[Problem]:
    if not tasks:
        return [Problem((), "a pipeline needs at least one task")]
    counts = Counter(task.name for task in tasks)
    return [
        Problem((index, "name"), f"{counts[task.name]} tasks are named {task.name!r}; names are unique")
        for index, task in enumerate(tasks)
        if counts[task.name] > 1
    ]


def _plain_task(task: TaskSpec, index: int, names: list[str], problems: list[Problem]) -> TaskSpec:
    def made_plain(field: str, key: str | int, value: Any) -> Any:
        try:
            return plain(value, owner=task.name, tasks=names)
        except Refusal as refusal:
            for inner in refusal.problems:
                where = (index, field, key, *inner.where)
                problems.append(Problem(where, f"task {task.name!r}: {inner.message}"))

    update = {
        "args": tuple(made_plain("args", position, value) for position, value in enumerate(task.args)),
        "kwargs": {key: made_plain("kwargs", key, value) for key, value in task.kwargs.items()},
        "function": absolute_reference(task.function),
    }
    return task.model_copy(update=update)


def _needs(task: TaskSpec) -> tuple[str, ...]:
    return tuple(dict.fromkeys(references([task.args, task.kwargs])))


def _cycle_problems(tasks: tuple[TaskSpec, ...]) -> list[Problem]:
    try:
        TopologicalSorter({task.name: _needs(task) for task in tasks}).prepare()
    except CycleError as error:
        cycle = list(reversed(error.args[1]))
        index = [task.name for task in tasks].index(cycle[0])
        return [Problem((index,), f"tasks wait for one another for ever: {' needs '.join(cycle)}")]
    return []


def _excess(task: TaskSpec, index: int, session: SessionSpec) -> list[Problem]:
    """What the task asks for that the session, all its nodes together, has not."""
    asks = task.resources
    # How many nodes another site gives is known only there.
    nodes = session.nodes or (1 if session.pilot == "local" else None)
    if nodes is None:
        return []
    wanted = {
        "cores": ("ranks", asks.ranks * asks.threads, session.cores),
        "GPUs": ("gpus", asks.ranks * asks.gpus, session.gpus),
        "bytes of memory": ("memory_bytes", asks.ranks * (asks.memory_bytes or 0), session.memory_bytes),
    }
    return [
        Problem(
            ("tasks", index, "resources", field),
            f"task {task.name!r} asks for {amount} {unit} ({asks.ranks} rank{'s' * (asks.ranks > 1)}) and "
            f"the session has {limit * nodes}: ask for less, or give the session more",
        )
        for unit, (field, amount, limit) in wanted.items()
        if limit is not None and amount > limit * nodes
    ]


def _pilot_problems(session: SessionSpec) -> list[Problem]:
    pilots = {point.name for point in entry_points(group="deeprc.pilots")}
    # Which of a pilot's sites is meant may follow its name, as in "radical:ncsa.delta".
    name = session.pilot.partition(":")[0]
    if name in pilots:
        return []
    valid = valid_values(name, pilots, noun="pilot")
    return [Problem(("session", "pilot"), f"no pilot {name!r}. {valid}")]
