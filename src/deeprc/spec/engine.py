"""Whether a task will compute tables on a GPU, as far as that is known before it runs, and what it then needs.

It is known where the function has a parameter `engine` that gets "gpu", and where its code says `engine="gpu"` in a
call that every run of it comes to: one in a branch, in a loop or under `try` or `with` may have a way around it, and is
left to the rank.
"""

from __future__ import annotations

import dis
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from types import CodeType
from typing import Any

from deeprc.errors import MissingDependencyError, SpecError
from deeprc.spec.signature import signature_of

PARAMETER, GPU = "engine", "gpu"


def takes_engine(function: Callable[..., Any]) -> bool:
    """Whether a caller can say which engine."""
    return PARAMETER in signature_of(function).parameters


def check_engine_call(function: Callable[..., Any], *, gpus: int) -> None:
    """Refuse a function whose code calls for a GPU that its task does not have.

    Raises:
        SpecError: the task has no GPU.
        MissingDependencyError: Polars' GPU engine is not installed.
    """
    code = getattr(function, "__code__", None)
    if isinstance(code, CodeType) and PARAMETER in str(code.co_consts) and _calls_for_gpu(code):
        _check_gpus(gpus)


def check_engine_argument(engine: Any, *, gpus: int) -> None:
    """As `check_engine_call`, for the argument of a function's parameter `engine`."""
    if engine == GPU:
        _check_gpus(gpus)


def _check_gpus(gpus: int) -> None:
    if gpus == 0:
        raise SpecError(
            'engine="gpu" needs a GPU for each rank, and this task has gpus=0. Use gpus=1 on an allocation that has '
            'GPUs, or engine="streaming".'
        )
    require_gpu_engine()


def require_gpu_engine() -> None:
    """Polars' engine for GPUs is a package of its own.

    Raises:
        MissingDependencyError: it is not installed.
    """
    if find_spec("cudf_polars") is None:
        raise MissingDependencyError(
            'engine="gpu" needs Polars\' GPU engine. Install it with: pip install "polars[gpu]" '
            "--extra-index-url=https://pypi.nvidia.com"
        )


def _calls_for_gpu(code: CodeType) -> bool:
    instructions = list(dis.get_instructions(code))
    certain = {instruction.offset for instruction in _certain(code)}
    for index, instruction in enumerate(instructions):
        names = code.co_consts[instruction.arg or 0] if instruction.opname in ("KW_NAMES", "LOAD_CONST") else None
        if isinstance(names, tuple) and PARAMETER in names and instruction.offset in certain:
            # The values of a call's keywords are loaded just before their names, in order.
            first = index - (len(names) - names.index(PARAMETER))
            values = instructions[first:index]
            if values and values[0].argval == GPU and all(value.opname in _SINGLE_LOADS for value in values):
                return True
    return False


_SINGLE_LOADS = frozenset({"LOAD_CONST", "LOAD_FAST", "LOAD_NAME", "LOAD_DEREF", "LOAD_FAST_BORROW", "LOAD_SMALL_INT"})


def _certain(code: CodeType) -> Iterator[dis.Instruction]:
    """The instructions that every run comes to, unless one before them raises."""
    entries = getattr(dis.Bytecode(code), "exception_entries", ())
    handled = [(entry.start, entry.end) for entry in entries]
    skipped_until = -1
    for instruction in dis.get_instructions(code):
        offset = instruction.offset
        if offset >= skipped_until and not any(start <= offset < end for start, end in handled):
            yield instruction
        if instruction.opcode in _JUMPS and instruction.argval > offset:
            skipped_until = max(skipped_until, instruction.argval)
        if instruction.opname.startswith(("RETURN_", "RAISE_", "RERAISE")) and instruction.opname != "RETURN_GENERATOR":
            return


_JUMPS = frozenset((*dis.hasjrel, *dis.hasjabs))
