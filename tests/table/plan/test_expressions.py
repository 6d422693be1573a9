"""What Polars expressions need of other rows is told apart, and never underestimated."""

from __future__ import annotations

import threading

import polars as pl
import pytest
from polars import selectors as cs

from deeprc.table.partial.decompose import decompose
from deeprc.table.plan.expressions import as_expressions, is_row_wise, one_by_one, root_columns
from tests.table.data import SCHEMA

x, g = pl.col("x"), pl.col("g")
ROW_WISE = [
    x + 1,
    (x * 2).alias("y"),
    pl.lit(1),
    pl.all().is_null(),
    cs.numeric().cast(pl.Float32),
    g.str.to_uppercase(),
    g.is_in(["ant", "bee"]),
    pl.col("x").is_infinite(),
    pl.col("k").is_in(pl.Series([1, 2])),
    pl.lit(3).is_in(pl.col("l")),
    pl.when(x > 0).then(x).otherwise(None),
    x.fill_null(0),
    x.clip(0, pl.col("f")),
    pl.col("t").dt.truncate("1h"),
    pl.col("l").list.eval(pl.element().sum()),
    pl.struct("x", "g"),
    pl.concat_str("g", "g"),
    pl.sum_horizontal("x", "k"),
    pl.coalesce("x", "f"),
    g.replace_strict({"ant": 1}, default=0),
    pl.col("k").map_elements(lambda value: value, return_dtype=pl.Int64),
    pl.col("x").name.suffix("_new"),
    pl.col("s").struct.field("a"),
    pl.col("s").struct.with_fields(a=pl.field("a") + 1, b=pl.col("k")),
    g.cast(pl.Categorical),
]
LOOK_AROUND = [
    x.sum(),
    x - x.mean(),
    x.fill_null(x.mean()),
    x.shift(1),
    x.diff(),
    x.cum_sum(),
    x.rank(),
    x.sum().over("g"),
    x.fill_null(strategy="forward"),
    x.interpolate(),
    x.rolling_mean(3),
    x.is_duplicated(),
    x.is_first_distinct(),
    x.reverse(),
    x.sort(),
    x.unique(),
    x.head(2),
    x.explode(),
    x.drop_nulls(),
    x.filter(x > 1),
    pl.len(),
    pl.int_range(pl.len()),
    pl.lit(pl.Series([1, 2])),
    pl.col("k").is_in(pl.col("i")),
    pl.col("k").is_in(pl.col("i").implode()),
    pl.when(x == x.max()).then(1),
    pl.all().max(),
    pl.struct(x.sum(), "g"),
    x.map_batches(lambda series: series.cum_sum()),
    g.str.to_date(),
    pl.col("k").cumulative_eval(pl.element().sum()),
    pl.col("s").struct.with_fields(a=pl.field("a").cum_sum()),
    pl.col("s").struct.with_fields(b=x.sum()),
]


@pytest.mark.parametrize("expression", ROW_WISE, ids=str)
def test_row_wise(expression: pl.Expr) -> None:
    """These run on each part alone."""
    assert is_row_wise(expression, SCHEMA)


@pytest.mark.parametrize("expression", LOOK_AROUND, ids=str)
def test_not_row_wise(expression: pl.Expr) -> None:
    """These give another answer on a part, and are computed over the whole table."""
    assert not is_row_wise(expression, SCHEMA)


def test_long_literals_and_functions_that_cannot_be_read() -> None:
    """A long list to search costs little; what can't be serialised is taken to need everything."""
    lock = threading.Lock()
    opaque = pl.col("k").map_elements(lambda value: (lock, value)[1], return_dtype=pl.Int64)
    long = pl.col("k").is_in(pl.Series(range(100_000)))
    assert is_row_wise(long, SCHEMA)
    assert root_columns([long], SCHEMA) == {"k"}
    assert decompose([long.sum().alias("n")], SCHEMA, pl.Schema({"n": pl.UInt32()}), grouped=True) is None
    not_a_number = (x - float("nan")).sum().alias("n")
    assert decompose([not_a_number], SCHEMA, pl.Schema({"n": pl.Float64()}), grouped=True) is None
    assert not is_row_wise(opaque, SCHEMA)
    assert root_columns([opaque], SCHEMA) == set(SCHEMA)


def test_columns_that_are_read() -> None:
    """Pattern and type selections count as all columns."""
    assert root_columns([x + pl.col("k"), pl.len()], SCHEMA) == {"x", "k"}
    assert root_columns([cs.numeric().sum()], SCHEMA) == set(SCHEMA)
    assert root_columns([pl.lit("Selector")], SCHEMA) == set()


def test_arguments_read_as_polars_reads_them() -> None:
    """Strings are columns, other values literals, lists are flat, names are aliases."""
    given = as_expressions(["a", ["b", pl.col("c")], 1], {"d": "a"})
    assert [expression.meta.output_name() for expression in given] == ["a", "b", "c", "literal", "d"]


def test_several_named_columns_are_taken_one_by_one() -> None:
    """So that each aggregate can begin before the exchange; a pattern depends on the table and stays whole."""
    for several, single in (
        (pl.col("a", "b").mean(), [pl.col("a").mean(), pl.col("b").mean()]),
        ((pl.col("a", "b") * 2).sum().name.suffix("_x"), [(pl.col(n) * 2).sum().name.suffix("_x") for n in "ab"]),
        (pl.all().sum(), [pl.all().sum()]),
        (pl.col("a", "b").sum() + pl.col("c", "d").sum(), [pl.col("a", "b").sum() + pl.col("c", "d").sum()]),
    ):
        found = one_by_one(several)
        assert len(found) == len(single)
        assert all(one.meta.eq(other) for one, other in zip(found, single, strict=True))
