"""Expressions that look at other rows, taken apart: what looks around becomes columns, the rest is row-wise.

`x - x.mean()` is an aggregate in every row and a row-wise difference; `x.sum().over("g").shift(1)` is a window
by key, then one of nearby rows. Each kind has its own exchange. What is of no known kind, as a Python function
of a column, goes to rank 0 as it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from deeprc.table.plan.expressions import (
    Tree,
    from_tree,
    is_abridged,
    is_scalar,
    kind,
    reads_by_selector,
    rebuilt,
    root_columns,
    row_wise,
    splits,
    tree,
)
from deeprc.table.plan.nodes import Filter, GroupBy, Node, Select, Sort, WithColumns
from deeprc.table.plan.reshaped import reshaped
from deeprc.table.plan.row_nodes import TopK, with_inputs_of
from deeprc.table.plan.side_by_side import side_by_side
from deeprc.table.plan.spelling import on_operand, spelled_out
from deeprc.table.plan.window_nodes import (
    Around,
    Binned,
    ByKey,
    Carried,
    InOrder,
    Interpolated,
    InTime,
    Nearby,
    Numbered,
    Ranked,
    Rolled,
    Scalars,
    Smoothed,
    WeightedInTime,
    WeightedSpread,
)

_OF_EQUAL_VALUES = ("IsDuplicated", "IsUnique", "IsFirstDistinct", "IsLastDistinct")
_ROLLING = ("Sum", "Mean", "Min", "Max", "Var", "Std", "Quantile", "Skew", "Kurtosis", "Rank", "CorrCov", "Map")
_CUMULATIVE = ("CumSum", "CumMin", "CumMax", "CumProd", "CumCount")

_WEIGHTED: Mapping[str, type[Around]] = {
    "EwmMean": Smoothed,
    "EwmVar": WeightedSpread,
    "EwmStd": WeightedSpread,
    "EwmMeanBy": WeightedInTime,
}


class _AsAWhole(Exception):
    """The expression has to be computed as it stands."""


def lowered(plan: Node) -> Node:
    """The same plan, with steps that look around taken apart where that is possible."""
    done: dict[int, tuple[Node, Node]] = {}

    def lower(node: Node) -> Node:
        if id(node) not in done:
            inputs = tuple(lower(source) for source in node.inputs)
            over = node if inputs == node.inputs else replace(node, **with_inputs_of(node, inputs))
            # The original is kept beside the result: an id is only an id while its object lives.
            if isinstance(over, GroupBy | Sort | TopK):
                over = _with_own_keys(over)
            done[id(node)] = (node, _apart(over) if isinstance(over, Filter | Select | WithColumns) else over)
        return done[id(node)][1]

    return lower(plan)


def _apart(step: Filter | Select | WithColumns) -> Node:
    if not step.looks_around:
        return step
    other_rows = of_other_rows(step)
    if other_rows is None and isinstance(step, Select | WithColumns):
        other_rows = _beside(step)
    if other_rows is not None:
        return other_rows
    windows = _Windows(step.input.schema)
    try:
        if isinstance(step, Select):
            each = [from_tree(one) for item in step.exprs for one in _expanded(_readable(item), step.input.schema)]
            if all(is_scalar(item) for item in each):  # one row, not one for each row
                once = tuple(windows.aggregated(item) for item in each)
                return _of_schema(Select(windows.over(step.input), once), step)
        expressions = windows.rewritten(step.expressions, names=not isinstance(step, Filter))
        if not windows.columns:
            return step
        below = windows.over(step.input)
        if isinstance(step, Select):
            return _of_schema(Select(below, expressions), step)
        node: Node = Filter(below, expressions) if isinstance(step, Filter) else WithColumns(below, expressions)
        return _of_schema(Select(node, tuple(pl.col(name) for name in step.schema)), step)
    except (_AsAWhole, pl.exceptions.PolarsError):
        return step


def of_other_rows(step: Filter | Select | WithColumns) -> Node | None:
    """A selected column of other rows than the table's, or an aggregate of one, by the operators of a table."""
    try:
        readable = isinstance(step, Select) and len(step.exprs) == 1 and bool(_readable(step.exprs[0]))
        return reshaped(step, _apart) if isinstance(step, Select) and readable else None
    except (_AsAWhole, pl.exceptions.PolarsError):
        return None


