"""Every Polars type crosses the exchange exactly, as a value and, where Polars allows it, as a key."""

from __future__ import annotations

import datetime
import decimal
import functools
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import deeprc as rc
from deeprc.table.exchange.exchange import decode, encode
from tests.ranks import run_on_ranks
from tests.table.compare import Result, assert_same, attempt, broadcasting
from tests.table.data import share

DAY = datetime.date(2024, 2, 29)
NOON = datetime.datetime(2024, 2, 29, 12)
VALUES: dict[str, tuple[pl.DataType, list[Any]]] = {
    "int8": (pl.Int8(), [1, -1]),
    "int16": (pl.Int16(), [300, -300]),
    "int32": (pl.Int32(), [2**31 - 1, -(2**31)]),
    "int64": (pl.Int64(), [2**63 - 1, -(2**63)]),
    "uint16": (pl.UInt16(), [2**16 - 1, 0]),
    "uint32": (pl.UInt32(), [2**32 - 1, 0]),
    "float64": (pl.Float64(), [float("nan"), float("-inf")]),
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
    "datetime_us": (pl.Datetime("us"), [NOON, datetime.datetime(1, 1, 1)]),
    "datetime_summer": (pl.Datetime("us", "Europe/Berlin"), [NOON, NOON.replace(month=10, day=27, hour=0)]),
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
    "list_of_decimals": (pl.List(pl.Decimal(20, 3)), [[decimal.Decimal("1.500"), None], []]),
    "list_of_int128": (pl.List(pl.Int128()), [[2**100], [-1, None]]),
    "list_of_zones": (pl.List(pl.Datetime("ms", "Asia/Tokyo")), [[NOON], [None, NOON.replace(hour=3)]]),
    "list_of_durations": (pl.List(pl.Duration("ns")), [[datetime.timedelta(1)], []]),
    "list_of_binary": (pl.List(pl.Binary()), [[b"\x00", b""], [None]]),
    "list_of_arrays": (pl.List(pl.Array(pl.Int8(), 2)), [[[1, 2], [3, None]], []]),
    "array_of_strings": (pl.Array(pl.String(), 2), [["a", None], ["", "a long string that is not inlined"]]),
    "array_of_arrays": (pl.Array(pl.Array(pl.UInt8(), 2), 2), [[[1, 2], [3, 4]], [[None, 0], [5, 6]]]),
    "array_of_structs": (pl.Array(pl.Struct({"t": pl.Time()}), 1), [[{"t": datetime.time(3)}], [{"t": None}]]),
    "array_of_enums": (pl.Array(pl.Enum(["p", "q"]), 2), [["q", "p"], [None, "q"]]),
    "struct_of_structs": (
        pl.Struct({"s": pl.Struct({"b": pl.Binary(), "c": pl.Categorical()}), "n": pl.Null()}),
        [{"s": {"b": b"x", "c": "new"}, "n": None}, {"s": None, "n": None}],
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
    "rank": lambda t: t.select("row", pl.col("value").rank("dense")),
    "count": lambda t: t.select(pl.col("value").n_unique(), pl.col("value").count().alias("n")),
    "ends": lambda t: t.select(pl.col("value").min(), pl.col("value").max().alias("max")),
    "first": lambda t: t.with_columns(pl.col("value").first()),
}


ORDERED = ("move", "sort", "shift", "over", "fill", "first", "rank")


def _all(comm: rc.Communicator, split: str, plans: tuple[str, ...]) -> dict[tuple[str, str], Result]:
    results = {}
    with broadcasting(False):
        for name in VALUES:
            table = rc.from_polars(share(frame(name), comm.rank, comm.size, split), comm)
            for plan in plans:
                results[name, plan] = attempt(lambda t=table, plan=plan: PLANS[plan](t).gather())
    return results


# The backend, how many ranks, how rows lie, and the plans; where all lie on one rank the parts of the others are empty.
LAUNCHES: dict[str, tuple[str, int, str, tuple[str, ...]]] = {
    "gloo2": ("gloo", 2, "even", tuple(PLANS)),
    "mpi3": ("mpi", 3, "even", ("move", "group_by", "sort")),
    "gloo3_one_part": ("gloo", 3, "last", ("move", "aggregate", "shift")),
}
WANTED = [(launch, name, plan) for launch, what in LAUNCHES.items() for name in VALUES for plan in what[-1]]


@functools.cache
def results(launch: str) -> dict[tuple[str, str], Result]:
    """All types through the plans of a launch, run once."""
    backend, size, split, plans = LAUNCHES[launch]
    return run_on_ranks(_all, split, plans, size=size, backend=backend)[0]


@pytest.mark.parametrize(("launch", "name", "plan"), WANTED)
def test_type_as_value_and_key(launch: str, name: str, plan: str) -> None:
    """Ranks give what Polars gives; what Polars can't do with a type, we refuse too."""
    wanted = attempt(lambda: PLANS[plan](frame(name).lazy()).collect())
    if wanted[0] == "error":
        assert results(launch)[name, plan][0] == "error"
        return
    assert_same(results(launch)[name, plan], wanted, ordered=plan in ORDERED)


def categories(rank: int) -> pl.DataFrame:
    """Of each rank others, met in another order; nested ones too."""
    words = ["ant", "bee", "cow", "dog"]
    own = [*words[rank:], *words[:rank], f"only_{rank}", None]
    frame = pl.DataFrame({"c": pl.Series(own, dtype=pl.Categorical), "row": range(6)})
    return frame.with_columns(l=pl.concat_list("c", "c"), s=pl.struct("c", "row"))


CATEGORICAL_PLANS = {
    "move": lambda t: t.sort("row", maintain_order=True),
    "sort": lambda t: t.sort("c", "row", maintain_order=True),
    "group_by": lambda t: t.group_by("c").agg(pl.len(), pl.col("row").sum(), pl.col("l").first()),
    "unique": lambda t: t.unique("c", keep="none").select("c", "row", "l", "s"),
    "join": lambda t: t.join(t.group_by("c").agg(pl.len()), on="c", how="left"),
    "over": lambda t: t.with_columns(n=pl.len().over("c"), first=pl.col("c").first().over("row")),
    "compare": lambda t: t.filter(pl.col("c") == "bee"),
    "n_unique": lambda t: t.select(pl.col("c").n_unique(), pl.col("l").n_unique()),
    "fill": lambda t: t.select(pl.col("c").forward_fill(), pl.col("s").shift(1)),
}


def _of_categories(comm: rc.Communicator) -> dict[str, Result]:
    table = rc.from_polars(categories(comm.rank), comm)
    with broadcasting(False):
        return {name: attempt(lambda plan=plan: plan(table).gather()) for name, plan in CATEGORICAL_PLANS.items()}


@pytest.mark.parametrize(("backend", "size"), [("gloo", 3), ("mpi", 2)])
def test_each_rank_has_its_own_categories(backend: str, size: int) -> None:
    """Categories are their texts, whatever number a rank has for them."""
    lazy = pl.concat([categories(rank) for rank in range(size)]).lazy()
    found = run_on_ranks(_of_categories, size=size, backend=backend)[0]
    for name, plan in CATEGORICAL_PLANS.items():
        wanted = attempt(lambda plan=plan: plan(lazy).collect())
        assert_same(found[name], wanted, ordered=name in ("move", "sort", "over", "compare", "fill"))


def _without_columns(comm: rc.Communicator) -> list[tuple[int, int]]:
    table = rc.from_polars(pl.DataFrame(height=comm.rank * 3), comm)
    parts = [table, table.repartition(), table.reverse(), table.head(4), table.slice(1, 3), rc.concat([table, table])]
    return [(part.gather().width, part.gather().height) for part in parts]


@pytest.mark.parametrize(("backend", "size"), [("gloo", 3), ("mpi", 2)])
def test_tables_without_columns_have_rows(backend: str, size: int) -> None:
    """Rows are counted, moved and cut where there is nothing in them."""
    rows = sum(rank * 3 for rank in range(size))
    for found in run_on_ranks(_without_columns, size=size, backend=backend):
        assert found == [(0, rows), (0, rows), (0, rows), (0, min(rows, 4)), (0, min(rows - 1, 3)), (0, 2 * rows)]


def _objects(comm: rc.Communicator) -> list[str]:
    held = pl.DataFrame({"o": pl.Series([object()], dtype=pl.Object), "n": [1]})
    plain = rc.from_polars(pl.DataFrame({"n": [1]}), comm)
    works: list[Any] = [
        lambda: rc.from_polars(held, comm),
        lambda: plain.with_columns(pl.col("n").map_elements(lambda _: object(), return_dtype=pl.Object)),
        lambda: plain.map_batches(lambda part: part, schema={"n": pl.Object}),
    ]
    return [attempt(work)[1] for work in works]


def test_python_objects_are_refused() -> None:
    """Before anything runs, by the column, on all ranks alike."""
    for messages in run_on_ranks(_objects, size=2):
        assert all(message.startswith("DataError") and "Python objects" in message for message in messages), messages


@pytest.mark.parametrize("name", list(VALUES))
def test_type_on_the_wire(name: str) -> None:
    """Whole, in slices, and from several chunks."""
    whole = frame(name)
    for part in (whole, whole.slice(3, 5), whole.slice(4, 1), pl.concat([whole, whole.head(2)], rechunk=False)):
        assert_frame_equal(decode(memoryview(encode(part)), part.clear()), part)
