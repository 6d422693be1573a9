"""What all methods of a table build on: its plan, its communicator, and arguments read as Polars reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import polars as pl

from deeprc.communicator import Communicator, SoloCommunicator
from deeprc.errors import DataError, SpecError
from deeprc.table.engines import Engine, check_engine, computing_with
from deeprc.table.exchange.exchange import together
from deeprc.table.execute import opened_plan, run_plan
from deeprc.table.plan import nodes as plan
from deeprc.table.plan import row_nodes
from deeprc.table.plan.expressions import as_expressions
from deeprc.table.schema import as_data_error, checked

_SOLO = SoloCommunicator()
Result = TypeVar("Result")
PlannedT = TypeVar("PlannedT", bound="Planned")


@dataclass(frozen=True, eq=False, repr=False)
class Planned:
    """A plan, and the communicator of the ranks that will run it."""

    node: plan.Node
    comm: Communicator = _SOLO

    @property
    def schema(self) -> pl.Schema:
        """Names and types of the columns."""
        return self.node.schema

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return self.schema.names()

    @property
    def dtypes(self) -> list[pl.DataType]:
        """Types of the columns."""
        return self.schema.dtypes()

    @property
    def width(self) -> int:
        """The number of columns."""
        return len(self.schema)

    def collect_schema(self) -> pl.Schema:
        """As `schema`: it is known without work."""
        return self.schema

    def lazy(self) -> Self:
        """The table itself, which is lazy: for code that takes a frame of either kind."""
        return self

    def pipe(self, function: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
        """`function(table, *args, **kwargs)`, to be written in the order of work."""
        return function(self, *args, **kwargs)

    def pipe_with_schema(self, function: Callable[[Self, pl.Schema], Result]) -> Result:
        """`function(table, schema)`."""
        return function(self, self.schema)

    def clone(self) -> Self:
        """The table itself: nothing changes it."""
        return self

    def cache(self) -> Self:
        """The table itself: what several operators of a plan read is computed once, without being asked."""
        return self

    def _part(self, doing: str, engine: Engine = "streaming") -> pl.DataFrame:
        """This rank's rows. Where a file is to blame, all ranks raise the same error. Collective."""
        self._look_for(engine)

        def attempt() -> tuple[pl.DataFrame | None, Exception | None, str | None]:
            try:
                with computing_with(engine):
                    return run_plan(self.node, self.comm), None, None
            except Exception as error:
                return None, error, self._fault(error)

        (part, problem, _), faults = together(self.comm, doing, attempt, lambda outcome: outcome[2])
        if found := [fault for fault in faults if fault is not None]:
            raise DataError(found[0]) from problem

        def outcome() -> pl.DataFrame:
            if problem is not None:
                raise problem
            assert part is not None
            return part

        return together(self.comm, doing, outcome, lambda _: None)[0]

    def _look_for(self, engine: Engine) -> None:
        if engine != "streaming":
            together(self.comm, f"looking for engine={engine!r}", lambda: check_engine(engine), lambda _: None)

    def _fault(self, error: Exception) -> str | None:
        """What is wrong with a file, if that may be why the plan has failed."""
        kinds = (pl.exceptions.ComputeError, pl.exceptions.SchemaError, OSError)
        if not isinstance(error, kinds) or "following expression" in str(error):
            return None
        faults = (source.fault() for source in _sources(self.node))
        return next((fault for fault in faults if fault is not None), None)

    @contextmanager
    def _opened(self, doing: str, engine: Engine = "streaming") -> Iterator[pl.DataFrame | Iterator[pl.DataFrame]]:
        """This rank's rows, at once or, within a memory budget, in batches. Collective."""
        self._look_for(engine)
        with computing_with(engine), ExitStack() as stack:
            plan = opened_plan(self.node, self.comm)
            yield together(self.comm, doing, lambda: stack.enter_context(plan), lambda _: None)[0]

    def _next(self, operator: str, node: plan.Node) -> Self:
        with as_data_error(operator, self.columns):
            checked(node.schema)
        return type(self)(node, self.comm)

    def _keyed(
        self, label: str, names: Sequence[str], method: Callable[[pl.LazyFrame], pl.LazyFrame]
    ) -> row_nodes.Keyed:
        return row_nodes.Keyed(self.node, label, tuple(pl.col(name) for name in names), method)

    def _expanded(self, operator: str, inputs: Iterable[Any]) -> tuple[pl.Expr, ...]:
        """Expressions, with a selector replaced by the columns it selects."""
        expressions: list[pl.Expr] = []
        for expression in as_expressions(inputs):
            if expression.meta.is_column_selection() and not expression.meta.is_column():
                with as_data_error(operator, self.columns):
                    names = pl.LazyFrame(schema=self.schema).select(expression).collect_schema()
                expressions.extend(pl.col(name) for name in names)
            else:
                expressions.append(expression)
        return tuple(expressions)

    def _names(self, operator: str, columns: Iterable[Any]) -> tuple[str, ...]:
        with as_data_error(operator, self.columns):
            return tuple(pl.LazyFrame(schema=self.schema).select(*as_expressions(columns)).collect_schema())


def _sources(node: plan.Node) -> list[plan.Source]:
    if isinstance(node, plan.Source):
        return [node]
    return list(dict.fromkeys(source for below in node.inputs for source in _sources(below)))


def of_one_communicator(operator: str, table: PlannedT, other: Any) -> PlannedT:
    """The other table, if it is one and belongs to the same ranks.

    Raises:
        SpecError: it is not.
    """
    if not isinstance(other, type(table)):
        raise SpecError(f"{operator} takes a Table, not {type(other).__name__}; deeprc.from_polars makes one")
    if other.comm is not table.comm and (other.comm.size, table.comm.size) != (1, 1):
        raise SpecError(
            f"{operator} takes two tables of one communicator: pass the task's communicator to the function that makes "
            "the other table too, as in deeprc.from_polars(frame, comm)"
        )
    return other


def for_each(flag: bool | Sequence[bool], count: int, name: str) -> tuple[bool, ...]:
    """One flag for each of `count` keys.

    Raises:
        SpecError: there are more or fewer.
    """
    if isinstance(flag, bool):
        return (flag,) * count
    if len(flag) != count:
        raise SpecError(f"{name} has {len(flag)} values for {count} sort keys; give one, or one for each")
    return tuple(flag)
