"""Expressions that look at other rows, in every kind of data: aggregates of a whole table, ranks, windows of time."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl
from polars import selectors as cs

from tests.table.cases import Case, T, _ordered

k, i, g, x, f, d, t_, b, c, e = (pl.col(name) for name in "kigxfdtbce")

_METHODS: tuple[Any, ...] = ("average", "min", "max", "dense", "ordinal")
_DAY = t_.dt.day().cast(pl.Int32)

AGGREGATES = {
    "agg_spread": Case(
        lambda t, o: t.select(
            i.std(), i.var(ddof=0).alias("var"), x.std().alias("floats"), f.var().alias("singles"), b.std().alias("yes")
        )
    ),
    "agg_computed": Case(
        lambda t, o: t.select(
            (i.max() - i.min()).alias("range"),
            (i * k).sum() / k.sum(),
            pl.when(i.mean() > 0).then(pl.lit("up")).otherwise(pl.lit("down")).alias("way"),
            (1 - i.mean() / 50).round(6).alias("part"),
            cv=i.std() / i.mean(),
        )
    ),
    "agg_filtered": Case(
        lambda t, o: t.select(
            i.filter(k > 2).sum(),
            f.filter(b).mean(),
            g.drop_nulls().first(),
            k.filter(i > 0, b).last().alias("last"),
            x.drop_nans().max(),
            d.filter(b).count().alias("count"),
            e.filter(k == 3).len().alias("rows"),
            median=i.filter(b).median(),
        )
    ),
    "agg_ends": Case(
        lambda t, o: t.select(
            i.first(), g.last(), pl.col("l").first(), pl.col("s").last(), c.first(), d.first(ignore_nulls=True)
        )
    ),
    "agg_truths": Case(
        lambda t, o: t.select(
            any=(i > 48).any(),
            all=(i > -51).all(),
            kleene=b.any(ignore_nulls=False),
            kleene_all=b.all(ignore_nulls=False),
            holes=g.null_count(),
            product=(k % 3 + 1).product(),
        )
    ),
    "agg_quantiles": Case(
        lambda t, o: t.select(
            i.median(),
            x.median().alias("floats"),
            b.median().alias("yes"),
            f.quantile(0.9).alias("single"),
            **{
                f"{method}{part}": pl.col("i").quantile(part, method)
                for method in ("nearest", "lower", "higher", "midpoint", "linear", "equiprobable")
                for part in (0.0, 0.25, 0.333, 1.0)
            },
        )
    ),
    "agg_distinct": Case(
        lambda t, o: t.select(
            *(pl.col(name).n_unique() for name in list("kigxdtucebslmyn")),
            more=(k % 3).n_unique(),
            known=g.drop_nulls().n_unique(),
        )
    ),
    "agg_related": Case(
        lambda t, o: t.select(
            corr=pl.corr("k", "i"),
            floats=pl.corr("f", "i"),
            cov=pl.cov("k", "i"),
            cov0=pl.cov("i", "f", ddof=0),
            r2=pl.corr("k", "f") ** 2,
        )
    ),
    "agg_nested": Case(
        lambda t, o: t.select(
            (i - i.mean()).abs().max().alias("far"),
            ((i - i.mean()) ** 2).mean().sqrt().alias("deviation"),
            i.filter(i > i.median()).sum().alias("upper"),
            (i - i.shift(1)).abs().mean().alias("step"),
            (i == i.max()).sum().alias("at_top"),
            within=i.sum().over("g").mean(),
        )
    ),
    "agg_mixture": Case(
        lambda t, o: t.select(
            i.sum(),
            i.median().alias("median"),
            g.n_unique(),
            i.skew().alias("skew"),
            i.arg_max().alias("where"),
            lists=i.sort().implode(),
            rows=pl.len(),
            seven=pl.lit(7),
        )
    ),
    "agg_in_rows": _ordered(
        lambda t, o: t.select(
            "k",
            z=(i - i.mean()) / i.std(),
            m=i - i.median(),
            q=f > f.quantile(0.75),
            r=pl.corr("k", "i"),
            n=g.n_unique(),
        )
    ),
    "agg_selected": Case(lambda t, o: t.select(cs.integer().std(), cs.float().n_unique())),
    "agg_group": Case(
        lambda t, o: t.group_by("g").agg(
            i.std(),
            (i.max() - i.min()).alias("range"),
            i.filter(b).mean().alias("some"),
            f.var(),
            d.drop_nulls().last(),
            (i > 0).any().alias("any"),
            k.product().alias("product"),
            r=i.sum() / pl.len(),
        )
    ),
}
PLACES = {
    "around_rank": _ordered(
        lambda t, o: t.select(
            *(i.rank(method).alias(method) for method in _METHODS),
            *(k.rank(method, descending=True).alias(f"down_{method}") for method in _METHODS),
            *(pl.col(name).rank("min").alias(name) for name in ("g", "x", "f", "d", "t", "u", "e", "b", "m", "y")),
            *(pl.col(name).rank("dense", descending=True).alias(f"{name}_dense") for name in ("g", "x", "d", "b")),
        )
    ),
    **{
        f"around_ewm_{adjust}_{ignore}": _ordered(
            lambda t, o, options={"adjust": adjust, "ignore_nulls": ignore}: t.select(
                i.ewm_mean(alpha=0.3, **options),
                f.cast(pl.Float64).ewm_mean(span=4, min_samples=3, **options),
                k.ewm_mean(half_life=2, min_samples=12, **options),
                x.fill_nan(None).ewm_mean(com=1, **options),
                pl.when(k == 3).then(i).ewm_mean(alpha=0.05, **options).alias("seldom"),
                (i - i.mean()).ewm_mean(alpha=1.0, **options).alias("last"),
                nan=x.ewm_mean(alpha=0.5, **options).is_nan(),
            )
        )
        for adjust in (True, False)
        for ignore in (True, False)
    },
    "around_keys_sort": _ordered(
        lambda t, o: t.sort((i - i.mean()).abs(), k.rank("dense"), "g", descending=[True, False, False]).select(
            "i", "k"
        )
    ),
    "around_keys_group": Case(
        lambda t, o: t.group_by(run=k.is_null().cum_sum(), half=i.rank("dense") > 9, g="g").agg(i.sum(), pl.len())
    ),
    "around_keys_group_ordered": _ordered(
        lambda t, o: t.group_by((k != k.shift(1)).cum_sum(), maintain_order=True).agg(g.first(), pl.len())
    ),
    "around_keys_after": Case(
        lambda t, o: (
            t.with_columns(i.cum_sum() - i.min()).filter(i > 0).group_by(i.rank("dense")).agg(pl.len(), g.max())
        )
    ),
    "around_keys_top": Case(lambda t, o: t.select("i", "k").top_k(7, by=[(i - i.median()).abs(), k, i])),
    "around_rank_of": _ordered(lambda t, o: t.filter((i - i.mean()).abs().rank("ordinal") <= 20).select("i", "g")),
    "around_rank_part": _ordered(
        lambda t, o: t.with_columns(part=k.rank("max") / k.count(), row=pl.int_range(pl.len()))
    ),
    "around_numbers": _ordered(
        lambda t, o: t.select(pl.int_range(pl.len(), dtype=pl.UInt32).alias("row"), half=pl.int_range(pl.len()) // 2)
    ),
    "around_interpolate": _ordered(
        lambda t, o: t.select(
            i.interpolate(),
            x.interpolate(),
            f.interpolate(),
            d.interpolate(),
            t_.interpolate(),
            pl.col("u").interpolate(),
            (k % 9).cast(pl.UInt8).interpolate().alias("bytes"),
            (i - i.shift(1)).interpolate().alias("steps"),
        )
    ),
    "around_interpolate_by": _ordered(
        lambda t, o: _sorted_by(t, "t").select(i.interpolate_by("t"), f.interpolate_by("t"), k.interpolate_by(_DAY))
    ),
    "around_pct_change": _ordered(
        lambda t, o: t.select(i.pct_change(), f.pct_change(3), k.pct_change(-2), rising=i.cum_max().pct_change() > 0)
    ),
}


def _sorted_by(t: T, name: str) -> T:
    return t.drop_nulls(name).sort(name, maintain_order=True)


_WINDOWS: dict[str, dict[str, Any]] = {
    "hours": {"every": "3h"},
    "closed": {"every": "5h", "closed": "right", "label": "right"},
    "both": {"every": "2h", "period": "7h", "closed": "both", "include_boundaries": True},
    "datapoint": {"every": "6h", "label": "datapoint", "closed": "none"},
    "days": {"every": "1d"},
    "weeks": {"every": "1w", "period": "2w"},
    "offset": {"every": "4h", "offset": "1h"},
    "first": {"every": "3h", "start_by": "datapoint"},
    "timedelta": {"every": dt.timedelta(hours=1)},
}
TIMES = {
    **{
        f"times_dynamic_{name}_{zone}": _ordered(
            lambda t, o, zone=zone, options=options: (
                _moments(t, zone)
                .group_by_dynamic("at", **options)
                .agg(i.sum(), pl.len(), first=g.first(), middle=k.median())
            )
        )
        for name, options in _WINDOWS.items()
        for zone in ("zoned", "naive")
    },
    "times_dynamic_date": _ordered(
        lambda t, o: _sorted_by(t, "d").group_by_dynamic("d", every="2d", closed="left").agg(i.max(), k.alias("all"))
    ),
    "times_dynamic_integer": _ordered(
        lambda t, o: _sorted_by(t, "i").group_by_dynamic("i", every="7i", period="10i").agg(k.sum(), pl.len())
    ),
    **{
        f"times_rolling_{period}_{offset}_{closed}_{zone}": _ordered(
            lambda t, o, zone=zone, period=period, offset=offset, closed=closed: (
                _moments(t, zone)
                .rolling("at", period=period, offset=offset, closed=closed)
                .agg(i.sum(), pl.len(), last=g.last())
            )
        )
        for period, offset, closed in (
            ("5h", None, "right"),
            ("2h", None, "both"),
            ("4h", "-1h", "left"),
            ("3h", "1h", "both"),
            ("1d", "-3d", "none"),
            ("1w", None, "right"),
        )
        for zone in ("zoned", "naive")
    },
    "times_rolling_integer": _ordered(
        lambda t, o: _sorted_by(t, "i").rolling("i", period="4i").agg(k.sum(), last=g.last())
    ),
    "times_by": _ordered(
        lambda t, o: _moments(t, "zoned").select(
            i.rolling_sum_by("at", "5h"),
            f.rolling_mean_by("at", "1d", closed="both").alias("mean"),
            k.rolling_max_by("at", dt.timedelta(hours=2), min_samples=2).alias("max"),
            i.rolling_median_by("at", "3h", closed="left").alias("median"),
            i.rolling_std_by("at", "1w").alias("std"),
            k.rolling_quantile_by("at", "6h", quantile=0.25).alias("quantile"),
            steps=(i - i.shift(1)).rolling_sum_by("at", "4h"),
        )
    ),
    "times_by_integer": _ordered(lambda t, o: _sorted_by(t, "i").with_columns(k.rolling_sum_by("i", "3i"))),
    "times_by_unsorted": _ordered(
        lambda t, o: t.drop_nulls("t").with_columns(i.rolling_sum_by("t", "5h"), f.interpolate_by("t").alias("line"))
    ),
}


def _moments(t: T, zone: str) -> T:
    """Sorted by the time in a zone, or in none."""
    at = t_ if zone == "zoned" else t_.dt.replace_time_zone(None)
    return _sorted_by(t, "t").with_columns(at=at)


AROUND_CASES: dict[str, Case] = {**AGGREGATES, **PLACES, **TIMES}
