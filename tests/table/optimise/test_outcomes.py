"""Row groups that a filter leaves out hold no row that it keeps: random predicates over types, nulls, NaN, writers."""

from __future__ import annotations

import datetime as dt
import decimal
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from pyarrow import parquet

from deeprc.communicator import SoloCommunicator
from deeprc.table.files.portions import Files
from deeprc.table.files.reading import Reader
from deeprc.table.optimise.skipping import Skipping, skipping

GROUP_ROWS, GROUPS = 5, 12
DAY = dt.datetime(1969, 12, 29)
BERLIN = ZoneInfo("Europe/Berlin")
NAN = float("nan")
# Of each column its type and the n-th of its values, which grow with n, but for floats now and then.
COLUMNS: dict[str, tuple[pl.DataType, Callable[[int], Any]]] = {
    "i": (pl.Int64(), lambda n: n - 6),
    "i8": (pl.Int8(), lambda n: n * 20 - 128),
    "u64": (pl.UInt64(), lambda n: n * 10**18 + 2**60),
    "x": (pl.Float64(), lambda n: [n / 2 - 2, NAN, -0.0, float("inf")][n % 17 if n % 17 < 4 else 0]),
    "f": (pl.Float32(), lambda n: n / 10),
    "d": (pl.Date(), lambda n: DAY.date() + dt.timedelta(days=100 * n)),
    "t": (pl.Datetime("ms"), lambda n: DAY + dt.timedelta(hours=1000 * n)),
    "ns": (pl.Datetime("ns"), lambda n: DAY + dt.timedelta(microseconds=n)),
    "z": (pl.Datetime("us", "Europe/Berlin"), lambda n: DAY.replace(tzinfo=BERLIN) + dt.timedelta(hours=7 * n)),
    "du": (pl.Duration("us"), lambda n: dt.timedelta(minutes=n - 5)),
    "tm": (pl.Time(), lambda n: dt.time(n, 30)),
    "m": (pl.Decimal(12, 2), lambda n: decimal.Decimal(n * 25 - 60) / 100),
    "s": (pl.String(), lambda n: ["", "a" * 70 + chr(96 + n), "ä" * 33 + str(n)][n % 3] if n < 4 else f"k{n:02}é"),
    "b": (pl.Boolean(), lambda n: n > 5),
}
SCHEMA = pl.Schema({name: dtype for name, (dtype, _) in COLUMNS.items()})


def rows(seed: int) -> pl.DataFrame:
    """Groups of neighbouring values, of a single one, of nulls alone, in no order."""
    dice = random.Random(seed)
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for _ in range(GROUPS):
        for name, (_, value) in COLUMNS.items():
            first, spread = dice.randrange(10), dice.choice([1, 1, 3, 12])
            missing = dice.choice([0, 0, 0.3, 1.1])
            values = [value(min(first + dice.randrange(spread), 12)) for _ in range(GROUP_ROWS)]
            columns[name] += [None if dice.random() < missing else each for each in values]
    return pl.DataFrame(columns, schema=SCHEMA)


def _leaf(draw: st.DrawFn) -> pl.Expr:
    name = draw(st.sampled_from(list(COLUMNS)))
    column, dtype = pl.col(name), SCHEMA[name]
    # Values between those of the table, and beyond them, too.
    some = [pl.lit(COLUMNS[name][1](draw(st.integers(0, 12))), dtype) for _ in range(3)]
    kind = draw(st.sampled_from(["compare", "compare", "compare", "between", "in", "null", "of type"]))
    if kind == "compare":
        op = draw(
            st.sampled_from(["__gt__", "__ge__", "__lt__", "__le__", "__eq__", "__ne__", "eq_missing", "ne_missing"])
        )
        swapped = draw(st.booleans()) and op.startswith("__")
        result: pl.Expr = getattr(some[0], op)(column) if swapped else getattr(column, op)(some[0])
        return result
    if kind == "between":
        return column.is_between(some[0], some[1], draw(st.sampled_from(["both", "left", "right", "none"])))
    if kind == "in":
        values = [COLUMNS[name][1](draw(st.integers(0, 12))) for _ in range(draw(st.integers(0, 3)))]
        values += [None] * draw(st.integers(0, 1))
        return column.is_in(pl.lit(pl.Series(values, dtype=dtype)).implode(), nulls_equal=draw(st.booleans()))
    if kind == "null":
        return column.is_null() if draw(st.booleans()) else column.is_not_null()
    return draw(st.sampled_from(OF_TYPES))


i, i8, x, f, d, t, z, s, b = (pl.col(name) for name in ("i", "i8", "x", "f", "d", "t", "z", "s", "b"))
OF_TYPES = [
    x.is_nan(),
    x.is_not_nan(),
    x.is_finite(),
    x.is_infinite(),
    x > NAN,
    x <= float("inf"),
    x == NAN,
    x.is_in([NAN, 1.0]),
    f > 0.3,
    f.is_in([0.1, 0.2]),
    i > 1.5,
    i8 < 300,
    d.dt.year() == 1970,
    t.dt.year() >= 1971,
    t.dt.date() == dt.date(1969, 12, 29),
    t > dt.datetime(1970, 1, 1, 0, 0, 0, 500),
    z < dt.datetime(1970, 1, 1, tzinfo=BERLIN),
    z >= pl.lit(dt.datetime(1970, 1, 1)).dt.replace_time_zone("Europe/Berlin"),
    z.dt.year() == 1970,
    s.str.starts_with("k0"),
    s.str.starts_with("a" * 66),
    s.str.starts_with("ä" * 32),
    s.str.starts_with(""),
    s > "ä" * 32,
    s < "a" * 65,
    b,
    b.is_in([True]),
    i > x,
    i % 2 == 0,
    pl.lit(value=False),
    pl.lit(None, pl.Boolean),
    i.is_in(list(range(4, 300))),
    s.is_in(["k05é", "k09é", None]),
    d.cast(pl.Datetime) > dt.datetime(1971, 1, 1),
]


