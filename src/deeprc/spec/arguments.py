"""A task's arguments in a pipeline: plain data, and the results of other tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from deeprc.errors import valid_values
from deeprc.spec.refusal import Problem, Refusal, Where
from deeprc.spec.task import TaskRef, TaskSpec

_SCALARS = (str, bool, int, float, type(None))


def plain(value: Any, *, owner: str, tasks: Sequence[str], where: Where = ()) -> Any:
    """`value` as a pipeline keeps it: text, numbers, lists, mappings and `TaskRef`.

    `{"task": NAME}` becomes that task's result, `{"tasks": PATTERN}` a list of the results of all tasks whose
    names match the shell pattern, in order, `owner` (the task whose argument this is) left out.

    Raises:
        SpecError: a name that is no task's, or a value that YAML could not say.
    """
    if isinstance(value, TaskRef | TaskSpec):
        return _known(value.task if isinstance(value, TaskRef) else value.name, tasks, where)
    if isinstance(value, Mapping):
        return _plain_mapping(value, owner, tasks, where)
    if isinstance(value, list | tuple):
        return [plain(v, owner=owner, tasks=tasks, where=(*where, i)) for i, v in enumerate(value)]
    if type(value) in _SCALARS:
        return value
    message = f"a pipeline's arguments are text, numbers, lists, mappings and tasks, got {type(value).__name__}"
    raise Refusal([Problem(where, message)])


def _plain_mapping(value: Mapping[Any, Any], owner: str, tasks: Sequence[str], where: Where) -> Any:
    if set(value) == {"task"}:
        return _known(value["task"], tasks, (*where, "task"))
    if set(value) == {"tasks"}:
        return _matching(value["tasks"], owner, tasks, (*where, "tasks"))
    return {_key(k, where): plain(v, owner=owner, tasks=tasks, where=(*where, k)) for k, v in value.items()}


def _known(name: Any, tasks: Sequence[str], where: Where) -> TaskRef:
    if not isinstance(name, str):
        raise Refusal([Problem(where, f"task: takes a task's name, got {name!r}")])
    if name not in tasks:
        raise Refusal([Problem(where, f"no task {name!r}. {valid_values(name, tasks, noun='task')}")])
    return TaskRef(task=name)


def _matching(pattern: Any, owner: str, tasks: Sequence[str], where: Where) -> list[TaskRef]:
    if not isinstance(pattern, str):
        raise Refusal([Problem(where, f"tasks: takes a pattern such as 'fit-*', got {pattern!r}")])
    names = [name for name in tasks if name != owner and fnmatchcase(name, pattern)]
    if not names:
        valid = valid_values(pattern, tasks, noun="task")
        raise Refusal([Problem(where, f"no task's name matches {pattern!r}. {valid}")])
    return [TaskRef(task=name) for name in names]


def _key(key: Any, where: Where) -> str:
    if isinstance(key, str):
        return key
    raise Refusal([Problem((*where, key), f"keys are text; write {str(key)!r} in quotes, not {key!r}")])


def references(value: Any) -> Iterator[str]:
    """Names of the tasks whose results `value` holds, at any depth."""
    if isinstance(value, TaskRef):
        yield value.task
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from references(item)


def fill(value: Any, result: Callable[[str], Any]) -> Any:
    """`value` with `result(name)` in the place of each `TaskRef`."""
    if isinstance(value, TaskRef):
        return result(value.task)
    if isinstance(value, Mapping):
        return {key: fill(item, result) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(fill(item, result) for item in value)
    return value