def _beside(step: Select | WithColumns) -> Node | None:
    """Several columns of other rows, or such ones beside the table's own."""
    try:
        each = [
            from_tree(one).alias(from_tree(one).meta.output_name())
            for item in step.exprs
            for one in _expanded(_readable(item), step.input.schema)
        ]
        plan = side_by_side(step, each, _apart)
        return plan if plan is not None and plan.schema == step.schema else None
    except (_AsAWhole, pl.exceptions.PolarsError):
        return None


def _with_own_keys(node: GroupBy | Sort | TopK) -> Node:
    """Keys that look around become columns first, so that each row has its own."""
    keys = node.keys if isinstance(node, GroupBy) else node.by
    schema = node.input.schema
    around = [key for key in keys if not row_wise(tree(key), schema)]
    reads = keys if not isinstance(node, GroupBy) else (*keys, *node.aggs)
    if not around or any(reads_by_selector(tree(item)) for item in reads):
        return node
    if any(is_scalar(key) or not key.meta.is_length_preserving() for key in around):
        return node
    names = [f"__key{index}" for index in range(len(around))]
    columns = tuple(key.alias(name) for key, name in zip(around, names, strict=True))
    below = _apart(WithColumns(node.input, columns))
    found = iter(names)
    own = tuple(
        key if row_wise(tree(key), schema) else pl.col(next(found)).alias(key.meta.output_name()) for key in keys
    )
    if isinstance(node, GroupBy):
        return _of_schema(replace(node, input=below, keys=own), node)
    ordered = replace(node, input=below, by=own)
    return _of_schema(Select(ordered, tuple(pl.col(name) for name in node.schema)), node)


def _of_schema(node: Node, original: Node) -> Node:
    return node if node.schema == original.schema else original


@dataclass(frozen=True)
class _Column:
    """A column to compute: `level` is one more than that of the columns it reads."""

    expression: pl.Expr
    level: int
    make: Callable[[Node, tuple[pl.Expr, ...]], Node]
    group: str


