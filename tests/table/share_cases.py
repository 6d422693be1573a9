"""Expressions that need all values, and that ranks share all the same: moments, places, modes, weighted spreads."""

from __future__ import annotations

import polars as pl

from tests.table.cases import Case, _ordered

k, i, g, x, f, d, t_, b, c, e = (pl.col(name) for name in "kigxfdtbce")
u, m, y = (pl.col(name) for name in "umy")

_numbered = i * 1000 + pl.int_range(pl.len())


def _each_once(values: pl.Expr) -> pl.Expr:
    """Of equal values Polars' engines find one or the other."""
    return values.filter(values.is_first_distinct())


MOMENTS = {
    "share_skew": Case(
        lambda t, o: t.select(
            i.skew(),
            f.skew(bias=False),
            x.fill_nan(None).skew().alias("x"),
            (k * 0 + 0.5).skew().alias("same"),
            b.skew().alias("b"),
            half=k.filter(k < 2).skew(bias=False),
            nan=x.skew(),
        )
    ),
    "share_kurtosis": Case(
        lambda t, o: t.select(
            i.kurtosis(),
            k.kurtosis(fisher=False, bias=False),
            f.kurtosis(bias=False),
            (x.fill_nan(None) + 1e6).round(2).kurtosis(fisher=False).alias("x"),
            (k * 0 + 0.5).kurtosis().alias("same"),
        )
    ),
    "share_moments_group": Case(
        lambda t, o: t.group_by("g").agg(
            i.skew(), f.skew(bias=False), k.kurtosis(), skew=i.filter(b).skew(), kurt=i.kurtosis(bias=False)
        )
    ),
    "share_entropy": Case(
        lambda t, o: t.select(
            i.abs().entropy(), (k + 1).entropy(base=2), plain=(f.abs() + 0.1).entropy(base=2, normalize=False)
        )
    ),
    "share_spearman": Case(
        lambda t, o: t.select(
            pl.corr("k", "i", method="spearman"), floats=pl.corr("f", "i", method="spearman"), same=pl.corr(k, k * 0)
        )
    ),
}
PLACES = {
    "share_arg": Case(
        lambda t, o: t.select(
            *(_each_once(pl.col(name)).arg_max() for name in "kigxfdtubmce"),
            *(_each_once(pl.col(name)).arg_min().alias(f"{name}_min") for name in "kigxfdtubmce"),
            both=_numbered.arg_max() - _numbered.filter(b).arg_min().cast(pl.Int64),
        )
    ),
    "share_arg_group": Case(
        lambda t, o: t.group_by("g").agg(i.arg_max(), x.arg_max(), k.arg_min(), d.arg_min(), some=i.filter(b).arg_max())
    ),
    "share_index_of": Case(
        lambda t, o: t.select(
            k.index_of(3), i.index_of(77), x.index_of(float("nan")), g.index_of("cow"), null=g.index_of(None)
        )
    ),
    "share_index_of_group": Case(lambda t, o: t.group_by("k").agg(g.index_of("cow"), i.index_of(None))),
    "share_extremes": Case(
        lambda t, o: t.select(
            *(pl.col(name).max() for name in "cey"),
            *(pl.col(name).min().alias(f"least_{name}") for name in "cey"),
            holes=g.has_nulls(),
            whole=g.fill_null("").has_nulls(),
            all=i.bitwise_and(),
            any=k.bitwise_or(),
            odd=k.bitwise_xor(),
            yes=b.bitwise_or(),
        )
    ),
    "share_extremes_group": Case(
        lambda t, o: t.group_by("k").agg(
            *(pl.col(name).max() for name in "cey"),
            holes=g.has_nulls(),
            any=i.bitwise_or(),
            all=i.bitwise_and(),
        )
    ),
    "share_by": Case(
        lambda t, o: t.select(g.max_by(_numbered), k.min_by("f"), d.max_by(f * 2), some=i.filter(b).max_by(f.filter(b)))
    ),
    "share_by_group": Case(lambda t, o: t.group_by("b").agg(g.max_by(i * 1000 + k), k.min_by("f"))),
}
QUANTILES = {
    "share_times": Case(
        lambda t, o: t.select(
            *(pl.col(name).median() for name in "dtu"),
            naive=t_.dt.replace_time_zone(None).dt.cast_time_unit("ns").median(),
            clock=t_.dt.time().median(),
            far=(d - d.median()).max(),
        )
    ),
}
WEIGHTED = {
    **{
        f"share_ewm_{adjust}_{ignore}_{bias}": _ordered(
            lambda t, o, options={"adjust": adjust, "ignore_nulls": ignore, "bias": bias}: t.select(
                i.ewm_var(alpha=0.3, **options),
                f.cast(pl.Float64).ewm_std(span=4, min_samples=3, **options),
                k.ewm_std(half_life=2, min_samples=12, **options),
                x.fill_nan(None).ewm_var(com=1, **options),
                pl.when(k == 3).then(i).ewm_var(alpha=0.05, **options).alias("seldom"),
                (i - i.mean()).ewm_std(alpha=1.0, **options).alias("last"),
                far=(i + 1e6).ewm_var(alpha=0.2, **options).round(3),
                nan=x.ewm_std(alpha=0.5, **options).is_nan(),
                same=(k * 0 + 0.1).ewm_std(alpha=0.3, **options),
            )
        )
        for adjust in (True, False)
        for ignore in (True, False)
        for bias in (True, False)
    },
    "share_ewm_by": _ordered(
        lambda t, o: (
            t.drop_nulls("t")
            .sort("t", maintain_order=True)
            .select(
                i.ewm_mean_by("t", half_life="2h"),
                f.cast(pl.Float64).ewm_mean_by("t", half_life="24h"),
                x.fill_nan(None).ewm_mean_by(t_.dt.replace_time_zone(None).dt.cast_time_unit("ms"), half_life="90m"),
                day=k.ewm_mean_by(t_.dt.date(), half_life="24h"),
                hours=(k - k.mean()).ewm_mean_by((t_.dt.epoch("s") // 3600).cast(pl.Int32), half_life="3i"),
            )
        )
    ),
    "share_ewm_by_unsorted": _ordered(lambda t, o: t.select(i.ewm_mean_by("i", half_life="2i").alias("mean"))),
}
OTHER_ROWS = {
    **{
        f"share_mode_{name}": Case(lambda t, o, name=name: t.select(pl.col(name).mode()))
        for name in ("k", "g", "x", "d", "c", "b", "m", "l", "n")
    },
    "share_mode_ordered": _ordered(lambda t, o: t.select(k.mode(maintain_order=True))),
    "share_mode_of": Case(lambda t, o: t.select((k.filter(b) % 4).drop_nulls().mode().max().alias("most"))),
    "share_unique": _ordered(lambda t, o: t.select(k.unique().sort())),
    "share_unique_ordered": _ordered(lambda t, o: t.select((i.shift(1) // 3).unique(maintain_order=True) + 1)),
    "share_unique_count": Case(lambda t, o: t.select(g.drop_nulls().unique().len())),
    "share_unique_steps": _ordered(lambda t, o: t.select(k.unique().sort(nulls_last=True).diff())),
    "share_sort": _ordered(lambda t, o: t.select(i.sort(descending=True, nulls_last=True).head(7))),
    "share_sort_by": _ordered(lambda t, o: t.select(i.sort_by("k", i, "g", descending=[True, False, True]))),
    "share_value_counts": Case(lambda t, o: t.select(g.value_counts(normalize=True, name="part"))),
    "share_value_counts_sorted": _ordered(
        lambda t, o: t.select(k.value_counts(sort=True).struct.field("count")).head(2)
    ),
    "share_unique_counts": _ordered(lambda t, o: t.select(k.unique_counts())),
    "share_top": _ordered(lambda t, o: t.select(i.top_k(9).sort())),
    "share_bottom": Case(lambda t, o: t.select(i.drop_nulls().bottom_k(5).sum())),
    "share_slice": _ordered(lambda t, o: t.select(i.slice(3, 8).cum_sum())),
    "share_tail": _ordered(lambda t, o: t.select(g.tail(4))),
    "share_reverse": _ordered(lambda t, o: t.select(i.reverse().cum_sum())),
    "share_dropped": _ordered(lambda t, o: t.select(x.drop_nans().drop_nulls() * 2)),
    "share_exploded": _ordered(lambda t, o: t.select(pl.col("l").drop_nulls().explode())),
    "share_filtered": _ordered(lambda t, o: t.select(g.filter(i > i.mean()))),
    "share_over_rows": _ordered(lambda t, o: t.select(pl.when(k.drop_nulls() > 2).then(1).otherwise(0).alias("high"))),
    "share_several": Case(
        lambda t, o: t.select(
            k.mode().max(), g.unique().len().alias("n"), i.sum(), i.top_k(3).min().alias("third"), f.median()
        )
    ),
    "share_beside": _ordered(lambda t, o: t.with_columns(least=i.drop_nulls().mode().min() - i)),
    "share_exploded_sum": Case(lambda t, o: t.select(pl.col("l").explode().unique().sum())),
}
NEARBY = {
    "share_rolling": _ordered(
        lambda t, o: t.select(
            f.cast(pl.Float64).rolling_skew(7),
            i.rolling_kurtosis(9, min_samples=4, center=True),
            k.rolling_rank(4, min_samples=1),
            up=i.fill_null(0).peak_max(),
            down=k.fill_null(0).peak_min(),
        )
    ),
    "share_rank_nan": _ordered(
        lambda t, o: t.select(*((x * float("nan")).rank(way).alias(way) for way in ("min", "max", "average", "dense")))
    ),
    "share_runs": _ordered(
        lambda t, o: t.select(
            *(pl.col(name).rle_id() for name in ("k", "b", "n", "g", "d")), halves=(i > 0).rle_id() // 2
        )
    ),
    "share_nearest": _ordered(
        lambda t, o: t.select(pl.col(name).interpolate("nearest") for name in ("k", "i", "f", "d"))
    ),
}
SHARE_CASES: dict[str, Case] = {**MOMENTS, **PLACES, **QUANTILES, **WEIGHTED, **OTHER_ROWS, **NEARBY}
