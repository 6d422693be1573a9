"""Several columns of other rows than the table's, as `select(x.sort(), y.unique())`: a table of each, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from deeprc.table.plan.expressions import is_scalar, row_wise, tree
from deeprc.table.plan.nodes import Node, Select, WithColumns
from deeprc.table.plan.reshaped import Lower, reshaped
from deeprc.table.plan.row_nodes import Beside


def side_by_side(step: Select | WithColumns, columns: Sequence[pl.Expr], lower: Lower) -> Node | None:
    """The plan of a step whose expressions, one a column, are some of other rows; None where none is.

    Args:
        lower: takes apart what in a step looks at other rows.
    """
    apart: dict[str, Node] = {}
    rest: list[pl.Expr] = []
    for column in columns:
        plan = _of_other_rows(step, column, lower)
        if plan is None:
            rest.append(column)
        else:
            apart[column.meta.output_name()] = plan
    if not apart:
        return None
    if isinstance(step, Select):
        tables = [*([lower(Select(step.input, tuple(rest)))] if rest else []), *apart.values()]
        return Select(Beside(tuple(tables), broadcast=True), tuple(pl.col(name) for name in step.schema))
    base = lower(WithColumns(step.input, tuple(rest))) if rest else step.input
    names = {name: f"__beside{index}" for index, name in enumerate(apart)}
    tables = [base, *(Select(plan, (pl.col(name).alias(names[name]),)) for name, plan in apart.items())]
    chosen = tuple(pl.col(names.get(name, name)).alias(name) for name in step.schema)
    return Select(Beside(tuple(tables), broadcast=True), chosen)


def _of_other_rows(step: Select | WithColumns, column: pl.Expr, lower: Lower) -> Node | None:
    if row_wise(tree(column), step.input.schema) or is_scalar(column):
        return None
    return reshaped(Select(step.input, (column,)), lower)