@dataclass
class _Windows:
    """The columns found so far, by name, and the schema of the input with them."""

    schema: pl.Schema
    columns: dict[str, _Column] = field(default_factory=dict)
    known: dict[str, str] = field(default_factory=dict)

    def rewritten(self, expressions: Sequence[pl.Expr], *, names: bool) -> tuple[pl.Expr, ...]:
        """The expressions over columns that look around for them; each keeps its name."""
        result = []
        for expression in expressions:
            if row_wise(tree(expression), self.schema):
                result.append(expression)
                continue
            for one in _expanded(_readable(expression), self.schema):
                rewritten = from_tree(self.rewrite(one))
                result.append(rewritten.alias(from_tree(one).meta.output_name()) if names else rewritten)
        return tuple(result)

    def rewrite(self, node: Tree) -> Tree:
        """A row-wise tree of the same values."""
        if row_wise(node, self.schema):
            return node
        found = self._column(node)
        if found is not None:
            return found
        changed = rebuilt(node, self.rewrite)
        if changed is not None:
            return changed
        if from_tree(node).meta.is_length_preserving():
            return self._new(node, Around, "whole")
        raise _AsAWhole

    def aggregated(self, expression: pl.Expr) -> pl.Expr:
        """The aggregate over columns for what looks around in its operands, as `(x - x.mean()).abs().max()`."""
        node = _readable(expression)
        return from_tree(self._within(node)).alias(expression.meta.output_name())

    def _within(self, node: Tree) -> Tree:
        """An aggregate of the same value, of operands that each rank has for its rows, where that is possible."""
        try:
            return self._of_operands(spelled_out(node, self.schema))
        except _AsAWhole:
            return node

    def _of_operands(self, node: Tree) -> Tree:
        if kind(node) == "Literal" or splits(node, self.schema):
            return node
        if kind(node) == "Filter":
            inside = node["Filter"]
            return {"Filter": {"input": self._of_operands(inside["input"]), "by": self.rewrite(inside["by"])}}
        changed = rebuilt(node, self._of_operands) if is_scalar(from_tree(node)) else None
        if changed is not None:
            return changed
        if kind(node) == "Agg" and kind(node["Agg"]) != "Implode":
            return {"Agg": on_operand(node["Agg"], self._of_operand)}
        if kind(node) == "Function" and is_scalar(from_tree(node)):
            first, *more = node["Function"]["input"]
            return {"Function": {**node["Function"], "input": [self._of_operand(first), *more]}}
        return node

    def _of_operand(self, node: Tree) -> Tree:
        return self._of_operands(node) if kind(node) == "Filter" else self.rewrite(node)

    def _column(self, node: Tree) -> Tree | None:
        """A column that stands for the tree, where it is of a kind that has an exchange of its own."""
        if is_scalar(from_tree(node)):
            if from_tree(node).meta.root_names() == [] and "Len" not in json.dumps(node):
                raise _AsAWhole
            if self._dtype(node).is_nested() and not self._is_short_list(node):
                return None
            return self._new(self._within(node), Scalars, "scalars")
        if kind(node) == "Over":
            return self._over(node["Over"], node)
        if kind(node) == "Rolling":
            return self._rolling(node["Rolling"], node)
        return self._function(node) if kind(node) == "Function" else None

    def _is_short_list(self, node: Tree) -> bool:
        """A list of other rows than the table's, as `x.unique().implode()`."""
        implodes = kind(node) == "Agg" and kind(node["Agg"]) == "Implode"
        return implodes and not row_wise(node["Agg"]["Implode"]["input"], self.schema)

    def _rolling(self, rolling: Any, node: Tree) -> Tree | None:
        index = rolling["index_column"]
        if not row_wise(index, self.schema) or reads_by_selector(node) or '"Over"' in json.dumps(node):
            return None
        period, offset = _duration(rolling["period"]), _duration(rolling["offset"])
        return self._new(
            node,
            lambda source, exprs: Rolled(source, exprs, from_tree(index), period, offset),
            f"rolling {json.dumps(index)} {period} {offset}",
        )

    def _over(self, over: Any, node: Tree) -> Tree | None:
        order = [over["order_by"][0]] if over["order_by"] else []
        parts = [*over["partition_by"], *order]
        if over["mapping"] == "Explode" or reads_by_selector(node):
            return None
        if order and row_wise(order[0], self.schema) and all(kind(part) == "Literal" for part in over["partition_by"]):
            return self._in_order(node, order[0], over["order_by"][1])
        if not over["partition_by"] or not all(row_wise(part, self.schema) for part in parts):
            return None
        return self._by_key(node, over["partition_by"])

    def _in_order(self, node: Tree, by: Tree, options: Mapping[str, Any]) -> Tree:
        flags = options["descending"], options["nulls_last"]
        return self._new(
            node, lambda source, exprs: InOrder(source, exprs, (from_tree(by),), *flags), f"order {by} {flags}"
        )

    def _by_key(self, node: Tree, keys: Sequence[Tree]) -> Tree | None:
        expressions = tuple(from_tree(key) for key in keys)
        if not root_columns(expressions, self.schema):
            return None
        return self._new(
            node, lambda source, exprs: ByKey(source, exprs, expressions), f"keys {json.dumps(list(keys))}"
        )

    def _function(self, node: Tree) -> Tree | None:
        called, inputs = node["Function"]["function"], node["Function"]["input"]
        name, options = (called, None) if isinstance(called, str) else next(iter(called.items()))
        reach = _reach(name, options, inputs)
        carried = name in _CUMULATIVE or (
            name == "FillNullWithStrategy" and isinstance(options, dict) and None in options.values()
        )
        equal = name == "Boolean" and options in _OF_EQUAL_VALUES
        if reach is None and not carried and not equal:
            return self._of_places(name, options, node) or self._spelled(name, options, inputs)
        child = self.rewrite(inputs[0])
        others = [one if kind(one) == "Literal" else self.rewrite(one) for one in inputs[1:]]
        node = {"Function": {**node["Function"], "input": [child, *others]}}
        if equal:
            return self._by_key(node, [child])
        if reach is None:
            return self._new(node, Carried, "carried")
        before, after = reach
        return self._new(node, lambda source, exprs: Nearby(source, exprs, before, after), f"nearby {before} {after}")

    def _of_places(self, name: str, options: Any, node: Tree) -> Tree | None:
        """Ranks, row numbers, and what lies between two values."""
        function = node["Function"]
        if name == "Range":
            numbers = kind(options) == "IntRange" and options["IntRange"]["step"] == 1
            start = _integer(function["input"][0]) if numbers else None
            if start is None or not _is_len_plus(function["input"][1], start):
                return None
            if start == 0:
                return self._new(node, Numbered, "numbered")
            dtype = self._dtype(node)
            return self.rewrite(tree((pl.int_range(pl.len()) + start).cast(dtype)))
        if name == "QCut":
            over = {"Function": {**function, "input": [self.rewrite(function["input"][0])]}}
            return self._new(over, Binned, "binned")
        if name in _WEIGHTED:
            over = {"Function": {**function, "input": [self.rewrite(child) for child in function["input"]]}}
            return self._new(over, _WEIGHTED[name], f"weighted {_WEIGHTED[name].__name__}")
        if name == "RollingExprBy":
            over = {"Function": {**function, "input": [self.rewrite(child) for child in function["input"]]}}
            window = _duration(options["options"]["window_size"])
            return self._new(over, lambda source, exprs: InTime(source, exprs, window), f"in time {window}")
        # Ties that are to be in Polars' random order of a seed are Polars' alone.
        ranks = name == "Rank" and (options["options"]["method"] != "Random" or options["seed"] is None)
        if not ranks and name not in ("Interpolate", "InterpolateBy"):
            return None
        over = {"Function": {**function, "input": [self.rewrite(child) for child in function["input"]]}}
        if ranks:
            return self._new(over, Ranked, "ranked")
        dtype = self._dtype(over["Function"]["input"][0])
        return self._new(over, Interpolated, "interpolated") if dtype.is_numeric() or dtype.is_temporal() else None

    def _spelled(self, name: str, options: Any, inputs: Sequence[Tree]) -> Tree | None:
        """What other expressions say: `fill_null(strategy="mean")`, `pct_change()`."""
        if name == "FillNullWithStrategy" and options in ("Min", "Max", "Mean"):
            values = from_tree(self.rewrite(inputs[0]))
            with_value = getattr(values, options.lower())().cast(self._dtype(tree(values)))
            return self.rewrite(tree(pl.when(values.is_null()).then(with_value).otherwise(values)))
        if name == "RLEID":
            values = from_tree(self.rewrite(inputs[0]))
            begins = values.ne_missing(values.shift(1)) & (pl.int_range(pl.len()) > 0)
            return self.rewrite(tree(begins.cast(pl.get_index_type()).cum_sum()))
        n = _integer(inputs[1]) if name == "PctChange" else None
        if n is None:
            return None
        child = from_tree(self.rewrite(inputs[0]))
        before = from_tree(self.rewrite(tree(child.shift(n))))
        single = self._dtype(tree(child)) == pl.Float32
        return tree(((child - before) / before).cast(pl.Float32 if single else pl.Float64))

    def _new(self, node: Tree, make: Callable[[Node, tuple[pl.Expr, ...]], Node], group: str) -> Tree:
        key = json.dumps(node)
        if key not in self.known:
            name = f"__around{len(self.columns)}"
            expression = from_tree(node).alias(name)
            read = root_columns([expression], self.schema)
            level = 1 + max((self.columns[other].level for other in read if other in self.columns), default=0)
            dtype = self._dtype(node)
            self.columns[name] = _Column(expression, level, make, group)
            self.schema = pl.Schema({**self.schema, name: dtype})
            self.known[key] = name
        return {"Column": self.known[key]}

    def over(self, source: Node) -> Node:
        """The input with all columns, in as few nodes as their dependencies allow."""
        groups: dict[tuple[int, str], list[_Column]] = {}
        for column in self.columns.values():
            groups.setdefault((column.level, column.group), []).append(column)
        for _, columns in sorted(groups.items(), key=lambda item: item[0]):
            source = columns[0].make(source, tuple(column.expression for column in columns))
        return source

    def _dtype(self, node: Tree) -> pl.DataType:
        return next(iter(pl.LazyFrame(schema=self.schema).select(from_tree(node)).collect_schema().values()))


