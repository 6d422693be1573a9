"""A column of other rows than the table's, as `x.unique()` or `x.mode()` in `select`: a plan of a table's operators.

`select(x.mode())` counts the values by their hash, and keeps those of the highest count; `select(x.unique().sort())` is
`unique` and `sort` of a table of one column. So they are shared by the ranks as these are.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl

from deeprc.table.plan import places
from deeprc.table.plan.expressions import Tree, dtype_of, from_tree, is_scalar, kind, rebuilt, row_wise
from deeprc.table.plan.nodes import Filter, GroupBy, Node, Select, Sort, Unique, WithColumns
from deeprc.table.plan.row_nodes import Concat, EachRow, Reverse, Slice, TopK
from deeprc.table.plan.spelling import on_operand

Lower = Callable[[Filter | Select | WithColumns], Node]
_COUNT = "__count__"
_BY = "__by"


@dataclass(frozen=True)
class _Step:
    """An operand, the expression with another one in its place, and how a table of the operand is made the result's."""

    operand: Tree
    over: Callable[[Tree], Tree]
    reshape: Callable[[Node, str, Lower], Node] | None = None
    of_other_rows_alone: bool = False


def reshaped(select: Select, lower: Lower) -> Node | None:
    """The plan of a selected column; None where it is of no known kind.

    Args:
        lower: takes apart what in a step looks at other rows.
    """
    if len(select.exprs) != 1 or len(select.schema) != 1:
        return None
    name = select.schema.names()[0]
    plan = _Column(select.input, name, lower).of(_bare(json.loads(select.exprs[0].meta.serialize(format="json"))))
    return plan if plan is not None and plan.schema == select.schema else None


def _bare(node: Tree) -> Tree:
    while kind(node) == "Alias":
        node = node["Alias"][0]
    return node


@dataclass(frozen=True)
class _Column:
    input: Node
    name: str
    lower: Lower

    def of(self, node: Tree) -> Node | None:
        """A plan that gives the column under its name, where one of the operands within has other rows."""
        step = None if row_wise(node, self.input.schema) else _step(node, self.input.schema)
        if step is None:
            return self._of_several(node)
        below = self.of(_bare(step.operand))
        if below is None and step.of_other_rows_alone:
            return None
        if step.reshape is not None:
            return step.reshape(below or self._plain(step.operand), self.name, self.lower)
        return None if below is None else self._select(below, step.over({"Column": self.name}))

    def _plain(self, node: Tree) -> Node:
        return self._select(self.input, node)

    def _select(self, below: Node, node: Tree) -> Node:
        return self.lower(Select(below, (from_tree(node).alias(self.name),)))

    def _of_several(self, node: Tree) -> Node | None:
        """What reads other columns too."""
        if kind(node) == "Filter" and row_wise(node["Filter"]["input"], self.input.schema):
            kept = self.lower(Filter(self.input, (from_tree(node["Filter"]["by"]),)))
            return self.lower(Select(kept, (from_tree(node["Filter"]["input"]).alias(self.name),)))
        if kind(node) == "SortBy":
            return self._sorted_by(node["SortBy"])
        if kind(node) == "Over" and node["Over"]["mapping"] == "Explode" and not node["Over"]["order_by"]:
            return self._of_groups(node["Over"])
        if kind(node) == "Function" and kind(node["Function"]["function"]) == "Append":
            return self._appended(node)
        return None

    def _of_groups(self, over: Any) -> Node | None:
        """The rows of groups, one group after another, in the order of their first rows."""
        schema = self.input.schema
        if not all(row_wise(part, schema) for part in over["partition_by"]):
            return None
        keys = tuple(from_tree(part).alias(f"{_BY}{index}") for index, part in enumerate(over["partition_by"]))
        values = from_tree(over["function"]).alias(self.name)
        groups = GroupBy(self.input, keys, (values,), maintain_order=True)
        column = Select(groups, (pl.col(self.name),))
        if groups.schema[self.name] == dtype_of(over["function"], schema):
            return column
        return EachRow(column, f"EXPLODE ['{self.name}']", lambda frame: frame.explode(self.name))

    def _appended(self, node: Tree) -> Node | None:
        """The values of one column, and then those of another."""
        parts = node["Function"]["input"]
        if not all(row_wise(part, self.input.schema) and from_tree(part).meta.root_names() for part in parts):
            return None
        dtype = dtype_of(node, self.input.schema)
        tables = (Select(self.input, (from_tree(part).cast(dtype).alias(self.name),)) for part in parts)
        return Concat(tuple(tables), in_order=True)

    def _sorted_by(self, node: Any) -> Node | None:
        parts = [from_tree(part) for part in (node["expr"], *node["by"])]
        if any(is_scalar(part) or not part.meta.is_length_preserving() for part in parts):
            return None
        if node["sort_options"]["limit"] is not None:
            return None
        keys = tuple(from_tree(part).alias(f"{_BY}{index}") for index, part in enumerate(node["by"]))
        rows = self.lower(Select(self.input, (from_tree(node["expr"]).alias(self.name), *keys)))
        options, by = node["sort_options"], tuple(pl.col(f"{_BY}{index}") for index in range(len(keys)))
        descending, nulls_last = (_each(options[which], len(keys)) for which in ("descending", "nulls_last"))
        ordered = Sort(rows, by, descending, nulls_last, bool(options["maintain_order"]))
        return Select(ordered, (pl.col(self.name),))


