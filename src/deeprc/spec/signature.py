"""What a function takes: its communicator, and whether a task's arguments fit the rest."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter
from types import UnionType
from typing import Any

from deeprc.errors import SpecError, valid_values
from deeprc.spec.refusal import Problem, Refusal
from deeprc.spec.task import Resources

USUAL_NAME = "comm"
_BY_POSITION = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


def communicator_parameter(function: Callable[..., Any]) -> str | None:
    """The name of the parameter annotated `rc.Communicator` (also as text, also `| None`), or None.

    Where none is, a parameter `comm` without annotation is taken: a lambda has no place for one.

    Raises:
        SpecError: more than one parameter is annotated so.
    """
    parameters = signature_of(function).parameters
    names = [name for name, parameter in parameters.items() if _is_communicator(parameter.annotation, function)]
    if len(names) > 1:
        raise SpecError(
            f"{_name(function)} has {len(names)} communicator parameters ({', '.join(names)}); "
            "a task has one communicator: annotate one parameter with it"
        )
    if names:
        return names[0]
    return USUAL_NAME if USUAL_NAME in parameters and _is_bare(parameters[USUAL_NAME]) else None


def with_communicator(
    function: Callable[..., Any], communicator: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments to call `function` with: `communicator` put where the function takes it, if it does."""
    return placed_communicator(function, communicator_parameter(function), communicator, args, kwargs)


def placed_communicator(
    function: Callable[..., Any],
    name: str | None,
    communicator: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """`with_communicator` where the parameter's name is known."""
    if name is None:
        return tuple(args), dict(kwargs)
    parameters = signature_of(function).parameters
    index = list(parameters).index(name)
    if parameters[name].kind in _BY_POSITION and index <= len(args):
        return (*args[:index], communicator, *args[index:]), dict(kwargs)
    return tuple(args), {**kwargs, name: communicator}


@dataclass(frozen=True, slots=True)
class Shape:
    """What a function takes, in the few numbers that tell whether most calls are right.

    `least` and `most` arguments by position, none by name, are a right call; others are looked at more closely.
    """

    communicator: str | None
    least: int
    most: float
    defaults: tuple[Any, ...]

    def surely_takes(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        return not kwargs and self.least <= len(args) <= self.most


def shape_of(function: Callable[..., Any]) -> Shape:
    """The shape of a function; see `communicator_parameter` for what it raises."""
    communicator = communicator_parameter(function)
    parameters = [value for key, value in signature_of(function).parameters.items() if key != communicator]
    by_position = [value for value in parameters if value.kind in _BY_POSITION]
    required = [value for value in parameters if _required(value)]
    variadic = any(value.kind is Parameter.VAR_POSITIONAL for value in parameters)
    by_name_only = any(value not in by_position for value in required)
    return Shape(
        communicator=communicator,
        least=len(required),
        most=-1 if by_name_only else float("inf") if variadic else len(by_position),
        defaults=tuple(value.default for value in parameters if value.default is not Parameter.empty),
    )


def check_call(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], resources: Resources
) -> None:
    """Refuse, before any work, a call that could not succeed.

    Raises:
        SpecError: a parameter is unknown, missing or given twice; or ranks and communicator do not fit.
    """
    communicator = communicator_parameter(function)
    problems = _argument_problems(function, args, kwargs, communicator)
    problems += _rank_problems(function, communicator, resources)
    if problems:
        raise Refusal(problems)


def _rank_problems(function: Callable[..., Any], communicator: str | None, resources: Resources) -> list[Problem]:
    """Why ranks, communicator and function do not fit.

    A function on several ranks has to take the communicator, unless `comm` names a backend: then the function
    may find the ranks itself, by `MPI.COMM_WORLD` or torch's default group, as Lightning does.
    """
    name = _name(function)
    problems = []
    if communicator is None and resources.ranks > 1 and resources.comm == "auto":
        problems.append(
            Problem(
                ("resources", "ranks"),
                f"{name} runs on {resources.ranks} ranks and takes no communicator, so every rank would do "
                "the same: give it a parameter comm: rc.Communicator, or say comm: mpi (or gloo) if it finds "
                "the other ranks itself",
            )
        )
    if communicator and resources.comm is None and _required(signature_of(function).parameters[communicator]):
        problems.append(
            Problem(("resources", "comm"), f"{name} needs a communicator ({communicator!r}) and comm is null")
        )
    return problems


def _argument_problems(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], communicator: str | None
) -> list[Problem]:
    parameters = {key: value for key, value in signature_of(function).parameters.items() if key != communicator}
    kinds = {parameter.kind for parameter in parameters.values()}
    positional = [key for key, value in parameters.items() if value.kind in _BY_POSITION]
    named = [
        key
        for key, value in parameters.items()
        if value.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    ]
    name, taken = _name(function), set(positional[: len(args)])
    problems = []
    if len(args) > len(positional) and Parameter.VAR_POSITIONAL not in kinds:
        takes = f"{len(positional)} ({', '.join(positional)})" if positional else "none"
        message = f"{name} takes {takes} by position, got {len(args)}"
        problems.append(Problem(("args", len(positional)), message))
    for key in kwargs:
        where = ("kwargs", key)
        if key == communicator:
            problems.append(Problem(where, f"{key!r} of {name} is the communicator: Deep RC gives it"))
        elif key in taken and key in named:
            problems.append(Problem(where, f"{key!r} of {name} is given twice, by position and by name"))
        elif key not in named and Parameter.VAR_KEYWORD not in kinds:
            valid = valid_values(key, named, noun="parameter")
            problems.append(Problem(where, f"{name} has no parameter {key!r}. {valid}"))
    missing = [
        key
        for key, value in parameters.items()
        if _required(value) and key not in taken and (key not in kwargs or key not in named)
    ]
    if missing:
        message = f"{name} is missing {', '.join(map(repr, missing))}"
        if communicator is None and USUAL_NAME in missing:
            message += "; for the communicator of the task's ranks write comm: rc.Communicator (its .mpi is mpi4py's)"
        problems.append(Problem(("function",), message))
    return problems


def _is_bare(parameter: Parameter) -> bool:
    """Whether it takes one value and says nothing of its type."""
    variadic = parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    return parameter.annotation is Parameter.empty and not variadic


def _required(parameter: Parameter) -> bool:
    variadic = parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    return parameter.default is Parameter.empty and not variadic


def signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """The function's signature; one that takes anything for a function that does not tell."""
    try:
        return inspect.signature(function)
    except ValueError:
        # Some functions written in C do not tell; anything may be passed to them.
        parameters = [Parameter("args", Parameter.VAR_POSITIONAL), Parameter("kwargs", Parameter.VAR_KEYWORD)]
        return inspect.Signature(parameters)


def _is_communicator(annotation: Any, function: Callable[..., Any]) -> bool:
    if isinstance(annotation, str):
        namespace = getattr(inspect.unwrap(function), "__globals__", {})
        try:
            annotation = eval(annotation, dict(namespace))
        except Exception:
            # Imported under TYPE_CHECKING only: the text has to do.
            parts = annotation.replace("Optional[", "").replace("]", "").split("|")
            return any(part.strip(" '\"").rpartition(".")[2] == "Communicator" for part in parts)
    if typing.get_origin(annotation) in (typing.Union, UnionType):
        return any(_is_communicator(part, function) for part in typing.get_args(annotation))
    # By name: communicators lie in a room that this one does not know.
    home = (getattr(annotation, "__module__", ""), getattr(annotation, "__name__", ""))
    return home == ("deeprc.communicator.protocol", "Communicator")


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", None) or repr(function)
