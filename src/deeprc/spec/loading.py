"""From a YAML file to a Pipeline, every error with its line."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deeprc.errors import valid_values
from deeprc.spec.document import parse_document, read_document
from deeprc.spec.function import absolute_reference
from deeprc.spec.pipeline import Pipeline, SessionSpec
from deeprc.spec.refusal import Problem, Refusal, Where
from deeprc.spec.substitution import substitute
from deeprc.spec.task import Resources, TaskSpec

PIPELINE_FIELDS = {
    "name": "The run's name in history and report; default: the file's.",
    "session": "The allocation to run in.",
    "params": "Values for `${name}`, which `--set name=value` replaces.",
    "tasks": "The tasks by name; a name may hold `${...}`.",
}
CALL_FIELDS = {
    "run": "The function: `package.module:function`, or `file.py:function` relative to this file.",
    "args": "Its arguments by position, a list.",
    "with": "Its arguments by name.",
    "for": "One task for each value: lists by variable; with several, one for each combination.",
}
# How YAML calls a field that Python gives a unit.
YAML_NAMES = {
    "memory_bytes": "memory",
    "timeout_s": "timeout",
    "time_s": "time",
    "stop_before_s": "stop_before",
    "function": "run",
    "kwargs": "with",
}
SESSION_FIELDS = {YAML_NAMES.get(name, name): name for name in SessionSpec.model_fields}
RESOURCE_FIELDS = {YAML_NAMES.get(name, name): name for name in Resources.model_fields}


def load_pipeline(
    path: str | Path,
    params: Mapping[str, Any] | None = None,
    *,
    session: Mapping[str, Any] | None = None,
    check: bool = True,
) -> Pipeline:
    """Read a pipeline from YAML.

    Args:
        params: replace the file's own parameters of these names.
        session: fields of `SessionSpec` that replace the file's; None leaves the file's.
        check: import every function and check its arguments against its signature.

    Raises:
        SpecError: all that is wrong, one line each: "file.yaml:12: what, the valid values".
    """
    file = Path(path)
    document = read_document(file)
    try:
        draft = _Draft(file.absolute().parent)
        fields = draft.read(document.value, params or {}, default_name=file.stem)
    except Refusal as refusal:
        raise document.error(refusal.problems) from None
    try:
        asked = fields["session"].replaced(**(session or {}))
        pipeline = Pipeline(**{**fields, "session": asked})
        if check:
            pipeline.functions()
    except Refusal as refusal:
        raise document.error([draft.in_file(problem) for problem in refusal.problems]) from None
    return pipeline


def parse_value(text: str) -> Any:
    """A parameter's value as the file would hold it: `24` is a number, `[a, b]` a list.

    Raises:
        SpecError: no YAML.
    """
    return parse_document(text, "value").value


class _Draft:
    """A document on its way to a Pipeline: knows where in the file each task came from."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.sources: list[Where] = []
        self.problems: list[Problem] = []

    def read(self, content: Any, params: Mapping[str, Any], default_name: str) -> dict[str, Any]:
        """The fields of the Pipeline.

        Raises:
            Refusal: all problems, each located in the file.
        """
        top = self._known(content, (), PIPELINE_FIELDS, "pipeline")
        values = self._parameters(top.get("params"), params)
        name = substitute(top.get("name", default_name), values, ("name",))
        session = SessionSpec()
        with self._collect():
            session = self._session(top.get("session"), values)
        specs: list[TaskSpec] = []
        for key, task in self._task_mapping(top.get("tasks")).items():
            with self._collect():
                specs += self._tasks(key, task, values)
        if self.problems:
            raise Refusal(self.problems)
        return {"name": name, "session": session, "tasks": tuple(specs)}

    def in_file(self, problem: Problem) -> Problem:
        """A problem of the Pipeline, located in the file."""
        match problem.where:
            case ("tasks", int(index), *rest):
                return Problem((*self.sources[index], *_in_yaml(rest)), problem.message)
        return Problem(tuple(_in_yaml(problem.where)), problem.message)

    @contextmanager
    def _collect(self, prefix: Where = ()) -> Iterator[None]:
        """Keep the problems found inside, so that one reading tells all."""
        try:
            yield
        except Refusal as refusal:
            self.problems += [problem.under(prefix) for problem in refusal.problems]

    def _known(self, content: Any, where: Where, fields: Mapping[str, str], noun: str) -> dict[str, Any]:
        """The fields of a mapping that may be there; those that may not are kept as problems."""
        for key in _mapping(content, where, noun):
            if key not in fields:
                message = f"unknown field {key!r} in {noun}. {valid_values(key, fields, noun='field')}"
                self.problems.append(Problem((*where, key), message))
        return {key: value for key, value in content.items() if key in fields}

    def _parameters(self, own: Any, given: Mapping[str, Any]) -> dict[str, Any]:
        own = _mapping(own or {}, ("params",), "params")
        for name in given:
            if name not in own:
                message = f"no parameter {name!r} to set. {valid_values(name, own, noun='parameter')}"
                raise Refusal([Problem(("params",), message)])
        values: dict[str, Any] = {"here": str(self.directory)}
        for name, value in own.items():
            where: Where = ("params", name)
            if name in values:
                raise Refusal([Problem(where, f"{name!r} is taken: ${{{name}}} is this file's folder")])
            values[name] = substitute(given.get(name, value), values, where)
        return values

    def _session(self, content: Any, values: Mapping[str, Any]) -> SessionSpec:
        where: Where = ("session",)
        fields = self._known(substitute(content or {}, values, where), where, SESSION_FIELDS, "session")
        try:
            return SessionSpec(**{SESSION_FIELDS[key]: value for key, value in fields.items()})
        except Refusal as refusal:
            raise _yaml_words(refusal, where=where) from None

    def _task_mapping(self, content: Any) -> dict[str, Any]:
        if isinstance(content, dict) and content:
            return content
        self.problems.append(Problem(("tasks",), "tasks: takes a mapping of task names to tasks, at least one"))
        return {}

    def _tasks(self, key: str, content: Any, values: Mapping[str, Any]) -> Iterator[TaskSpec]:
        where: Where = ("tasks", key)
        fields = self._known(content, where, {**CALL_FIELDS, **RESOURCE_FIELDS}, "task")
        if not isinstance(fields.get("run"), str):
            message = f"task {key!r} needs run: 'package.module:function' or 'file.py:function'"
            raise Refusal([Problem((*where, "run"), message)])
        loops = _loops(fields.get("for"), values, (*where, "for"))
        for combination in itertools.product(*loops.values()):
            scope = {**values, **dict(zip(loops, combination, strict=True))}
            body = {name: value for name, value in fields.items() if name != "for"}
            name = str(substitute(key, scope, where))
            yield self._task(name, substitute(body, scope, where), where)
            self.sources.append(where)

    def _task(self, name: str, fields: dict[str, Any], where: Where) -> TaskSpec:
        args, kwargs = fields.get("args") or [], fields.get("with") or {}
        if not isinstance(args, list):
            raise Refusal([Problem((*where, "args"), f"args: takes a list, got {args!r}")])
        _mapping(kwargs, (*where, "with"), "with")
        resources = {RESOURCE_FIELDS[key]: value for key, value in fields.items() if key in RESOURCE_FIELDS}
        try:
            return TaskSpec(
                name=name,
                function=absolute_reference(fields["run"], self.directory),
                args=tuple(args),
                kwargs=kwargs,
                resources=Resources(**resources),
            )
        except Refusal as refusal:
            raise _yaml_words(refusal, f"task {name!r}: ", where) from None