@st.composite
def predicates(draw: st.DrawFn, depth: int = 3) -> pl.Expr:
    """Up to three levels of and, or, not over comparisons and other conditions."""
    kind = draw(st.sampled_from(["and", "or", "not", "all", "any", "leaf", "leaf", "leaf"])) if depth else "leaf"
    if kind == "leaf":
        return _leaf(draw)
    if kind == "not":
        return ~draw(predicates(depth - 1))
    left, right = draw(predicates(depth - 1)), draw(predicates(depth - 1))
    if kind in ("all", "any"):
        return (pl.all_horizontal if kind == "all" else pl.any_horizontal)(left, right)
    return left & right if kind == "and" else left | right


def _files(path: Path) -> Files:
    return Files(Reader("PARQUET", pl.scan_parquet, {}), (str(path),), SCHEMA, None, "rows")


def _read(less: Skipping) -> pl.DataFrame:
    """What is left, whole."""
    return less.load(SoloCommunicator()).collect(optimizations=pl.QueryOptFlags.none())


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[pl.DataFrame, Path]]:
    """Tables of random groups, each by both writers: Polars cuts text, Arrow leaves long text without statistics."""
    folder = tmp_path_factory.mktemp("groups")
    found = []
    for seed in range(6):
        table = rows(seed)
        table.write_parquet(folder / f"polars{seed}.parquet", row_group_size=GROUP_ROWS)
        parquet.write_table(table.to_arrow(), folder / f"arrow{seed}.parquet", row_group_size=GROUP_ROWS)
        found += [(table, folder / f"{writer}{seed}.parquet") for writer in ("polars", "arrow")]
    return found


EXAMPLES = 250


def test_nothing_is_left_out_that_a_filter_keeps(written: list[tuple[pl.DataFrame, Path]]) -> None:
    """And in a good part of all examples something is left out."""
    left_out = []

    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.lists(predicates(), min_size=1, max_size=2), st.sampled_from(written))
    def check(conditions: list[pl.Expr], at: tuple[pl.DataFrame, Path]) -> None:
        table, path = at
        less = skipping(_files(path), conditions)
        kept = table if less is None else _read(less)
        assert_frame_equal(kept.filter(*conditions), table.filter(*conditions))
        left_out.append(table.height - kept.height)

    check()
    assert sum(1 for count in left_out if count) > EXAMPLES / 4


EXACT = {
    "whole numbers": i.is_between(0, 1),
    "small": i8 == 12,
    "unsigned": pl.col("u64") >= 10**19,
    "floats": f < 0.15,
    "floats that are not NaN": (x > 2.9) & x.is_finite(),
    "floats between": x.is_between(1.2, 1.7),
    "dates": d == dt.date(1969, 12, 29),
    "years": d.dt.year() == 1972,
    "milliseconds": t < dt.datetime(1969, 12, 30),
    "nanoseconds": pl.col("ns") <= DAY,
    "zones": z > dt.datetime(1970, 1, 1, 12, tzinfo=BERLIN),
    "durations": pl.col("du") < dt.timedelta(minutes=-4),
    "times": pl.col("tm") > dt.time(11, 45),
    "decimals": pl.col("m") <= decimal.Decimal("-0.60"),
    "text": s == "k12é",
    "start": s.str.starts_with("k12"),
    "list": i.is_in([-6, 6]),
    "nulls": i.is_null(),
    "no nulls": i.is_not_null(),
    "truths": b,
    "not": ~(b | b.is_null()),
    "either": (i < -5) | (i > 5),
    "computed constant": d > pl.date(1972, 12, 1),
}
UNTOLD = {"floats that are not NaN": 2, "floats between": 1}


@pytest.mark.parametrize("name", EXACT)
def test_each_kind_of_condition_leaves_groups_out(name: str, tmp_path: Path) -> None:
    """Of values in order no group is read but those with a row that is kept."""
    table = pl.DataFrame(
        {name: [value(n // 4) for n in range(52)] for name, (_, value) in COLUMNS.items()}, schema=SCHEMA
    )
    table = pl.concat([table, table.clear(n=8)])
    table.write_parquet(tmp_path / "rows.parquet", row_group_size=4)
    less = skipping(_files(tmp_path / "rows.parquet"), [EXACT[name]])
    assert less is not None
    wanted = table.with_row_index("n").filter(EXACT[name])["n"] // 4
    # Of a group of NaN alone nothing is known, and infinities are numbers to the file.
    assert _read(less).height == 4 * (wanted.n_unique() + UNTOLD.get(name, 0))