def _reach(name: str, options: Any, inputs: Sequence[Tree]) -> tuple[int, int] | None:
    """How many rows before and after its own a function looks at, where that is known."""
    if name in ("Shift", "ShiftAndFill") or (name == "Diff" and options == "Ignore"):
        n = _integer(inputs[1])
        fills = name != "ShiftAndFill" or kind(inputs[2]) == "Literal"
        return None if n is None or not fills else (max(n, 0), max(-n, 0))
    if name in ("PeakMin", "PeakMax"):
        return 1, 1
    if name == "RollingExpr":
        window = options["options"]
        by_chance = options["function"] == "Rank" and window["fn_params"]["Rank"]["method"] == "Random"
        what = options["function"] if isinstance(options["function"], str) else next(iter(options["function"]))
        if what not in _ROLLING or window["weights"] is not None or by_chance:
            return None
        rows = int(window["window_size"]) - 1
        return (rows, rows) if window["center"] else (rows, 0)
    if name == "FillNullWithStrategy" and isinstance(options, dict):
        strategy, limit = next(iter(options.items()))
        if limit is not None:
            return (limit, 0) if strategy == "Forward" else (0, limit)
    return None


def _duration(parts: Mapping[str, Any]) -> str:
    """A duration in Polars' words."""
    sign = "-" if parts["negative"] else ""
    if parts["parsed_int"]:
        return f"{sign}{parts['nsecs']}i"
    units = {"mo": parts["months"], "w": parts["weeks"], "d": parts["days"], "ns": parts["nsecs"]}
    return sign + ("".join(f"{count}{unit}" for unit, count in units.items() if count) or "0ns")


