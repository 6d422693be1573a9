"""Where a rank is in its code, read from the stack that it has written: pure functions."""

from __future__ import annotations

import linecache
import re
import sysconfig
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple


class Frame(NamedTuple):
    """One entry of a stack, as faulthandler writes it."""

    file: str
    line: int
    function: str


class Whereabouts(NamedTuple):
    """Where one rank is, in words. `waits`: in an operation that needs other ranks."""

    rank: int
    node: str
    text: str
    waits: bool = False


RETURNED = "has returned"
_FRAME = re.compile(r'^  File "(.*)", line (\d+) in (.*)$', re.MULTILINE)
_OURS = str(Path(__file__).parents[2]) + "/"
_RANK = _OURS + "runtime/rank/rank.py"
_EXCHANGES = (_OURS + "table/exchange/", _OURS + "table/spill/rounds")
_LIBRARIES = tuple({sysconfig.get_path(kind) + "/" for kind in ("stdlib", "platstdlib", "purelib", "platlib")})
_SITE = re.compile(r"^(.*/(?:site|dist)-packages/[^/]+)")
# What mpi4py does is done in C, and leaves no frame: it is known by its name in the line that calls it.
_CALLS = re.compile(r"\.(\w+)\(")
_MPI = frozenset(
    re.split(
        r"\s+",
        """allgather allgatherv allreduce alltoall alltoallv alltoallw barrier bcast bsend create create_group
        disconnect dup exscan fence free gather gatherv lock lock_all mprobe mrecv neighbor_allgather
        neighbor_alltoall probe read_all read_at_all read_ordered recv reduce reduce_scatter
        reduce_scatter_block rsend scan scatter scatterv send sendrecv sendrecv_replace split split_type
        ssend unlock wait waitall waitany waitsome write_all write_at_all write_ordered""",
    )
)
_TORCH = frozenset({"wait"})
_C10D = ("/torch/distributed/distributed_c10d.py", "/torch/distributed/_functional_collectives.py")


def parsed(dump: str) -> list[Frame]:
    """The frames of faulthandler's text, innermost first."""
    return [Frame(_unescaped(file), int(line), function) for file, line, function in _FRAME.findall(dump)]


def is_whole(dump: str) -> bool:
    """Whether the outermost frame has been written, or faulthandler has left frames out."""
    return dump.endswith(("in _run_module_as_main\n", "  ...\n"))


def located(rank: int, node: str, frames: Sequence[Frame], backend: str | None) -> Whereabouts:
    """Where a rank is whose stack is `frames`, innermost first."""
    inside = next((place for place, frame in enumerate(frames) if frame.file == _RANK), len(frames))
    runtime = frames[inside].function if inside < len(frames) else ""
    stack = list(frames[:inside])
    if runtime in ("serve", "main") or [frame.function for frame in stack[-1:]] == ["close"]:
        return Whereabouts(rank, node, RETURNED)
    if runtime in ("share", "_connected"):
        return Whereabouts(rank, node, "joins the task's communicator, to which not all ranks have come", waits=True)
    if not stack:
        return Whereabouts(rank, node, "is before or after its function")
    users = _users_frame(stack)
    code = linecache.getline(users.file, users.line).strip()
    operation = _operation(stack) or (_called(code, backend) if users == stack[0] else None)
    at = f"{users.file}:{users.line} ({users.function})" + (f": {code}" if code else "")
    within = "" if operation or stack[0] == users else f", in {stack[0].function} ({stack[0].file}:{stack[0].line})"
    doing = f"in {operation}" if operation else "not in a collective"
    return Whereabouts(rank, node, f"{doing}, at {at}{within}", waits=operation is not None)


def described(places: Iterable[Whereabouts]) -> str:
    """A line for each place, with the ranks that are there."""
    ordered = sorted(places)
    nodes = {place.node for place in ordered}
    lines: dict[str, list[int]] = {}
    for place in ordered:
        lines.setdefault(place.text if len(nodes) == 1 else f"{place.text} [{place.node}]", []).append(place.rank)
    return "\n".join(f"  {ranks_in_words(ranks)}: {text}" for text, ranks in lines.items())


def ranks_in_words(ranks: Sequence[int]) -> str:
    """ "rank 3", "ranks 0-2, 5"."""
    runs = [[rank for _, rank in run] for _, run in groupby(enumerate(ranks), lambda pair: pair[1] - pair[0])]
    texts = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return ("rank " if len(ranks) == 1 else "ranks ") + ", ".join(texts)


def _users_frame(stack: Sequence[Frame]) -> Frame:
    """The innermost frame of the user's code: of no library, or of the package that the task's function is from."""
    outermost = stack[-1]
    own = _SITE.match(outermost.file)
    mine = own.group(1) if own else None
    for frame in stack:
        if not _is_library(frame.file) or (mine is not None and frame.file.startswith(mine)):
            return frame
    return outermost


def _is_library(file: str) -> bool:
    return file.startswith((_OURS, "<frozen", *_LIBRARIES)) or _SITE.match(file) is not None


def _operation(stack: Sequence[Frame]) -> str | None:
    """The outermost call of a collective: what was asked for, not what that is made of."""
    for frame in reversed(stack):
        if frame.file.startswith(_OURS + "communicator/"):
            exchanges = any(other.file.startswith(_EXCHANGES) for other in stack)
            return f"{frame.function} of a table's exchange" if exchanges else frame.function
        if frame.file.endswith(_C10D):
            return f"torch.distributed.{frame.function}"
    return None


def _called(code: str, backend: str | None) -> str | None:
    """The operation that a line of the user's calls in a C library."""
    known = {"mpi": _MPI, "gloo": _TORCH, "nccl": _TORCH}.get(backend or "", frozenset())
    return next((name for name in _CALLS.findall(code) if name.lower() in known), None)


def _unescaped(name: str) -> str:
    return name.encode("latin-1", "backslashreplace").decode("unicode_escape") if "\\" in name else name
