"""Every Polars type crosses the exchange exactly, as a value and, where Polars allows it, as a key."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import deeprc as rc
from deeprc.table.exchange import decode, encode
from tests.ranks import run_on_ranks
from tests.table.compare import Result, assert_same, attempt, broadcasting
from tests.table.data import share

DAY = datetime.date(2024, 2, 29)
NOON = datetime.datetime(2024, 2, 29, 12)
VALUES: dict[str, tuple[pl.DataType, list[Any]]] = {
    "int8": (pl.Int8(), [1, -1]),
    "int16": (pl.Int16(), [300, -300]),
    "int128": (pl.Int128(), [2**100, -5]),
    "uint8": (pl.UInt8(), [255, 0]),
    "uint64": (pl.UInt64(), [2**64 - 1, 2**63]),
    "uint128": (pl.UInt128(), [2**127, 1]),
    "float16": (pl.Float16(), [0.5, float("nan")]),
    "float32": (pl.Float32(), [float("inf"), -0.0]),
    "boolean": (pl.Boolean(), [True, False]),
    "string": (pl.String(), ["", "a long string that is not inlined, ünïcödé"]),
    "binary": (pl.Binary(), [b"", b"\x00\xff"]),
    "date": (pl.Date(), [DAY, DAY.replace(year=1904)]),
    "time": (pl.Time(), [datetime.time(1, 2, 3), datetime.time(23, 59)]),
    "datetime_ns": (pl.Datetime("ns"), [NOON, NOON.replace(year=1996)]),
    "datetime_tz": (pl.Datetime("ms", "UTC"), [NOON, NOON.replace(hour=1)]),
    "duration": (pl.Duration("us"), [datetime.timedelta(days=3), datetime.timedelta(seconds=-1)]),
    "decimal": (pl.Decimal(38, 10), [decimal.Decimal("1.5"), decimal.Decimal("-12345678901234567890.25")]),
    "categorical": (pl.Categorical(), ["b", "a"]),
    "enum": (pl.Enum(["z", "a"]), ["a", "z"]),
    "null": (pl.Null(), [None, None]),
    "list": (pl.List(pl.Int16()), [[1, None], []]),
    "list_of_lists": (pl.List(pl.List(pl.String())), [[["a"], []], [None]]),
    "list_of_categories": (pl.List(pl.Categorical()), [["b", "a"], ["a"]]),
    "array": (pl.Array(pl.Float32(), 2), [[1.0, 2.0], [None, 0.0]]),
    "struct": (
        pl.Struct({"a": pl.Int8(), "e": pl.Enum(["u", "v"]), "l": pl.List(pl.Date())}),
        [{"a": 1, "e": "v", "l": [DAY]}, {"a": None, "e": None, "l": None}],
    ),
    "struct_list": (pl.List(pl.Struct({"c": pl.Categorical()})), [[{"c": "q"}, {"c": None}], []]),
}


def frame(name: str) -> pl.DataFrame:
    """Eleven rows of one type, with nulls and repeats, beside their numbers."""
    dtype, (first, second) = VALUES[name]
    values = [first, second, None, first, None, second, second, first, first, None, second]
    return pl.DataFrame({"value": pl.Series(values, dtype=dtype), "row": range(11)})


PLANS = {
    "move": lambda t: t.sort("row", descending=True),
    "group_by": lambda t: t.group_by("value").agg(pl.len(), pl.col("row").median()),
    "aggregate": lambda t: t.group_by(pl.col("row") % 3).agg(pl.col("value").first(), pl.col("value").alias("all")),
    "unique": lambda t: t.unique("value", keep="first"),
    "sort": lambda t: t.sort("value", "row"),
    "join": lambda t: t.join(t.select("value", pl.col("row").alias("other")), on="value", how="left"),
    "shift": lambda t: t.with_columns(pl.col("value").shift(1)),
    "over": lambda t: t.with_columns(pl.col("row").sum().over("value")),
    "fill": lambda t: t.with_columns(pl.col("value").forward_fill()),
    "first": lambda t: t.with_columns(pl.col("value").first()),
}


def _all(comm: rc.Communicator) -> dict[tuple[str, str], Result]:
    results = {}
    with broadcasting(False):
        for name in VALUES:
            table = rc.from_polars(share(frame(name), comm.rank, comm.size, "even"), comm)
            for plan, apply in PLANS.items():
                results[name, plan] = attempt(lambda t=table, apply=apply: apply(t).gather())
    return results


@pytest.fixture(scope="module")
def results() -> dict[tuple[str, str], Result]:
    """All types through all plans on two ranks, in one launch."""
    return run_on_ranks(_all, size=2)[0]


@pytest.mark.parametrize("plan", list(PLANS))
@pytest.mark.parametrize("name", list(VALUES))
def test_type_as_value_and_key(results: dict[tuple[str, str], Result], name: str, plan: str) -> None:
    """Two ranks give what Polars gives; what Polars can't do with a type, we refuse too."""
    wanted = attempt(lambda: PLANS[plan](frame(name).lazy()).collect())
    if wanted[0] == "error":
        assert results[name, plan][0] == "error"
        return
    assert_same(results[name, plan], wanted, ordered=plan in ("move", "sort", "shift", "over", "fill", "first"))


@pytest.mark.parametrize("name", list(VALUES))
def test_type_on_the_wire(name: str) -> None:
    """Whole, in slices, and from several chunks."""
    whole = frame(name)
    for part in (whole, whole.slice(3, 5), whole.slice(4, 1), pl.concat([whole, whole.head(2)], rechunk=False)):
        assert_frame_equal(decode(memoryview(encode(part)), part.clear()), part)
