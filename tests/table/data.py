"""Frames that operators meet: one schema with every kind of type, and the shapes that go wrong."""

from __future__ import annotations

import datetime
import decimal
import random

import polars as pl

GROUPS = ["ant", "bee", "cow", "dog", "eel"]
SCHEMA = pl.Schema(
    {
        "k": pl.Int64(),
        "i": pl.Int32(),
        "g": pl.String(),
        "x": pl.Float64(),
        "f": pl.Float32(),
        "d": pl.Date(),
        "t": pl.Datetime("us", "Europe/Berlin"),
        "u": pl.Duration("ms"),
        "c": pl.Categorical(),
        "e": pl.Enum(GROUPS),
        "b": pl.Boolean(),
        "l": pl.List(pl.Int64()),
        "s": pl.Struct({"a": pl.Int64(), "w": pl.String()}),
        "m": pl.Decimal(12, 2),
        "y": pl.Binary(),
        "n": pl.Null(),
    }
)


def mixed(rows: int, seed: int, *, nulls: float = 0.15, keys: int = 7, skew: float = 0.0) -> pl.DataFrame:
    """Random rows: a share of nulls, NaN and both zeros among the floats, keys that repeat; `skew` of one key."""
    dice = random.Random(seed)

    def maybe(value: object) -> object:
        return None if dice.random() < nulls else value

    def row() -> tuple[object, ...]:
        key = 3 if dice.random() < skew else dice.randrange(keys)
        day = datetime.date(2020, 1, 1) + datetime.timedelta(days=dice.randrange(5))
        group = dice.choice(GROUPS)
        return (
            maybe(key),
            maybe(dice.randrange(-50, 50)),
            maybe(group if skew == 0 or dice.random() > skew else "ant"),
            maybe(dice.choice([float("nan"), 0.0, -0.0, dice.gauss(0, 1), dice.gauss(0, 1), dice.gauss(0, 1)])),
            maybe(dice.gauss(0, 1)),
            maybe(day),
            maybe(datetime.datetime(2020, 1, 1, 12) + datetime.timedelta(hours=dice.randrange(50))),
            maybe(datetime.timedelta(seconds=dice.randrange(1000))),
            maybe(dice.choice(GROUPS)),
            maybe(dice.choice(GROUPS)),
            maybe(dice.random() < 0.5),
            maybe([dice.randrange(3) for _ in range(dice.randrange(3))]),
            maybe({"a": dice.randrange(3), "w": group}),
            maybe(decimal.Decimal(dice.randrange(1000)) / 100),
            maybe(dice.randbytes(dice.randrange(3))),
            None,
        )

    naive = pl.Schema({**SCHEMA, "t": pl.Datetime("us")})
    frame = pl.DataFrame([row() for _ in range(rows)], schema=naive, orient="row")
    return frame.with_columns(pl.col("t").dt.replace_time_zone("Europe/Berlin", ambiguous="earliest"))


def frames() -> dict[str, pl.DataFrame]:
    """The shapes by name."""
    return {
        "empty": pl.DataFrame(schema=SCHEMA),
        "one_row": mixed(1, 1, nulls=0.0),
        "few": mixed(6, 2),
        "mixed": mixed(200, 3),
        "skewed": mixed(150, 4, skew=0.9),
        "all_null": pl.DataFrame({name: [None] * 9 for name in SCHEMA}, schema=SCHEMA),
        "distinct": mixed(120, 5, nulls=0.02, keys=10_000),
    }


def share(frame: pl.DataFrame, rank: int, size: int, split: str) -> pl.DataFrame:
    """A rank's part of a frame: an even one, or all rows on the last rank."""
    if split == "last":
        return frame if rank == size - 1 else frame.clear()
    start, end = frame.height * rank // size, frame.height * (rank + 1) // size
    return frame.slice(start, end - start)
