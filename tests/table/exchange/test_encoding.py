"""Large parts of numbers and times travel in one buffer, from Polars' memory and back without another copy."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from deeprc.table.exchange.encoding import _has_fixed_widths, decode, encode

_ROWS = 30_000


def _fixed() -> pl.DataFrame:
    numbers = pl.Series("i64", np.random.default_rng(1).integers(-(2**62), 2**62, _ROWS))
    frame = pl.DataFrame([numbers]).with_columns(
        *((pl.col("i64") % 100).cast(dtype).alias(str(dtype)) for dtype in (pl.Int8, pl.UInt16, pl.Float32)),
        pl.when(pl.col("i64") % 7 != 0).then(pl.col("i64")).alias("holes"),
        (pl.col("i64") % 2 == 0).alias("bool"),
        pl.when(pl.col("i64") % 3 == 0).then(float("nan")).otherwise(1.5).alias("nan"),
        (pl.lit(dt.date(2020, 1, 1)) + pl.duration(days=pl.col("i64") % 99)).alias("date"),
        (pl.lit(dt.datetime(2020, 1, 1)) + pl.duration(days=pl.col("i64") % 99))
        .dt.replace_time_zone("Europe/Berlin")
        .alias("zone"),
        pl.duration(milliseconds=pl.col("i64") % 99, time_unit="ms").alias("duration"),
        (pl.col("i64") % 86_400).abs().cast(pl.Time).alias("time"),
        pl.when(pl.col("i64") % 5 != 0).then(pl.format("\u00fc{}", pl.col("i64") % 999)).alias("text"),
        pl.lit("").alias("no_text"),
        (pl.col("i64") % 99).cast(pl.String).cast(pl.Binary).alias("bytes"),
    )
    assert _has_fixed_widths(frame)
    return frame


@pytest.mark.parametrize("cut", ["whole", "sliced", "chunks", "empty_chunk"])
def test_large_parts_of_numbers_and_times_survive(cut: str) -> None:
    """Values, nulls, NaN, zones and units are the same, of slices and of frames in several pieces, also empty ones."""
    frame = _fixed()
    if cut == "sliced":
        frame = frame.slice(13, _ROWS - 1003)
    if cut == "chunks":
        frame = pl.concat([frame.head(20_001), frame.tail(5000)], rechunk=False)
    if cut == "empty_chunk":
        pieces = pl.concat([frame.head(10_000), frame.slice(10_000)], rechunk=False).lazy()
        frame = pl.concat(pieces.collect_batches(chunk_size=10_000, engine="streaming"), rechunk=False)
        assert 0 in [len(chunk) for chunk in frame["i64"].get_chunks()]
    received = memoryview(bytes(encode(frame)))
    assert_frame_equal(decode(received, frame.clear()), frame)


def test_a_received_part_outlives_its_buffer() -> None:
    """The frame keeps the memory that it lies in."""
    frame = _fixed()
    received = bytearray(encode(frame))
    decoded = decode(memoryview(received), frame.clear())
    del received
    assert_frame_equal(decoded.filter(pl.col("bool")), frame.filter(pl.col("bool")))


@pytest.mark.parametrize("every", [1, 7])
def test_long_texts_survive_without_those_of_other_rows(every: int) -> None:
    """Texts beside short ones, nulls and bytes are the same; what is sent has those of the rows sent."""
    frame = _fixed().with_columns(
        pl.when(pl.col("i64") % 3 != 0).then(pl.format("a text of more than 12 bytes: {}", "i64")).alias("long"),
        pl.lit(b"bytes that are as long as that").alias("long_bytes"),
    )
    part = frame.gather_every(every)
    received = memoryview(bytes(encode(part)))
    assert_frame_equal(decode(received, part.clear()), part)
    assert received.nbytes < 2 * memoryview(encode(frame)).nbytes / every
