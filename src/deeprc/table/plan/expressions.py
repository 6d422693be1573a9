"""What a Polars expression needs of the rows around it: the question that decides whether it may run per part.

An expression is row-wise when each of its output rows depends on one input row alone, so that a part of a
table gives its part of the answer. Polars serialises an expression as a tree; the kinds of node listed here
are known to be row-wise, a function is when Polars says so, and everything else is taken not to be: such an
expression is evaluated over the whole table, which is slower and never wrong.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import polars as pl

from deeprc.table.plan.floats import dumped

Tree = Any

_COLUMN = {"Column": ""}
_LONG = 50_000
_LONG_BYTES = re.compile(rf"\[[\d,]{{{_LONG},}}\]")
_LEFT_OUT = "bytes left out"
_LEAVES = frozenset({"Column", "Selector", "Element", "Field"})
_CHILDREN: Mapping[str, tuple[str, ...]] = {
    "BinaryExpr": ("left", "right"),
    "Ternary": ("predicate", "truthy", "falsy"),
    "Cast": ("expr",),
    "RenameAlias": ("expr",),
    "Eval": ("expr",),
    "StructEval": ("expr",),
}


_ROW_BY_ROW = {name: _CHILDREN[name] for name in ("BinaryExpr", "Ternary", "Cast", "RenameAlias")}


def as_expressions(inputs: Iterable[Any], named: Mapping[str, Any] | None = None) -> tuple[pl.Expr, ...]:
    """Read arguments as Polars does: a string is a column, lists are flattened, other values are literals."""
    expressions: list[pl.Expr] = []
    for value in inputs:
        if isinstance(value, list | tuple | Iterator):
            expressions.extend(as_expressions(value))
        else:
            expressions.append(_as_expression(value))
    expressions.extend(_as_expression(value).alias(name) for name, value in (named or {}).items())
    return tuple(expressions)


def _as_expression(value: Any) -> pl.Expr:
    if isinstance(value, pl.Expr):
        return value
    return pl.col(value) if isinstance(value, str) else pl.lit(value)


def tree(expression: pl.Expr) -> Tree:
    """The expression as Polars serialises it: nested dicts, one key each, that name the kind of node.

    The bytes of long literals are left out. What can't be serialised, as a function that holds a lock, is "Opaque".
    """
    try:
        text = expression.meta.serialize(format="json")
    except pl.exceptions.PolarsError:
        return {"Opaque": None}
    return json.loads(_LONG_BYTES.sub(f'["{_LEFT_OUT}"]', text) if len(text) > _LONG else text)


def kind(node: Tree) -> str:
    return node if isinstance(node, str) else str(next(iter(node)))


def plain_column(expression: pl.Expr) -> str | None:
    """The name of the column, where the expression is a column and nothing else."""
    return expression.meta.output_name() if expression.meta.is_column() else None


def is_row_wise(expression: pl.Expr, schema: pl.Schema) -> bool:
    """Whether a part of the rows gives its part of the answer, with one output row for each input row."""
    return row_wise(tree(expression), schema)


def row_wise(node: Tree, schema: pl.Schema) -> bool:
    """As `is_row_wise`, of a tree."""
    node_kind = kind(node)
    if node_kind in _LEAVES:
        return True
    if node_kind == "Literal":
        return "Series" not in node["Literal"]
    if node_kind == "Alias":
        return row_wise(node["Alias"][0], schema)
    if node_kind == "KeepName":
        return row_wise(node["KeepName"], schema)
    if node_kind == "Eval" and kind(node["Eval"]["variant"]) == "Cumulative":
        return False
    if node_kind == "StructEval" and not all(row_wise(field, schema) for field in node["StructEval"]["evaluation"]):
        return False
    if node_kind in _CHILDREN:
        return all(row_wise(node[node_kind][child], schema) for child in _CHILDREN[node_kind])
    if node_kind == "AnonymousFunction":
        flags = str(node[node_kind]["options"]["flags"])
        inputs = node[node_kind]["input"]
        return _all_set(flags) and all(row_wise(child, schema) for child in inputs)
    if node_kind == "Function":
        return _function_is_row_wise(node["Function"], schema)
    return False


def rebuilt(node: Tree, change: Callable[[Tree], Tree]) -> Tree | None:
    """The tree with its operands changed, where it is itself row-wise, whatever they are; else None."""
    name = kind(node)
    if name == "Alias":
        return {"Alias": [change(node["Alias"][0]), node["Alias"][1]]}
    if name in _ROW_BY_ROW:
        return {name: {**node[name], **{child: change(node[name][child]) for child in _ROW_BY_ROW[name]}}}
    if name == "Function" and separable(node[name]) and not _searches_rows(node[name]):
        return {name: {**node[name], "input": [change(child) for child in node[name]["input"]]}}
    return None


def _searches_rows(function: Mapping[str, Any]) -> bool:
    """`x.is_in(y)` of the rows of y, rather than of a list."""
    searched = function["input"][1] if _is_search(function) else None
    return searched is not None and not (kind(searched) == "Agg" and kind(searched["Agg"]) == "Implode")


def splits(node: Tree, schema: pl.Schema) -> bool:
    """Whether a part of the rows gives its part of the values: row-wise, or that and some values left out."""
    if kind(node) == "Filter":
        return splits(node["Filter"]["input"], schema) and row_wise(node["Filter"]["by"], schema)
    if kind(node) == "Function" and node["Function"]["function"] in ("DropNulls", "DropNans"):
        return splits(node["Function"]["input"][0], schema)
    return row_wise(node, schema)


def dtype_of(node: Tree, schema: pl.Schema) -> pl.DataType:
    """The type that the tree gives."""
    return next(iter(pl.LazyFrame(schema=schema).select(from_tree(node)).collect_schema().values()))


def _all_set(flags: str) -> bool:
    names = {name.strip() for name in flags.split("|")}
    return {"ROW_SEPARABLE", "LENGTH_PRESERVING"} <= names


def _function_is_row_wise(function: Mapping[str, Any], schema: pl.Schema) -> bool:
    inputs = list(function["input"])
    if _is_search(function):
        # `x.is_in(y)`: a literal or a list column is searched by each row, a flat column by all of them.
        if kind(inputs[1]) == "Literal":
            inputs = inputs[:1]
        elif not _is_nested(inputs[1], schema):
            return False
    return separable(function) and all(row_wise(child, schema) for child in inputs)


def _is_search(function: Mapping[str, Any]) -> bool:
    """Whether it is `is_in`."""
    called = function["function"]
    return isinstance(called, dict) and "Boolean" in called and kind(called["Boolean"]) == "IsIn"


def _is_nested(node: Tree, schema: pl.Schema) -> bool:
    try:
        dtype = next(iter(pl.LazyFrame(schema=schema).select(from_tree(node)).collect_schema().values()))
    except pl.exceptions.PolarsError:
        return False
    return isinstance(dtype, pl.List | pl.Array)


def separable(function: Mapping[str, Any]) -> bool:
    """Ask Polars about the function itself: its inputs replaced by columns, its literal arguments kept."""
    inputs = [child if kind(child) == "Literal" and not is_abridged(child) else _COLUMN for child in function["input"]]
    try:
        expression = from_tree({"Function": {**function, "input": inputs}})
        if inputs and all(kind(child) == "Literal" for child in inputs):
            return bool(expression.meta.is_row_separable())
        return bool(expression.meta.is_row_separable() and expression.meta.is_length_preserving())
    except pl.exceptions.PolarsError:
        return False


def from_tree(node: Tree) -> pl.Expr:
    """The expression that `tree` was given."""
    return pl.Expr.deserialize(io.StringIO(dumped(node)), format="json")


def is_scalar(expression: pl.Expr) -> bool:
    """Whether the expression gives one value for the whole table: an aggregate or a literal."""
    try:
        return bool(expression.meta.is_scalar())
    except pl.exceptions.PolarsError:
        return False


def root_columns(expressions: Iterable[pl.Expr], schema: pl.Schema) -> frozenset[str]:
    """Columns that the expressions read; all of them where one selects by pattern or type."""
    names: set[str] = set()
    for expression in expressions:
        if reads_by_selector(tree(expression)):
            return frozenset(schema)
        names.update(expression.meta.root_names())
    return frozenset(names & set(schema))


def reads_by_selector(node: Tree) -> bool:
    """Whether which columns are read depends on the table: `pl.all()`, a pattern, a type; or cannot be told."""
    text = json.dumps(_without_literals(node))
    return '"Selector"' in text or '"Opaque"' in text


def one_by_one(expression: pl.Expr) -> list[pl.Expr]:
    """`pl.col("a", "b").mean()` as the mean of a and that of b, which can be told apart; any other as it is."""
    node = tree(expression)
    text = json.dumps(node)
    chosen = re.findall(r'\{"Selector": (\{"ByName": \{"names": \[[^][]*\], "strict": true\}\})\}', text)
    if len(chosen) != 1 or text.count('"Selector"') != 1 or is_abridged(node):
        return [expression]
    columns = json.loads(chosen[0])["ByName"]["names"]
    parts = [text.replace(f'{{"Selector": {chosen[0]}}}', json.dumps({"Column": name})) for name in columns]
    return [from_tree(json.loads(part)) for part in parts]


def is_abridged(node: Tree) -> bool:
    """Whether bytes were left out, so that the tree can't be made an expression again."""
    return f'"{_LEFT_OUT}"' in json.dumps(node)


def _without_literals(node: Tree) -> Tree:
    if isinstance(node, dict):
        return {key: _without_literals(child) for key, child in node.items() if key != "Literal"}
    if isinstance(node, list):
        return [_without_literals(child) for child in node if isinstance(child, dict | list)]
    return node
