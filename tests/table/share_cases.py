"""Expressions that need all values, and that ranks share all the same: moments, places, modes, weighted spreads."""

from __future__ import annotations

import polars as pl
from polars import selectors as cs

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
_LOW_LABELS = ["low", "middle", "high"]
SIDE_BY_SIDE = {
    "beside_sorted": _ordered(lambda t, o: t.select(i.sort(), k.sort(descending=True), "g", a=k.reverse())),
    "beside_all": _ordered(lambda t, o: t.select(pl.col("k", "g", "d", "x", "l").sort())),
    "beside_unique": _ordered(
        lambda t, o: t.select(g.drop_nulls().unique().sort().head(1), k.head(1), rows=pl.len(), top=i.max())
    ),
    "beside_columns": _ordered(
        lambda t, o: t.with_columns(i.sort(), c=k.sort_by(i, k, descending=True), later=g.shift(1)).select(
            "i", "k", "c"
        )
    ),
    "beside_scaled": _ordered(
        lambda t, o: t.select(
            (cs.integer() - cs.integer().mean()) / cs.integer().std(), i.cast(pl.Float64).sort().alias("s")
        )
    ),
    "beside_heads": _ordered(lambda t, o: t.select(i.head(1), g.tail(1), d.slice(0, 1)).head(1)),
    "place_true": _ordered(lambda t, o: t.select((i > 0).arg_true())),
    "place_first": _ordered(lambda t, o: t.select(x.arg_unique())),
    **{
        f"place_sorted_{name}": _ordered(
            lambda t, o, name=name: t.select(
                pl.col(name).arg_sort(), down=pl.col(name).arg_sort(descending=True, nulls_last=True)
            )
        )
        for name in ("k", "x", "g")
    },
    "place_sorted_by": _ordered(
        lambda t, o: t.select(pl.arg_sort_by("g", "i", k.fill_null(-9) * 1000 + pl.int_range(pl.len())))
    ),
    "place_every": _ordered(lambda t, o: t.select(i.gather_every(7, 2), g=g.gather_every(7, 2))),
    "place_runs": _ordered(lambda t, o: t.select(k.rle(), b.rle_id().max().alias("last")).unnest("k").head(4)),
    # Of no rows Polars has the two fields the other way round.
    "place_runs_alone": _ordered(lambda t, o: t.select((k > 2).rle()).unnest("k").select("len", "value")),
    "place_appended": _ordered(lambda t, o: t.select(i.append(k))),
    "place_groups": _ordered(lambda t, o: t.select(i.sort().over("g", mapping_strategy="explode"))),
    "place_groups_once": _ordered(lambda t, o: t.select(i.sum().over("k", b, mapping_strategy="explode"))),
    "place_numbers": _ordered(
        lambda t, o: t.select(
            pl.int_range(1, pl.len() + 1).alias("one"),
            share=pl.int_range(1, pl.len() + 1, dtype=pl.UInt32) / (pl.len() + 1),
        )
    ),
    "in_list": _ordered(lambda t, o: t.filter(k.is_in(k.filter(i > 20).unique().implode()), ~g.is_in(["ant"]))),
    "in_list_column": _ordered(
        lambda t, o: t.select("k", seen=g.is_in(g.drop_nulls().unique().sort().head(2).implode()))
    ),
}
ORDERS = {
    "order_cumulative": _ordered(
        lambda t, o: t.select(
            i.cum_sum().over(order_by="i"),
            shifted=g.shift(1).over(order_by="i", descending=True, nulls_last=True),
            first=k.first().over(order_by=i * 2),
            mean=i.rolling_sum(3, min_samples=1).over(order_by=["k", "i"]),
        )
    ),
    "order_unsorted": _ordered(
        lambda t, o: t.drop_nulls("t").select(
            i.rolling_sum_by("t", "5h"),
            k.rolling_max_by("t", "1d", closed="both", min_samples=2).alias("max"),
            line=f.interpolate_by("t"),
            steps=(i - i.mean()).rolling_mean_by("t", "3h"),
        )
    ),
    "order_unsorted_ewm": _ordered(
        lambda t, o: (
            t.drop_nulls("i")
            .unique("i", keep="first", maintain_order=True)
            .select(k.ewm_mean_by("i", half_life="2i"), f.cast(pl.Float64).ewm_mean_by(-i, half_life="5i").alias("f"))
        )
    ),
    "order_nested": _ordered(
        lambda t, o: t.select(
            (i - i.mean().over("g")).abs().cum_sum().over("g"), other=k.sum().over("b").max().over("g")
        )
    ),
    "rolled": _ordered(
        lambda t, o: (
            t.drop_nulls("t")
            .sort("t", maintain_order=True)
            .select(
                i.sum().rolling("t", period="5h"),
                (i.max() - k.min()).rolling("t", period="2h", closed="both").alias("range"),
                ahead=g.last().rolling("t", period="3h", offset="1h"),
                back=k.median().rolling(t_.dt.replace_time_zone(None), period="4h", offset="-2h"),
                far=(i - i.mean().over("g")).sum(),
            )
        )
    ),
    "rolled_steps": _ordered(
        lambda t, o: t.with_row_index("row").select(
            k.sum().rolling("row", period="3i"), lists=b.implode().rolling("row", period="2i")
        )
    ),
    "rolled_pairs": _ordered(
        lambda t, o: t.select(
            pl.rolling_corr("i", "k", window_size=5, min_samples=3).round(6),
            pl.rolling_cov(i.fill_null(0), k.fill_null(0) - k.mean(), window_size=4).alias("cov"),
            most=i.rolling_map(lambda values: values.max(), 4, min_samples=2),
        )
    ),
    "bins": _ordered(
        lambda t, o: t.select(
            i.qcut([0.25, 0.5, 0.75], labels=list("abcd"), allow_duplicates=True),
            k.qcut([1 / 3, 0.8], labels=_LOW_LABELS, left_closed=True, allow_duplicates=True).alias("k"),
            above=(f - f.median()).qcut([0.5], labels=["no", "yes"], allow_duplicates=True).cast(pl.String),
        )
    ),
    "bins_named": _ordered(
        # Which of the two zeros is an edge, no order says.
        lambda t, o: t.select((x.fill_nan(None) + 1).qcut([0.1, 0.7], allow_duplicates=True).cast(pl.String))
    ),
}
SHARE_CASES: dict[str, Case] = {
    **MOMENTS,
    **PLACES,
    **QUANTILES,
    **WEIGHTED,
    **OTHER_ROWS,
    **NEARBY,
    **SIDE_BY_SIDE,
    **ORDERS,
}
