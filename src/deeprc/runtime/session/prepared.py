"""What is known of a function once, for all the tasks that call it with the same options."""

from __future__ import annotations

import dis
import hashlib
import operator
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle

from deeprc.runtime.driver.future import Future
from deeprc.runtime.link.messages import PickledFunction, Profile
from deeprc.runtime.session.backend import backend_for
from deeprc.runtime.session.calls import pickle_function
from deeprc.runtime.session.profile import profile_of
from deeprc.spec.engine import check_engine_call, takes_engine
from deeprc.spec.signature import Shape, check_call, shape_of
from deeprc.spec.task import Resources

# Of these a pickled copy and the value itself never differ later.
_CONSTANT = frozenset(
    {int, float, complex, str, bytes, bool, type(None), types.ModuleType, types.BuiltinFunctionType, types.CodeType}
)
_REMEMBERED = (types.FunctionType, types.BuiltinFunctionType)
_MOST_REMEMBERED = 256
_LONGEST_KEPT = 1 << 16


@dataclass(frozen=True, slots=True)
class Prepared:
    """A function with one set of options.

    `pickled` is None for a function whose pickled form may change between calls, because it refers to something
    mutable. `names_files`: whether a default argument could be the path of an input. `takes_engine`: whether it has a
    parameter `engine`. `described` is what the journal says of each of its tasks.
    """

    resources: Resources
    backend: str | None
    profile: Profile
    modules: tuple[str, ...]
    shape: Shape
    pickled: PickledFunction | None
    names_files: bool
    takes_engine: bool
    described: Mapping[str, Any]

    def function(self, function: Callable[..., Any]) -> tuple[PickledFunction, tuple[Future, ...]]:
        """The function, pickled, and the futures in it."""
        if self.pickled is not None:
            return self.pickled, ()
        payload, needs = pickle_function(function)
        return PickledFunction(None, payload, reusable=False), needs


class Preparations:
    """Remembers what has been prepared of functions that refer to constants only.

    Others are prepared for each call: what they refer to may have changed, and is not to be kept alive from here.
    """

    def __init__(self) -> None:
        self._known: dict[Callable[..., Any], tuple[_Snapshot, dict[Resources, Prepared]]] = {}

    def of(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], resources: Resources
    ) -> Prepared:
        """The function, checked against its options and arguments.

        Raises:
            SpecError: the call could not succeed, or the function cannot be sent to another process.
        """
        known = self._known.get(function) if type(function) in _REMEMBERED else None
        if known is not None and known[0].holds() and resources in known[1]:
            prepared = known[1][resources]
            if not prepared.shape.surely_takes(args, kwargs):
                check_call(function, args, kwargs, resources)
            return prepared
        check_call(function, args, kwargs, resources)
        snapshot = _Snapshot(function) if type(function) in _REMEMBERED else None
        prepared = _prepare(function, resources, constant=snapshot is not None and snapshot.constant)
        if snapshot is not None and prepared.pickled is not None:
            self._remember(snapshot, function, resources, prepared)
        return prepared

    def _remember(
        self, snapshot: _Snapshot, function: Callable[..., Any], resources: Resources, prepared: Prepared
    ) -> None:
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        known = self._known.get(function)
        others = known[1] if known is not None and known[0].holds() else {}
        self._known[function] = snapshot, {**others, resources: prepared}


def _prepare(function: Callable[..., Any], resources: Resources, *, constant: bool) -> Prepared:
    backend = backend_for(resources.comm, function, ranks=resources.ranks, gpus=resources.gpus)
    check_engine_call(function, gpus=resources.gpus)
    profile, modules = profile_of(function, backend, resources.threads)
    shape = shape_of(function)
    return Prepared(
        resources=resources,
        backend=backend,
        profile=profile,
        modules=modules,
        shape=shape,
        pickled=_pickled_once(function) if constant else None,
        names_files=any(isinstance(value, str | Path | list | tuple | dict) for value in shape.defaults),
        takes_engine=takes_engine(function),
        described={
            "function": f"{function.__module__}:{getattr(function, '__qualname__', function)}",
            "ranks": resources.ranks,
            "backend": backend,
            "threads": resources.threads,
            "gpus": resources.gpus,
            "profile": str(profile),
        },
    )


def _pickled_once(function: Callable[..., Any]) -> PickledFunction | None:
    payload, needs = pickle_function(function)
    if needs:
        return None
    # Large ones would fill the memory of those who keep them.
    key = hashlib.blake2b(payload, digest_size=16).digest() if len(payload) <= _LONGEST_KEPT else None
    return PickledFunction(key, payload, reusable=_by_reference(function) or not _keeps_state(function))


class _Snapshot:
    """The objects that a function refers to, to see later whether it still refers to the same ones.

    For a function that ranks get as a copy these are its closure and global variables too, and those of the
    functions among them that are copied with it.
    """

    def __init__(self, function: Any) -> None:
        self.constant = True
        self._functions: dict[Any, tuple[str, ...]] = {}
        waiting: list[Any] = [function]
        while waiting:
            current = waiting.pop()
            if current in self._functions:
                continue
            if _by_reference(current):
                self._functions.setdefault(current, ()) if current is function else None
                continue
            self._functions[current] = tuple(dict.fromkeys(_global_names(current.__code__)))
            for value in _held_by(current, self._functions[current]):
                if isinstance(value, types.FunctionType):
                    waiting.append(value)
                elif not _is_constant(value):
                    self.constant = False
        self._values = self._now()

    def holds(self) -> bool:
        now = self._now()
        return len(now) == len(self._values) and all(map(operator.is_, now, self._values))

    def _now(self) -> list[Any]:
        return [value for function, names in self._functions.items() for value in _held_by(function, names)]


def _held_by(function: Any, names: tuple[str, ...]) -> tuple[Any, ...]:
    """What a function's pickled form is made of: for one that is imported by name, `names` is empty."""
    if isinstance(function, types.BuiltinFunctionType):
        return ()
    variables = map(function.__globals__.get, names)
    cells = map(_content, function.__closure__ or ())
    keywords = (function.__kwdefaults__ or {}).values()
    return (
        function.__code__,
        *(function.__defaults__ or ()),
        *keywords,
        *function.__dict__.values(),
        *cells,
        *variables,
    )


def _global_names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _global_names(constant)


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        # Not assigned yet.
        return None


def _is_constant(value: Any) -> bool:
    if isinstance(value, tuple | frozenset):
        return all(map(_is_constant, value))
    if isinstance(value, type):
        return _by_reference(value)
    return type(value) in _CONSTANT


def _by_reference(value: Any) -> bool:
    """Whether a rank imports it by name, rather than getting a copy."""
    builtin = isinstance(value, types.BuiltinFunctionType)
    return builtin or bool(cloudpickle.cloudpickle._should_pickle_by_reference(value))


def _keeps_state(function: Callable[..., Any]) -> bool:
    """Whether a copied function assigns to its global variables, or calls others that may, or has a closure.

    Then a second call of the same copy would see what the first has left.
    """
    if not isinstance(function, types.FunctionType) or function.__closure__:
        return True
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        if any(step.opname in ("STORE_GLOBAL", "DELETE_GLOBAL") for step in dis.get_instructions(code)):
            return True
        if any(isinstance(function.__globals__.get(name), types.FunctionType) for name in code.co_names):
            return True
        codes += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return False
