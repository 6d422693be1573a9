"""Operators as functions that take a Polars LazyFrame or a distributed Table alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl
from polars import selectors as cs

import deeprc as rc

T = Any  # pl.LazyFrame or deeprc.Table: the same calls on both are what is tested


@dataclass(frozen=True)
class Case:
    """A plan over a table and a second one; `ordered` says that the order of rows is promised too."""

    plan: Callable[[T, T], T]
    ordered: bool = False


def _ordered(plan: Callable[[T, T], T]) -> Case:
    return Case(plan, ordered=True)


STEPS = {
    "filter": _ordered(lambda t, o: t.filter(pl.col("k") > 2, pl.col("b"))),
    "filter_constraint": _ordered(lambda t, o: t.filter(g="ant")),
    "filter_udf": _ordered(
        lambda t, o: t.filter(pl.col("k").map_elements(lambda v: hash((v, 1)) % 2 == 0, return_dtype=pl.Boolean))
    ),
    "sort_by_all_shifted": _ordered(
        lambda t, o: t.select("i", "k").sort(pl.all().shift(1), descending=True, maintain_order=True)
    ),
    "cumulative_eval": _ordered(lambda t, o: t.select("k", n=pl.col("i").cumulative_eval(pl.element().count()))),
    "struct_fields_in_order": _ordered(
        lambda t, o: t.select(
            pl.col("s").struct.with_fields(a=pl.field("a").cum_sum(), n=pl.col("k").count()),
            f=pl.col("x").is_infinite(),
        )
    ),
    "filter_above_mean": _ordered(lambda t, o: t.filter(pl.col("i") > pl.col("i").mean(), pl.col("k") > 1)),
    "filter_is_in_column": _ordered(lambda t, o: t.filter(pl.col("k").is_in(pl.col("i").implode()))),
    "select": _ordered(lambda t, o: t.select("g", (pl.col("x") * 2).alias("double"), one=1)),
    "select_selector": _ordered(lambda t, o: t.select(cs.numeric() + 1, cs.string())),
    "select_sum": Case(
        lambda t, o: t.select(pl.col("i").sum(), pl.len(), mean=pl.col("f").mean(), top=pl.col("d").max())
    ),
    "select_first": Case(lambda t, o: t.select(pl.col("i").first(), pl.col("g").last().alias("last"))),
    "select_median": Case(lambda t, o: t.select(pl.col("i").median(), pl.col("x").n_unique(), pl.col("k").std())),
    "select_literal": Case(lambda t, o: t.select(pl.lit(7).alias("seven"))),
    "select_all_sum": Case(lambda t, o: t.select(cs.integer().sum())),
    "select_shift": _ordered(lambda t, o: t.select("g", pl.col("i").shift(1).alias("before"))),
    "select_head": _ordered(lambda t, o: t.select(pl.col("i").head(3), pl.col("g").head(3))),
    "select_unique": _ordered(lambda t, o: t.select(pl.col("k").unique().sort())),
    "select_explode": _ordered(lambda t, o: t.select(pl.col("l").explode())),
    "select_index": _ordered(lambda t, o: t.select(pl.int_range(pl.len()).alias("row"), "g")),
    "with_columns": _ordered(lambda t, o: t.with_columns(pl.col("x").fill_null(0), day=pl.col("d").dt.day())),
    "with_columns_over": _ordered(lambda t, o: t.with_columns(pl.col("i").sum().over("g").alias("total"))),
    "with_columns_mixed": _ordered(
        lambda t, o: t.with_columns(
            pl.col("i") - pl.col("i").mean(), pl.col("k") + 1, lag=pl.col("k").diff(), rows=pl.len()
        )
    ),
    "with_columns_cumulative": _ordered(lambda t, o: t.with_columns(pl.col("i").cum_sum(), r=pl.col("k").rank())),
    "with_columns_fill": _ordered(lambda t, o: t.with_columns(pl.col("g").fill_null(strategy="forward"))),
    "rename": _ordered(lambda t, o: t.rename({"k": "key", "x": "value"}).filter(pl.col("key") > 1)),
    "drop": _ordered(lambda t, o: t.drop("k", cs.float())),
    "head": _ordered(lambda t, o: t.head(5)),
    "head_none": _ordered(lambda t, o: t.head(0)),
    "head_all": _ordered(lambda t, o: t.head(10_000)),
}
JOINS = {
    "join_inner": Case(lambda t, o: t.join(o, on="k")),
    "join_left": Case(lambda t, o: t.join(o, on="k", how="left")),
    "join_two_keys": Case(lambda t, o: t.join(o, on=["k", "g"], how="inner", suffix="_o")),
    "join_names": Case(lambda t, o: t.join(o.rename({"k": "z"}), left_on="k", right_on="z", how="left")),
    "join_int_types": Case(lambda t, o: t.join(o, left_on="k", right_on="i")),
    "join_int_types_back": Case(lambda t, o: t.join(o, left_on="i", right_on="k", how="left")),
    "join_float": Case(lambda t, o: t.select("x", "k").join(o.select("x", "g"), on="x")),
    "join_float_types": Case(lambda t, o: t.select("x", "k").join(o.select("f", "g"), left_on="x", right_on="f")),
    "join_string": Case(lambda t, o: t.select("g", "k").join(o.select("g", "i"), on="g", how="left")),
    "join_categorical": Case(lambda t, o: t.select("c", "k").join(o.select("c", "i"), on="c")),
    "join_enum": Case(lambda t, o: t.select("e", "k").join(o.select("e", "i"), on="e", how="left")),
    "join_date": Case(lambda t, o: t.select("d", "k").join(o.select("d", "i"), on="d")),
    "join_time": Case(lambda t, o: t.select("t", "u", "k").join(o.select("t", "u", "i"), on=["t", "u"])),
    "join_decimal": Case(lambda t, o: t.select("m", "k").join(o.select("m", "i"), on="m")),
    "join_struct": Case(lambda t, o: t.select("s", "k").join(o.select("s", "i"), on="s")),
    "join_nulls_equal": Case(lambda t, o: t.join(o, on="k", how="left", nulls_equal=True)),
    "join_expression": Case(
        lambda t, o: t.select("k", "g").join(o.select("k", "i"), left_on=pl.col("k") + 1, right_on=pl.col("k") * 2)
    ),
    "join_self": Case(lambda t, o: t.join(t.group_by("k").agg(pl.len()), on="k", how="left")),
    "join_of_groups": Case(
        lambda t, o: t.group_by("k").agg(pl.col("i").sum()).join(o.group_by("k").agg(pl.col("x").max()), on="k")
    ),
    "join_subset_placed": Case(
        lambda t, o: t.group_by("k").agg(pl.col("g").min()).join(o, on=["k", "g"]).group_by("k").agg(pl.len())
    ),
}
GROUPS = {
    "group_sum": Case(
        lambda t, o: t.group_by("k").agg(
            pl.col("i").sum(), pl.col("f").mean(), pl.col("x").max(), pl.len(), low=pl.col("x").min()
        )
    ),
    "group_partial_types": Case(
        lambda t, o: t.group_by("g", "b").agg(
            pl.col("i").mean().alias("mean"),
            pl.col("b").sum().alias("yes"),
            pl.col("u").sum(),
            pl.col("m").sum(),
            pl.col("d").max(),
            pl.col("t").min(),
            pl.col("i").count().alias("count"),
            pl.col("x").len().alias("rows"),
            pl.col("g").max().alias("text"),
            ((pl.col("i") + 1) * 2).sum().alias("expression"),
        )
    ),
    "group_first_last": Case(
        lambda t, o: t.group_by("k").agg(pl.col("g").first(), pl.col("c").last(), pl.col("l").first(), pl.len())
    ),
    "group_lists": Case(lambda t, o: t.group_by("k").agg(pl.col("i"), pl.col("g").first())),
    "group_any": Case(
        lambda t, o: t.group_by("g").agg(
            pl.col("i").median(),
            pl.col("f").std().alias("std"),
            pl.col("x").n_unique().alias("n"),
            (pl.col("i").max() - pl.col("i").min()).alias("range"),
            pl.col("i").filter(pl.col("b")).sum().alias("filtered"),
            pl.col("k").sort_by("i", "k").last().alias("by"),
            pl.col("i").quantile(0.3).alias("q"),
        )
    ),
    "group_related": Case(
        lambda t, o: t.group_by("g").agg(
            pl.corr("i", "f"),
            pl.cov("i", "k").alias("cov"),
            pl.cov("f", "i", ddof=0).alias("cov0"),
            (pl.corr("i", "k") ** 2).alias("r2"),
            pl.corr(pl.col("f").cast(pl.Float32), pl.col("x").cast(pl.Float32)).alias("narrow"),
        )
    ),
    "group_all": Case(lambda t, o: t.select("k", "i", "g").group_by("k").agg(pl.all().first())),
    "group_udf": Case(
        lambda t, o: t.group_by("k").agg(
            pl.col("i").map_batches(lambda s: s.fill_null(0).max(), return_dtype=pl.Int32, returns_scalar=True)
        )
    ),
    "group_expression": Case(lambda t, o: t.group_by(pl.col("d").dt.day().alias("day"), odd=pl.col("k") % 2).len()),
    "group_key_reused": Case(lambda t, o: t.group_by(pl.col("k") // 2).agg(pl.col("k").sum().alias("sum"))),
    "group_ranked": Case(lambda t, o: t.group_by(pl.col("k").rank("dense")).agg(pl.len())),
    "group_float": Case(lambda t, o: t.group_by("x").agg(pl.len(), pl.col("i").sum())),
    "group_categorical": Case(lambda t, o: t.group_by("c", "e").agg(pl.len(), pl.col("i").max())),
    "group_nested": Case(lambda t, o: t.group_by("s", "l").agg(pl.len(), pl.col("i").min())),
    "group_null_type": Case(lambda t, o: t.group_by("n").agg(pl.len())),
    "group_binary": Case(lambda t, o: t.group_by("y", "m", "u").agg(pl.len())),
    "group_ordered": _ordered(
        lambda t, o: t.group_by("g", maintain_order=True).agg(pl.len(), pl.col("i").sum(), pl.col("k"))
    ),
    "group_again": Case(
        lambda t, o: t.group_by("k", "g").agg(pl.len()).group_by("k").agg(pl.col("len").sum(), pl.col("g").max())
    ),
    "group_placed": Case(
        lambda t, o: t.group_by("k").agg(pl.col("i").sum()).rename({"k": "z"}).group_by("z", "i").agg(pl.len())
    ),
    "group_no_aggs": Case(lambda t, o: t.group_by("k", "b").agg()),
}
SORTS = {
    "sort": _ordered(lambda t, o: t.sort("k", "i", "g", "t", "x", maintain_order=True)),
    "sort_stable": _ordered(lambda t, o: t.sort("b", maintain_order=True)),
    "sort_descending": _ordered(lambda t, o: t.sort("k", descending=True, nulls_last=True, maintain_order=True)),
    "sort_directions": _ordered(
        lambda t, o: t.sort(
            "g", "x", pl.col("i"), descending=[True, False, True], nulls_last=[False, True, True], maintain_order=True
        )
    ),
    "sort_nan": _ordered(lambda t, o: t.sort("x", maintain_order=True)),
    "sort_categorical": _ordered(lambda t, o: t.sort("c", "e", maintain_order=True)),
    "sort_dates": _ordered(lambda t, o: t.sort("d", "t", "u", descending=[True, False, True], maintain_order=True)),
    "sort_decimal": _ordered(lambda t, o: t.sort("m", "y", maintain_order=True)),
    "sort_list": _ordered(lambda t, o: t.sort("l", maintain_order=True)),
    "sort_struct": _ordered(lambda t, o: t.sort("s", maintain_order=True)),
    "sort_null_type": _ordered(lambda t, o: t.sort("n", maintain_order=True)),
    "sort_expression": _ordered(lambda t, o: t.sort(pl.col("i").abs(), -pl.col("k"), maintain_order=True)),
    "sort_around": _ordered(lambda t, o: t.sort(pl.col("i").rank("dense"), maintain_order=True)),
    "sort_selector": _ordered(lambda t, o: t.sort(cs.integer(), maintain_order=True)),
    "sort_head": _ordered(lambda t, o: t.sort("i", "k", maintain_order=True).head(7)),
    "sort_unstable": Case(lambda t, o: t.sort("k")),
    "sort_twice": _ordered(lambda t, o: t.sort("i", maintain_order=True).sort("k", maintain_order=True)),
    "sort_shift": _ordered(
        lambda t, o: t.sort("i", "k", maintain_order=True).with_columns(pl.col("i").shift(1).over("g").alias("before"))
    ),
}
UNIQUES = {
    "unique": Case(lambda t, o: t.select("k", "b").unique()),
    "unique_rows": Case(lambda t, o: t.unique()),
    "unique_first": Case(lambda t, o: t.unique("k", keep="first")),
    "unique_last": Case(lambda t, o: t.unique(["k", "b"], keep="last")),
    "unique_none": Case(lambda t, o: t.unique("i", keep="none")),
    "unique_any_keys": Case(lambda t, o: t.unique("g").select("g")),
    "unique_float": Case(lambda t, o: t.select("x").unique()),
    "unique_first_ordered": _ordered(lambda t, o: t.unique("k", keep="first", maintain_order=True)),
    "unique_last_ordered": _ordered(lambda t, o: t.unique(["g"], keep="last", maintain_order=True)),
    "unique_none_ordered": _ordered(lambda t, o: t.unique(["i", "k"], keep="none", maintain_order=True)),
    "unique_selector": Case(lambda t, o: t.unique(cs.integer(), keep="first")),
    "unique_placed": Case(lambda t, o: t.group_by("k", "g").agg(pl.col("i").max()).unique(["k", "g", "i"])),
}


def either(method: str, reference: Callable[[T, T], T]) -> Case:
    """A method of two tables that Polars has not: what Polars has to say to it is `reference`."""
    return Case(lambda t, o: reference(t, o) if isinstance(t, pl.LazyFrame) else getattr(t, method)(o))


def _anywhere(t: T, o: T, wanted: Callable[[set[str], set[str]], set[str]]) -> T:
    """Rows by their text: no operator of Polars decides which are equal."""
    left, right = ([str(row) for row in side.collect().rows()] for side in (t, o))
    kept = wanted(set(left), set(right))
    firsts = [number for number, row in enumerate(left) if row in kept and row not in left[:number]]
    return t.collect()[firsts].lazy()


def _both(t: T, o: T) -> tuple[T, T]:
    """Tables with rows in common, with nulls and repeats; no zeros of two signs."""
    return t.select("k", "g", "e", "d", "s"), t.select("k", "g", "e", "d", "s").slice(2, 60)


def _cat(tables: list[T], how: Any = "vertical") -> T:
    return (pl.concat if isinstance(tables[0], pl.LazyFrame) else rc.concat)(tables, how=how)


MORE_JOINS = {
    f"join_{how}_{name}": Case(lambda t, o, how=how, plan=plan: plan(t, o, how))
    for how in ("inner", "left", "right", "full", "semi", "anti")
    for name, plan in {
        "key": lambda t, o, how: t.join(o, on="k", how=how),
        "keys": lambda t, o, how: t.join(o.rename({"k": "z"}), left_on=["k", "g"], right_on=["z", "g"], how=how),
        "expression": lambda t, o, how: t.join(o, left_on=pl.col("k") * 2, right_on=pl.col("i") + 1, how=how),
        "nulls_equal": lambda t, o, how: t.select("k", "g", "i").join(
            o.select("g", "k", "x"), on="g", how=how, nulls_equal=True
        ),
        "text": lambda t, o, how: t.join(o.select("c", "d", "i"), on=["c", "d"], how=how).filter(pl.col("i") > 0),
        "placed": lambda t, o, how: (
            t.group_by("k")
            .agg(pl.len())
            .join(o.select("k", "x"), on="k", how=how)
            .group_by("k")
            .agg(pl.len().alias("rows"))
        ),
        "narrow": lambda t, o, how: t.join(o, on="k", how=how).select("g", "i"),
    }.items()
} | {
    "join_full_coalesced": Case(lambda t, o: t.join(o, on="k", how="full", coalesce=True)),
    "join_left_uncoalesced": Case(lambda t, o: t.join(o, on="k", how="left", coalesce=False)),
    "join_cross": Case(lambda t, o: t.select("k", "g").join(o.select("k", "d").head(9), how="cross")),
    "join_cross_left": Case(lambda t, o: t.select("k").head(3).join(o.select("g", "d", "k"), how="cross", suffix="_o")),
    "join_cross_filter": Case(
        lambda t, o: t.select("k", "g").join(o.select("i"), how="cross").filter(pl.col("k") > 1).select("i")
    ),
}
ASOF = {
    f"asof_{strategy}_{tolerance}_{'by' if by else 'all'}": Case(
        lambda t, o, strategy=strategy, tolerance=tolerance, by=by: (
            t.drop_nulls(["i"])
            .sort("i", maintain_order=True)
            .join_asof(
                o.drop_nulls("i").sort("i", maintain_order=True), on="i", by=by, strategy=strategy, tolerance=tolerance
            )
        ),
        ordered=by is None,
    )
    for strategy in ("backward", "forward", "nearest")
    for tolerance in (None, 3)
    for by in (None, "g", ["g", "k"])
} | {
    "asof_times": Case(
        lambda t, o: (
            t.drop_nulls("t")
            .sort("t", maintain_order=True)
            .join_asof(
                o.drop_nulls("t").select("t", "c", "i").sort("t", maintain_order=True),
                left_on="t",
                right_on="t",
                by_left="c",
                by_right="c",
                tolerance="2h",
                allow_exact_matches=False,
            )
        )
    ),
}
SETS = {
    "concat": _ordered(lambda t, o: _cat([t, o, t.filter(pl.col("k") > 2)])),
    "concat_head": _ordered(lambda t, o: _cat([o, t]).head(50).select("g")),
    "concat_filter": _ordered(lambda t, o: _cat([o, t]).filter(pl.col("k") > 1).select("i", "k")),
    "union_all": either("union_all", lambda t, o: pl.concat([t, o])),
    "union": either("union", lambda t, o: pl.concat([t, o]).unique()),
    "difference": Case(
        lambda t, o: (
            _anywhere(*_both(t, o), lambda a, b: a - b)
            if isinstance(t, pl.LazyFrame)
            else _both(t, o)[0].difference(_both(t, o)[1])
        )
    ),
    "intersect": Case(
        lambda t, o: (
            _anywhere(*_both(t, o), lambda a, b: a & b)
            if isinstance(t, pl.LazyFrame)
            else _both(t, o)[0].intersect(_both(t, o)[1])
        )
    ),
}
ROWS = {
    **{
        f"slice_{offset}_{length}": _ordered(lambda t, o, offset=offset, length=length: t.slice(offset, length))
        for offset in (0, 60, 500, -4, -500)
        for length in (None, 2, 480)
    },
    "tail": _ordered(lambda t, o: t.tail(7)),
    "tail_none": _ordered(lambda t, o: t.tail(0)),
    "limit": _ordered(lambda t, o: t.limit(3).select("g")),
    "slice_sorted": _ordered(lambda t, o: t.sort("i", "k", maintain_order=True).slice(5, 9).select("k")),
    "row_index": _ordered(lambda t, o: t.filter(pl.col("k") > 1).with_row_index("row", 5).filter(pl.col("row") > 8)),
    "top_k": Case(lambda t, o: t.select("k", "g", "i").top_k(9, by=["k", "g", "i"])),
    "top_k_reverse": Case(lambda t, o: t.select("k", "i").top_k(5, by=["k", -pl.col("i")], reverse=[True, False])),
    "bottom_k": Case(lambda t, o: t.select("d", "x").bottom_k(12, by=["d", "x"])),
    "drop_nulls": _ordered(lambda t, o: t.select("k", "g", "x").drop_nulls()),
    "drop_nulls_subset": _ordered(lambda t, o: t.drop_nulls(cs.string() | cs.date())),
    "fill_null": _ordered(lambda t, o: t.fill_null(7).select("k", "x", "g")),
    "fill_null_text": _ordered(lambda t, o: t.fill_null("none")),
    **{
        f"fill_null_{strategy}": _ordered(
            lambda t, o, strategy=strategy: t.select("k", "i", "x", "m", "d").fill_null(strategy=strategy)
        )
        for strategy in ("forward", "backward", "min", "max")
    },
    "fill_null_limit": _ordered(lambda t, o: t.fill_null(strategy="backward", limit=2)),
    "fill_null_mean": _ordered(lambda t, o: t.select("k", "i", "x", "f").fill_null(strategy="mean")),
    "fill_null_zero": _ordered(lambda t, o: t.select("k", "x").fill_null(strategy="zero")),
    "fill_null_expression": _ordered(lambda t, o: t.select("k", "i").fill_null(pl.col("k") * 2)),
    "map_batches": _ordered(
        lambda t, o: t.map_batches(
            lambda part: part.select("g", y=pl.col("k") * 2), schema={"g": pl.String, "y": pl.Int64}
        ).filter(pl.col("y") > 2)
    ),
    "fill_nan": _ordered(lambda t, o: t.fill_nan(None)),
    "cast": _ordered(lambda t, o: t.cast({"k": pl.Float32, cs.date(): pl.String})),
    "cast_all": _ordered(lambda t, o: t.select("k", "i", "b").cast(pl.String).select("k")),
    "unpivot": Case(lambda t, o: t.unpivot(["k", "i"], index=["g", "d"], variable_name="what")),
    "unpivot_values": Case(lambda t, o: t.unpivot(["k", "i"], index="g").select("value")),
}
WINDOWS = {
    "value_counts": Case(
        lambda t, o: (
            t.value_counts("g", normalize=True, name="part")
            if isinstance(t, rc.Table)
            else t.select(pl.col("g").value_counts(normalize=True, name="part")).unnest("g")
        )
    ),
    "value_counts_sorted": _ordered(
        lambda t, o: (
            t.value_counts(pl.col("d").dt.day(), sort=True).select("count")
            if isinstance(t, rc.Table)
            else t.select(pl.col("d").dt.day().value_counts(sort=True)).unnest("d").select("count")
        )
    ),
    "pivot": Case(lambda t, o: t.pivot("e", ["ant", "bee", "eel"], index="k", values="i", aggregate_function="sum")),
    "pivot_first": Case(
        lambda t, o: t.pivot("b", [True, False], index=["g", "k"], values=["i", "d"], aggregate_function="first")
    ),
    "dynamic": _ordered(
        lambda t, o: (
            t.drop_nulls("t")
            .sort("t", maintain_order=True)
            .group_by_dynamic("t", every="3h", closed="right")
            .agg(pl.col("i").sum(), pl.len())
        )
    ),
    "dynamic_by": Case(
        lambda t, o: (
            t.drop_nulls("t")
            .sort("t", maintain_order=True)
            .group_by_dynamic("t", every="3h", period="6h", group_by=["g", "b"], include_boundaries=True)
            .agg(pl.col("i").median(), first=pl.col("k").first())
        )
    ),
    "rolling": _ordered(
        lambda t, o: (
            t.drop_nulls("d").sort("d", maintain_order=True).rolling("d", period="2d").agg(pl.col("i").sum(), pl.len())
        )
    ),
    "rolling_by": Case(
        lambda t, o: (
            t.drop_nulls("t")
            .sort("t", maintain_order=True)
            .rolling("t", period="5h", group_by="c", closed="both")
            .agg(pl.col("i").max(), last=pl.col("g").last())
        )
    ),
}
x, k, i, g, f = (pl.col(name) for name in "xkigf")
AROUND = {
    "around_shift": lambda t, o: t.with_columns(
        i.shift(3).alias("a"),
        i.shift(-2).alias("b"),
        i.shift(2, fill_value=7).alias("c2"),
        i.shift(500).alias("d2"),
        pl.col("l").shift(1).alias("e2"),
        pl.col("s").shift(-1).alias("f2"),
    ),
    "around_all": lambda t, o: t.with_columns(pl.all().shift(1)),
    "around_selected": lambda t, o: t.select(pl.col("i", "k").diff(2).name.suffix("_d"), "g"),
    "around_cumulative": lambda t, o: t.select(
        i.cum_sum(),
        i.cum_sum(reverse=True).alias("back"),
        i.cum_max().alias("max"),
        i.cum_min(reverse=True).alias("min"),
        i.cum_count().alias("count"),
        i.cum_count(reverse=True).alias("count_back"),
        (k % 3).cum_prod().alias("product"),
        x.cum_max().alias("floats"),
        pl.col("b").cum_sum(),
        pl.col("m").cum_sum(),
        pl.col("u").cum_sum(),
        pl.col("d").cum_max(),
    ),
    "around_fill": lambda t, o: t.select(
        g.fill_null(strategy="forward").alias("g_forward"),
        g.backward_fill(2),
        i.fill_null(strategy="forward", limit=1),
        i.fill_null(strategy="mean").alias("mean"),
        x.fill_null(strategy="min"),
        pl.col("d").fill_null(strategy="max"),
        pl.col("c", "l", "t", "e", "s").fill_null(strategy="backward"),
    ),
    "around_over": lambda t, o: t.with_columns(
        i.sum().over("g").alias("sum"),
        i.rank().over("g", "k").alias("rank"),
        i.cum_sum().over("c").alias("cumulative"),
        x.shift(1).over("x").alias("shift"),
        i.first().over(k % 3, order_by=["i"], descending=True).alias("first"),
        g.sort().over("k").alias("sorted"),
        i.implode().over("g", mapping_strategy="join").alias("list"),
    ),
    "around_nested": lambda t, o: t.with_columns(
        (i.sum().over("g") - i.mean() + i.shift(1)).cum_sum().shift(1).alias("a"),
        pl.when(i == i.max()).then(g).otherwise(pl.lit("no")).alias("w"),
        (k.rank() + i.sum()).alias("rank"),
    ),
    "around_repeats": lambda t, o: t.select(
        x.is_duplicated(), g.is_first_distinct(), k.is_last_distinct(), pl.col("d").is_unique()
    ),
    "around_rolling": lambda t, o: t.select(
        i.rolling_sum(3),
        i.rolling_mean(4, min_samples=1, center=True).alias("mean"),
        f.rolling_max(5),
        k.rolling_median(3),
        i.rolling_std(7, min_samples=2).alias("std"),
    ),
    "around_filter": lambda t, o: t.filter(
        i > i.mean().over("g"), k.is_first_distinct() | (i.shift(1) > 0), k > 1
    ).select("i", "g"),
    "around_placed": lambda t, o: t.group_by("g", maintain_order=True).agg(i.sum()).with_columns(i.sum().over("g")),
}
CASES: dict[str, Case] = {
    **{name: _ordered(plan) for name, plan in AROUND.items()},
    **WINDOWS,
    **MORE_JOINS,
    **ASOF,
    **SETS,
    **ROWS,
    **STEPS,
    **JOINS,
    **GROUPS,
    **SORTS,
    **UNIQUES,
}