def _is_len_plus(node: Tree, start: int) -> bool:
    """Whether an expression is the number of rows and `start` more."""
    if kind(node) == "Cast":
        return _is_len_plus(node["Cast"]["expr"], start)
    if start == 0 or kind(node) != "BinaryExpr" or node["BinaryExpr"]["op"] != "Plus":
        return start == 0 and bool(node == "Len")
    sides = node["BinaryExpr"]["left"], node["BinaryExpr"]["right"]
    return "Len" in sides and start in (_integer(side) for side in sides if side != "Len")


def _integer(node: Tree) -> int | None:
    value = from_tree(node) if kind(node) == "Literal" else None
    if value is None:
        return None
    number = pl.select(value).item()
    return number if isinstance(number, int) else None


def _readable(expression: pl.Expr) -> Tree:
    """The expression's tree, which can be made an expression again."""
    node = tree(expression)
    text = json.dumps(node)
    if is_abridged(node) or '"Opaque"' in text or '"AnonymousFunction"' in text:
        raise _AsAWhole
    return node


def _expanded(node: Tree, schema: pl.Schema) -> list[Tree]:
    """One tree for each column that the tree's selector, which may stand in it several times, selects."""
    if not reads_by_selector(node):
        return [node]
    selectors = list(_selectors(node))
    if not selectors or any(each != selectors[0] for each in selectors):
        raise _AsAWhole
    names = pl.LazyFrame(schema=schema).select(from_tree(selectors[0])).collect_schema()
    text, selector = json.dumps(node), json.dumps(selectors[0])
    return [json.loads(text.replace(selector, json.dumps({"Column": name}))) for name in names]


def _selectors(node: Tree) -> list[Tree]:
    if isinstance(node, dict):
        if set(node) == {"Selector"}:
            return [node]
        return [found for child in node.values() for found in _selectors(child)]
    return [found for child in node for found in _selectors(child)] if isinstance(node, list) else []