def _mapping(content: Any, where: Where, noun: str) -> dict[str, Any]:
    """`content` if it is a mapping."""
    if isinstance(content, dict):
        return content
    raise Refusal([Problem(where, f"{noun}: takes a mapping of fields, got {content!r}")])


def _loops(content: Any, values: Mapping[str, Any], where: Where) -> dict[str, list[Any]]:
    """The values of each loop variable."""
    loops = _mapping(substitute(content or {}, values, where), where, "for")
    for name, items in loops.items():
        if name in values:
            raise Refusal([Problem((*where, name), f"{name!r} is a parameter's name already")])
        if not isinstance(items, list) or not items:
            message = f"for: {name} takes a list of at least one value, got {items!r}"
            raise Refusal([Problem((*where, name), message)])
    return loops


def _yaml_words(refusal: Refusal, prefix: str = "", where: Where = ()) -> Refusal:
    """A refusal of spec objects in the words, and at the place, of the file."""
    problems = []
    for problem in refusal.problems:
        message = problem.message
        for name, word in YAML_NAMES.items():
            message = message.replace(f"{name}:", f"{word}:")
        problems.append(Problem((*where, *_in_yaml(problem.where)), f"{prefix}{message}"))
    return Refusal(problems)


def _in_yaml(where: Iterable[str | int]) -> Iterator[str | int]:
    for part in where:
        if part != "resources":
            yield YAML_NAMES.get(part, part) if isinstance(part, str) else part
