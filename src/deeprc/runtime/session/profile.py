"""Which imports a function needs, so that its ranks are forked from a zygote that already has them.

A wrong guess costs time, never correctness: a rank imports what its zygote has not.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterator
from typing import Any, Literal

from deeprc.runtime.link.messages import Profile

_FAMILY_OF_PACKAGE = {
    "torch": "torch",
    "pytorch_lightning": "torch",
    "lightning": "torch",
    "neuralforecast": "torch",
    "torchmetrics": "torch",
    "tensorflow": "tensorflow",
    "keras": "tensorflow",
}
# torch._dynamo: without it the first optimizer or DDP of every rank pays 1.1 s of imports.
_FAMILY_MODULES: dict[str, tuple[str, ...]] = {
    "tables": ("polars", "deeprc.table", "deeprc.bridge"),
    "torch": ("polars", "deeprc.bridge", "torch", "torch.distributed", "torch._dynamo"),
    "tensorflow": ("polars", "deeprc.bridge", "tensorflow", "keras"),
}


def profile_of(function: Callable[..., Any], backend: str | None, threads: int) -> tuple[Profile, tuple[str, ...]]:
    """The zygote profile for a function, and the modules its zygote should import.

    Modules a function declares (`deeprc.spec.imports`) are taken as they are; otherwise its code and that of
    functions beside it are searched for known packages.
    """
    declared: tuple[str, ...] = getattr(function, "__deeprc_imports__", ())
    packages = set(_packages_used(function)) | {module.partition(".")[0] for module in declared}
    families = {_FAMILY_OF_PACKAGE[package] for package in packages if package in _FAMILY_OF_PACKAGE}
    if backend in ("gloo", "nccl"):
        families.add("torch")
    name = _family_name(families)
    modules = [module for family in sorted(families) or ["tables"] for module in _FAMILY_MODULES[family]]
    modules += [package for package in sorted(packages) if package in _FAMILY_OF_PACKAGE]
    if backend == "mpi":
        modules.append("mpi4py")
    if backend in ("mpi", "gloo", "nccl"):
        modules.append(
            "pyarrow"
        )  # What tables send each other is written with it: 20 ms in the first exchange of a rank.
    return Profile(name, threads), tuple(dict.fromkeys([*modules, *declared]))


def _family_name(families: set[str]) -> Literal["tables", "torch", "tensorflow", "torch+tensorflow"]:
    if families == {"torch", "tensorflow"}:
        return "torch+tensorflow"
    if families == {"torch"}:
        return "torch"
    return "tensorflow" if families else "tables"


def _packages_used(function: Callable[..., Any]) -> Iterator[str]:
    """Top-level packages that a function, or a function of its module that it calls, refers to."""
    waiting: list[Callable[..., Any]] = [function]
    seen: set[types.CodeType] = set()
    while waiting:
        current = inspect.unwrap(waiting.pop())
        code = getattr(current, "__code__", None)
        if code is None or code in seen:
            continue
        seen.add(code)
        namespace = getattr(current, "__globals__", {})
        for name in _names_in(code):
            value = namespace.get(name)
            if isinstance(value, types.FunctionType) and value.__module__ == current.__module__:
                waiting.append(value)
            elif isinstance(value, types.ModuleType):
                yield value.__name__.partition(".")[0]
            elif value is not None:
                yield str(getattr(value, "__module__", "") or "").partition(".")[0]
            else:
                yield name.partition(".")[0]


def _names_in(code: types.CodeType) -> Iterator[str]:
    """Global names and imported modules of a code object and the code nested in it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names_in(constant)
