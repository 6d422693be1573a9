"""A stage: what a rank holds of a table between two exchanges, still lazy; and the run of a plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import polars as pl

from deeprc.communicator import Communicator
from deeprc.table.engines import polars_engine
from deeprc.table.exchange.exchange import together
from deeprc.table.plan.expressions import plain_column
from deeprc.table.plan.nodes import Drop, Filter, Node, Rename, Select, Source
from deeprc.table.plan.placement import Placement


@dataclass(frozen=True)
class Stage:
    """This rank's rows, and where equal keys are.

    `streams` says that the first rows are had without the rest, so that looking at a sample is cheap.
    """

    frame: pl.LazyFrame
    placement: Placement = None
    streams: bool = False


@dataclass(frozen=True)
class Execution:
    """One run of a plan on one rank. The `shared` nodes, which several operators read, run once, and are kept.

    Of all others nothing is kept: what an operator has read is freed when it has sent it on.
    """

    comm: Communicator
    stage_of: Callable[[Node, Execution], Stage]
    shared: frozenset[int] = frozenset()
    done: dict[int, Stage] = field(default_factory=dict)

    def stage(self, node: Node) -> Stage:
        if id(node) not in self.shared:
            return self.stage_of(node, self)
        if id(node) not in self.done:
            stage = self.stage_of(node, self)
            if not read_again(node):
                stage = Stage(self.collect(stage.frame, node).lazy(), stage.placement, streams=True)
            self.done[id(node)] = stage
        return self.done[id(node)]

    def collect(self, frame: pl.LazyFrame, node: Node) -> pl.DataFrame:
        """Compute this rank's part; if one rank fails, all do. Collective."""
        return self.measure(frame, node)[0]

    def measure(self, frame: pl.LazyFrame, node: Node) -> tuple[pl.DataFrame, list[tuple[int, int]]]:
        """As `collect`, and (rows, bytes) of every rank's part."""
        return together(
            self.comm,
            f"computing its part for {node.label()}",
            lambda: compute(frame),
            lambda part: (part.height, int(part.estimated_size())),
        )


def read_again(node: Node) -> bool:
    """Whether it is a source, or columns and rows of one: each reader reads what it needs of it, nothing is kept."""
    if isinstance(node, Source):
        return True
    if isinstance(node, Select) and any(plain_column(item) is None for item in node.exprs):
        return False
    return isinstance(node, Filter | Select | Rename | Drop) and not node.looks_around and read_again(node.input)


def compute(frame: pl.LazyFrame) -> pl.DataFrame:
    """Run a local stage with the engine that was asked for: Polars' streaming one, if none was."""
    return frame.collect(engine=polars_engine())