def _each(flags: list[bool], count: int) -> tuple[bool, ...]:
    return tuple(flags) * count if len(flags) == 1 else tuple(flags)


def _step(node: Tree, schema: pl.Schema) -> _Step | None:
    """What the outermost call of an expression does to its one operand that is no literal."""
    name = kind(node)
    if name == "Sort" and node["Sort"]["options"]["limit"] is None:
        return _Step(node["Sort"]["expr"], lambda child: child, _sorting(node["Sort"]["options"]))
    if name == "Slice":
        bounds = [node["Slice"][bound] for bound in ("offset", "length")]
        return _Step(node["Slice"]["input"], lambda child: child, _slicing(*bounds))
    if name == "Explode":
        return _Step(node[name]["input"], lambda child: child, _exploding(node[name]["options"]))
    if name == "Agg" and kind(node["Agg"]) == "Implode":
        values = node["Agg"]["Implode"]["input"]
        # A list of all values is made where they all are; of others than the table's rows there may be few.
        return _Step(values, lambda child: child, _imploded, of_other_rows_alone=True)
    if name == "Agg":
        return _Step(
            _operands(partial(on_operand, node["Agg"]))[0],
            lambda child: {"Agg": on_operand(node["Agg"], lambda _: child)},
        )
    return _row_by_row(node) or (_of_function(node, schema) if name == "Function" else None)


def _row_by_row(node: Tree) -> _Step | None:
    several = [each for each in _operands(partial(rebuilt, node)) if kind(each) != "Literal"]
    if len(several) != 1:
        return None
    return _Step(several[0], lambda child: rebuilt(node, lambda each: each if kind(each) == "Literal" else child))


def _of_function(node: Tree, schema: pl.Schema) -> _Step | None:
    first, *more = node["Function"]["input"] or [None]
    if first is None or any(kind(each) != "Literal" for each in more):
        return None
    over = {**node["Function"]}
    return _Step(first, lambda child: {"Function": {**over, "input": [child, *more]}}, _function(node, more, schema))


def _operands(of: Callable[[Callable[[Tree], Tree]], Any]) -> list[Tree]:
    """What a change of operands is asked for."""
    found: list[Tree] = []

    def noted(child: Tree) -> Tree:
        found.append(child)
        return child

    of(noted)
    return found


