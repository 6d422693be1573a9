"""Means, variances, covariances and correlations of parts are put together to those of all rows."""

from __future__ import annotations

from itertools import pairwise

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from deeprc.table.partial.decompose import decompose

ROWS = 2000
a, b, f, t = (pl.col(name) for name in "abft")
AGGS = [
    pl.corr(a, b).alias("r"),
    (pl.corr(a, f) ** 2).alias("r2"),
    pl.corr(a.cast(pl.Float32), f.cast(pl.Float32)).alias("narrow"),
    pl.corr(t, b).alias("truth"),
    pl.cov(a, f).alias("cov"),
    pl.cov(a, b, ddof=0).alias("cov0"),
    pl.cov(a + b, f * 2, ddof=3).alias("cov3"),
    f.std().alias("std"),
    f.mean().alias("mean"),
]


def _rows() -> pl.DataFrame:
    """Values far from zero, a tenth of them null; groups of one row, of no pair, and with NaN."""
    numbers = [pl.int_range(ROWS, eager=True).hash(seed) for seed in range(5)]
    some = [numbers[seed].hash(9) % 10 > 0 for seed in range(5)]
    frame = pl.DataFrame({"g": numbers[0] % 40, "a": numbers[1] % 5, "b": numbers[2] % 15}).with_columns(
        pl.when(some[1]).then("a").alias("a"),
        f=pl.when(some[3]).then(1e6 + numbers[3] % 1000 / 1000),
        t=pl.when(some[4]).then(numbers[4] % 3 == 0),
    )
    odd = {"g": [91, 92, 92, 93], "a": [1, None, 1, 2], "b": [1, 2, 3, 4], "f": [1.0, 2.0, None, float("nan")]}
    return pl.concat([frame, pl.DataFrame({**odd, "t": [True, None, False, True]}, schema=frame.schema)])


@pytest.mark.parametrize("grouped", [True, False])
def test_parts_give_what_the_whole_gives(grouped: bool) -> None:
    """Whatever the parts, an empty one too: nulls and NaN where Polars' streaming engine has them."""

    def asked(rows: pl.DataFrame, aggs: list[pl.Expr]) -> pl.DataFrame:
        lazy = rows.lazy()
        answer = lazy.group_by("g").agg(aggs) if grouped else lazy.select(aggs)
        return answer.collect(engine="streaming")

    rows = _rows()
    wanted = asked(rows, AGGS)
    halves = decompose(AGGS, rows.schema, wanted.schema, grouped=grouped)
    assert halves is not None
    cuts = [0, 3, 3, 700, rows.height]
    parts = [asked(rows[start:end], list(halves.partial)) for start, end in pairwise(cuts)]
    given = asked(pl.concat(parts), list(halves.final))
    assert_frame_equal(given, wanted, check_row_order=False, rel_tol=1e-6, abs_tol=1e-9)


def test_ranks_of_values_are_not_taken_apart() -> None:
    """Spearman's correlation, and one with a constant, are Polars' over all rows."""
    schema, after = _rows().schema, pl.Schema({"r": pl.Float64()})
    for expression in (pl.corr(a, b, method="spearman"), pl.corr(a, pl.lit(1)), pl.corr(a.drop_nulls(), b)):
        assert decompose([expression.alias("r")], schema, after, grouped=True) is None
