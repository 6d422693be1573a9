"""The plan as text, top operator first, each exchange on the line between what it separates."""

from __future__ import annotations

from collections.abc import Iterator

from deeprc.table.expressions import is_scalar
from deeprc.table.operators.group_by import groups_locally, taken_apart
from deeprc.table.operators.join import BROADCAST_BYTES, joins_locally, keeps_left
from deeprc.table.operators.sort import sorts_locally
from deeprc.table.placement import Placement, after_step, key_columns, matching_keys
from deeprc.table.plan import GroupBy, Head, Join, Node, Select, Sort, Source, Step, Unique
from deeprc.table.plan_rows import (
    Concat,
    JoinAsof,
    Keyed,
    Permute,
    Repartition,
    Reverse,
    RowIndex,
    Sample,
    ShuffleByKey,
    Slice,
    TopK,
)
from deeprc.table.plan_windows import Around, ByKey, TimeWindows
from deeprc.table.pushdown import optimised
from deeprc.table.windows import lowered

_ONE_PLACE = "exchange: all rows to rank 0"


def explain(plan: Node, size: int) -> str:
    """What runs, from the result down to the sources; a line that starts with "exchange" is where rows move."""
    plan = optimised(lowered(plan)) if size > 1 else plan
    exchanges = sum(line.strip().startswith("exchange") for line in _lines(plan, size, 0))
    head = f"{size} rank{'s' if size > 1 else ''}, {exchanges} exchange{'s' if exchanges != 1 else ''}"
    return "\n".join([head, *_lines(plan, size, 0)])


def _lines(node: Node, size: int, depth: int) -> Iterator[str]:
    yield "  " * depth + node.label() + (", rows split evenly" if _is_split(node, size) else "")
    if size > 1:
        yield from ("  " * (depth + 1) + moved for moved in _moved(node))
    for source in node.inputs:
        yield from _lines(source, size, depth + 1)


def _is_split(node: Node, size: int) -> bool:
    return isinstance(node, Source) and size > 1 and not node.description.startswith("FRAMES")


def _moved(node: Node) -> list[str]:
    """What has to travel before the operator can run; known sizes may make it less."""
    if isinstance(node, Step):
        return _moved_by_step(node)
    if isinstance(node, Sort):
        return [_range(node)] if sorts_locally(node) else [_ONE_PLACE]
    if isinstance(node, GroupBy):
        return _moved_by_group_by(node)
    if isinstance(node, Unique):
        names = node.input.schema.names() if node.subset is None else list(node.subset)
        return [f"exchange: rows by hash of {names}"]
    if isinstance(node, Join):
        return _moved_by_join(node)
    return _moved_by_rows(node)


def _moved_by_rows(node: Node) -> list[str]:
    if isinstance(node, Concat):
        return ["exchange: rows by their numbers, evenly"] * node.in_order
    if isinstance(node, TopK):
        return [f"exchange: the {node.k} rows of each rank to rank 0"]
    if isinstance(node, Permute):
        return ["exchange: rows by a hash of their numbers"]
    if isinstance(node, Reverse):
        return ["exchange: each rank's rows to the rank as far from the other end"]
    if isinstance(node, Repartition):
        return ["exchange: rows by their numbers"]
    if isinstance(node, ShuffleByKey | Keyed) and node.keys:
        if matching_keys(placement_of(node.input), node.keys) is not None:
            return []
        return [f"exchange: rows by hash of [{', '.join(map(str, node.keys))}]"]
    if isinstance(node, Keyed):
        return [_ONE_PLACE]
    if isinstance(node, TimeWindows):
        reach = f"exchange: rows that the windows of other ranks reach, {node.period} from their own"
        return [reach] if node.grid_is_fixed else [_ONE_PLACE]
    if isinstance(node, JoinAsof):
        if not node.left_by:
            return ["exchange: right rows near the left rows of each rank"]
        return [
            f"exchange: left by hash of {list(node.left_by)}",
            f"exchange: right by hash of {list(node.right_by)}",
        ]
    return []


def _range(node: Sort) -> str:
    return f"exchange: rows by range of [{', '.join(map(str, node.by))}], split at samples of all ranks"


def _moved_by_step(node: Step) -> list[str]:
    if isinstance(node, Around):
        placed = isinstance(node, ByKey) and matching_keys(placement_of(node.input), node.keys) is not None
        return [] if placed else [f"exchange: {node.moves}"]
    if isinstance(node, Select) and all(is_scalar(item) for item in node.exprs):
        return ["exchange: one row of aggregates a rank to rank 0, or the columns they read"]
    if node.looks_around:
        looking = ", ".join(map(str, node.looks_around))
        return [f"exchange: columns read by {looking} to rank 0 and the result back (not row by row)"]
    return []


def _moved_by_group_by(node: GroupBy) -> list[str]:
    if not groups_locally(node):
        return [_ONE_PLACE]
    if not node.maintain_order and matching_keys(placement_of(node.input), node.keys) is not None:
        return []
    keys = ", ".join(map(str, node.keys))
    if taken_apart(node) is not None:
        return [f"exchange: rows by hash of [{keys}], aggregated on each rank first if that makes them fewer"]
    lines = [f"exchange: rows by hash of [{keys}]"]
    return [*lines, "exchange: groups by range of their first rows"] if node.maintain_order else lines


def _moved_by_join(node: Join) -> list[str]:
    if node.how == "cross":
        return ["exchange: the smaller side to all ranks"]
    if not joins_locally(node):
        return [f"{_ONE_PLACE}, left", f"{_ONE_PLACE}, right"]
    left = matching_keys(placement_of(node.left), node.left_on)
    right = matching_keys(placement_of(node.right), node.right_on)
    if left is not None and left == right:
        return []
    chosen = left or right or tuple(range(len(node.left_on)))
    lines = []
    if left is None:
        lines.append(f"exchange: left by hash of [{', '.join(str(node.left_on[index]) for index in chosen)}]")
    if chosen != right:
        lines.append(f"exchange: right by hash of [{', '.join(str(node.right_on[index]) for index in chosen)}]")
    if left is None and keeps_left(node):
        lines.append(f"(a right side of at most {BROADCAST_BYTES >> 20} MiB goes to all ranks instead)")
    return lines


def placement_of(node: Node) -> Placement:
    """Where rows will be, supposing that no join finds its right side small."""
    if isinstance(node, Around):
        return placement_of(node.input)
    if isinstance(node, Step):
        return None if node.looks_around else after_step(node, placement_of(node.input))
    if isinstance(node, Head | Slice | Sample | RowIndex):
        return placement_of(node.input)
    if isinstance(node, GroupBy) and groups_locally(node) and not node.maintain_order:
        before = placement_of(node.input)
        return before if matching_keys(before, node.keys) is not None else key_columns(node.keys)
    if isinstance(node, ShuffleByKey):
        before = placement_of(node.input)
        return before if matching_keys(before, node.keys) is not None else key_columns(node.keys)
    if isinstance(node, Join) and node.how == "cross":
        return None
    if isinstance(node, Join) and keeps_left(node) and joins_locally(node):
        match = matching_keys(placement_of(node.left), node.left_on)
        return placement_of(node.left) if match is not None else key_columns(node.left_on)
    return None
