"""The plan as text, top operator first, each exchange on the line between what it separates."""

from __future__ import annotations

from collections.abc import Iterator

from deeprc.table.explain.foresight import Foresight
from deeprc.table.files.statistics import size_text
from deeprc.table.optimise.pushdown import optimised, uses
from deeprc.table.plan.estimate import Estimates
from deeprc.table.plan.lowering import lowered
from deeprc.table.plan.nodes import Node, Source
from deeprc.table.spill import memory
from deeprc.table.spill.execute import expected_peak, held
from deeprc.table.spill.whole import bytes_held
from deeprc.table.stage import read_again
from deeprc.workspace import memory_budget

_LEGEND = "-> estimated rows and bytes of all ranks; what is expected is decided at run time, on all ranks alike"


def explain(plan: Node, size: int) -> str:
    """What runs, from the result down to the sources, with what is expected of it.

    A line that starts with "exchange" is where rows move. Nothing is computed, but files are looked at.
    """
    shown = optimised(lowered(plan)) if size > 1 else plan
    estimates = Estimates()
    lines = _Lines(Foresight(estimates), size, uses(shown))
    body = list(lines.of(shown, 0))
    exchanges = sum(line.strip().startswith("exchange") for line in body)
    head = f"{size} rank{'s' if size > 1 else ''}, {exchanges} exchange{'s' if exchanges != 1 else ''}"
    return "\n".join([head, _LEGEND, *_memory(plan, size), *body])


def _memory(plan: Node, size: int) -> list[str]:
    """Whether the plan is expected to fit into this rank's budget, where it has one."""
    budget = memory_budget()
    if budget is None:
        return []
    room, peak = budget - memory.resident_bytes(), expected_peak(plan, size)
    what = "works in buckets on disk"
    if peak is not None and peak <= max(room, memory.LEAST):
        what = "stays in memory"
    elif room < memory.LEAST:
        what = "is refused for want of memory"
    needs = "what it needs is not known" if peak is None else f"at most about {size_text(peak)} needed at once"
    lines = [f"expected: {what}: {needs}, {size_text(max(room, 0))} of {size_text(budget)} free on this rank"]
    if what == "works in buckets on disk":
        lines += [_held(node, size) for node in held(optimised(lowered(plan)))]
        result = Estimates().of(plan)
        if result is None or result.bytes / size > room:
            much = "of unknown size" if result is None else f"of about {size_text(result.bytes)}"
            lines.append(f"the result, {much}, is held by collect and gather, not by persist and write_...")
    return lines


def _held(node: Node, size: int) -> str:
    needed = bytes_held(node, Estimates(), size)
    much = "an unknown size" if needed is None else f"about {size_text(needed)}"
    return f"has no way in batches, and holds {much} of what it reads at once: {node.label()}"


class _Lines:
    """The lines of a plan; of what several operators read the second time only a reference."""

    def __init__(self, foresight: Foresight, size: int, readers: dict[int, int]) -> None:
        self._foresight, self._size, self._readers = foresight, size, readers
        self._numbers: dict[int, int] = {}

    def of(self, node: Node, depth: int) -> Iterator[str]:
        indent = "  " * depth
        if id(node) in self._numbers:
            again = "read again" if read_again(node) else "computed once"
            yield f"{indent}as ({self._numbers[id(node)]}), {again}"
            return
        yield indent + self._numbered(node) + node.label() + self._split(node) + self._estimate(node)
        if self._size > 1:
            moves = self._foresight.moves(node)
            yield from (f"{indent}  {line}" for line in (*moves.exchanges, *moves.remarks))
        for source in node.inputs:
            yield from self.of(source, depth + 1)

    def _numbered(self, node: Node) -> str:
        if self._size == 1 or self._readers.get(id(node), 0) < 2:
            return ""
        self._numbers[id(node)] = len(self._numbers) + 1
        return f"({self._numbers[id(node)]}) "

    def _split(self, node: Node) -> str:
        split = isinstance(node, Source) and self._size > 1 and not node.description.startswith("FRAMES")
        return ", rows split evenly" if split else ""

    def _estimate(self, node: Node) -> str:
        found = self._foresight.estimates.of(node)
        return " -> unknown" if found is None else f" -> {found}"