def _function(node: Tree, more: list[Tree], schema: pl.Schema) -> Callable[[Node, str, Lower], Node] | None:
    """How a function that gives other rows does so to a table of one column."""
    called = node["Function"]["function"]
    name: str = kind(called)
    options: Any = None if isinstance(called, str) else called[name]
    if name == "Unique":
        return lambda below, column, lower: Unique(
            below, None, "first" if options else "any", maintain_order=bool(options)
        )
    if name == "Mode":
        return lambda below, column, lower: _mode(below, column, lower, ordered=options["maintain_order"])
    if name == "ValueCounts":
        return lambda below, column, lower: _counted(below, column, lower, options, dtype_of(node, schema))
    if name == "UniqueCounts":
        return lambda below, column, lower: Select(
            _counts(below, column, ordered=True), (pl.col(_COUNT).alias(column),)
        )
    if name == "Reverse":
        return lambda below, column, lower: Reverse(below)
    if name == "TopK" and kind(more[0]) == "Literal":
        k, largest = pl.select(from_tree(more[0])).item(), not options["descending"]
        return lambda below, column, lower: TopK(below, k, (pl.col(column),), (False,), largest=largest)
    if name in ("DropNulls", "DropNans"):
        return lambda below, column, lower: Filter(below, (_kept(pl.col(column), name),))
    return _of_places(name, options)


def _of_places(name: str, options: Any) -> Callable[[Node, str, Lower], Node] | None:
    if name == "ArgWhere":
        return lambda below, column, lower: places.true_places(below, column)
    if name == "ArgUnique":
        return lambda below, column, lower: places.first_places(below, column)
    if name == "ArgSort":
        return lambda below, column, lower: places.sorted_places(below, column, options)
    if name == "GatherEvery":
        return lambda below, column, lower: places.every_place(below, column, options)
    if name == "RLE":
        return lambda below, column, lower: places.runs(lower(places.run_starts(below, column)), column)
    return None


def _imploded(below: Node, column: str, lower: Lower) -> Node:
    return Select(below, (pl.col(column).implode(),))


def _kept(values: pl.Expr, name: str) -> pl.Expr:
    return values.is_not_null() if name == "DropNulls" else values.is_not_nan().fill_null(True)


def _sorting(options: Any) -> Callable[[Node, str, Lower], Node]:
    flags = (options["descending"],), (options["nulls_last"],)
    return lambda below, column, lower: Sort(below, (pl.col(column),), *flags, maintain_order=options["maintain_order"])


def _exploding(options: Any) -> Callable[[Node, str, Lower], Node]:
    def exploded(below: Node, column: str, lower: Lower) -> Node:
        return EachRow(below, f"EXPLODE ['{column}']", lambda frame: frame.explode(column, **options))

    return exploded


def _slicing(offset: Tree, length: Tree) -> Callable[[Node, str, Lower], Node] | None:
    if kind(offset) != "Literal" or kind(length) != "Literal":
        return None
    start, rows = (pl.select(from_tree(bound)).item() for bound in (offset, length))
    return lambda below, column, lower: Slice(below, start, rows)


def _counts(below: Node, column: str, *, ordered: bool) -> Node:
    return GroupBy(below, (pl.col(column),), (pl.len().alias(_COUNT),), maintain_order=ordered)


def _mode(below: Node, column: str, lower: Lower, *, ordered: bool) -> Node:
    counts = _counts(below, column, ordered=ordered)
    return Select(lower(Filter(counts, (pl.col(_COUNT) == pl.col(_COUNT).max(),))), (pl.col(column),))


def _counted(below: Node, column: str, lower: Lower, options: Any, dtype: pl.DataType) -> Node:
    counts = _counts(below, column, ordered=False)
    if options["sort"]:
        counts = Sort(counts, (pl.col(_COUNT),), (True,), (False,))
    count = pl.col(_COUNT) / pl.col(_COUNT).sum() if options["normalize"] else pl.col(_COUNT)
    assert isinstance(dtype, pl.Struct)
    of_value, of_count = (field.name for field in dtype.fields)
    both = pl.struct(pl.col(column).alias(of_value), count.alias(of_count)).alias(column)
    return lower(Select(counts, (both,)))
