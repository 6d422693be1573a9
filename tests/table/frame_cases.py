"""Polars' methods of whole frames and of groups, as cases: what a user of LazyFrame looks for on a table."""

from __future__ import annotations

from typing import Any

import polars as pl
from polars import selectors as cs

from tests.table.around_cases import AROUND_CASES
from tests.table.cases import CASES, Case, T, _cat, _ordered
from tests.table.share_cases import SHARE_CASES

k, i, g, x, f, t_ = (pl.col(name) for name in "kigxft")

TOTALS = {
    f"total_{name}": Case(lambda t, o, name=name, options=options: getattr(t, name)(**options))
    for name, options in {
        "count": {},
        "null_count": {},
        "sum": {},
        "min": {},
        "max": {},
        "mean": {},
        "median": {},
        "std": {},
        "var": {"ddof": 0},
    }.items()
} | {
    # Of times without a value Polars panics.
    "total_quantile": Case(lambda t, o: t.select(cs.numeric() | cs.string()).quantile(0.3, "linear")),
}
PICKS = {
    "first": _ordered(lambda t, o: t.first()),
    "last": _ordered(lambda t, o: t.filter(k > 1).last()),
    "gather_every": _ordered(lambda t, o: t.gather_every(7)),
    "gather_every_offset": _ordered(lambda t, o: t.filter(k > 2).gather_every(3, 4).select("g")),
    # Polars itself turns a column of lists into one of List(Null) where all are null.
    "reverse": _ordered(lambda t, o: t.drop("l").reverse()),
    "reverse_filter": _ordered(lambda t, o: t.reverse().filter(k > 1).select("i").head(9)),
    "remove": _ordered(lambda t, o: t.remove(k > 2, pl.col("b"))),
    "remove_constraint": _ordered(lambda t, o: t.remove(g="ant")),
    "drop_nans": _ordered(lambda t, o: t.drop_nans()),
    "drop_nans_subset": _ordered(lambda t, o: t.drop_nans(cs.by_name("x"))),
    "shift": _ordered(lambda t, o: t.shift(2)),
    "shift_fill": _ordered(lambda t, o: t.select("k", "i").shift(-3, fill_value=0)),
    # Booleans are left as they are; Polars panics.
    "interpolate_frame": _ordered(lambda t, o: t.drop("b").interpolate()),
    "explode": _ordered(lambda t, o: t.explode("l")),
    "explode_empty": _ordered(lambda t, o: t.explode(cs.list(), empty_as_null=True, keep_nulls=False).select("k", "l")),
    "unnest": _ordered(lambda t, o: t.unnest("s").filter(pl.col("a") > 0)),
    "unnest_all": _ordered(lambda t, o: t.unnest(separator=".").select("s.w", "k")),
    "match_to_schema": _ordered(
        lambda t, o: t.select("k", "i").match_to_schema({"i": pl.Int64, "k": pl.Int64}, integer_cast="upcast")
    ),
    "set_sorted": _ordered(lambda t, o: t.sort("i", maintain_order=True).set_sorted("i").filter(i > 3)),
    "pipe_with_schema": _ordered(
        lambda t, o: t.clone().cache().pipe_with_schema(lambda table, schema: table.select(list(schema)[:3]))
    ),
    "clear": Case(lambda t, o: t.clear(2)),
    "rename_some": _ordered(lambda t, o: t.rename({"k": "key", "none": "n2"}, strict=False)),
    "rename_all": _ordered(lambda t, o: t.rename(str.upper)),
    "drop_some": _ordered(lambda t, o: t.drop("k", "none", strict=False)),
    "pipe": _ordered(lambda t, o: t.pipe(lambda table, n: table.head(n), 4)),
    "brackets": _ordered(lambda t, o: t[3:40:7]),
    "brackets_last": _ordered(lambda t, o: t[-4:]),
    "fill_null_by_mean": _ordered(lambda t, o: t.select("k", "i", "x").fill_null(k.mean())),
    "fill_nan_by_column": _ordered(lambda t, o: t.select("k", "x", "f").fill_nan(f)),
    "fill_nan_by_mean": _ordered(lambda t, o: t.select("k", "x", "f").fill_nan(f.mean())),
    "seq": _ordered(lambda t, o: t.with_columns_seq(k + 1).select_seq("k", "g")),
}
MATCHES = {
    "join_where_less": Case(lambda t, o: t.select("k", "g", "i").join_where(o.select("i", "d"), i < pl.col("i_right"))),
    "join_where_between": Case(
        lambda t, o: t.select("k", "i").join_where(
            o.select(low="i", high=i + k, name="g"), i >= pl.col("low"), i <= pl.col("high")
        )
    ),
    "join_where_equal": Case(
        lambda t, o: t.select("k", "g", "i").join_where(
            o.select("k", "g", "x"),
            (k == pl.col("k_right")) & (pl.col("x") > 0),
            pl.col("g_right") == g,
            suffix="_right",
        )
    ),
    "join_where_expression": Case(
        lambda t, o: t.select("k", "i").join_where(o.select(z="k", y="g"), (k * 2 == pl.col("z")) | (i == pl.col("z")))
    ),
    "merge_sorted": _ordered(
        lambda t, o: (
            t.select("k", "g")
            .sort("k", maintain_order=True)
            .merge_sorted(o.select("k", "g").sort("k", maintain_order=True), "k", maintain_order=True)
        )
    ),
    **{
        f"update_{how}_{nulls}": Case(
            lambda t, o, how=how, nulls=nulls: t.update(
                _one_of_each(o).select("k", "i", "g", new="x"), on="k", how=how, include_nulls=nulls
            )
        )
        for how in ("left", "inner", "full")
        for nulls in (False, True)
    },
    **{
        f"join_where_{how}": Case(
            lambda t, o, how=how: t.select("k", "i", "g").join_where(
                o.select("k", "x"), k == pl.col("k_right"), i.cast(pl.Float64) > x, how=how
            )
        )
        for how in ("left", "right", "full")
    },
    **{
        f"update_by_number_{how}": _ordered(
            lambda t, o, how=how: t.select("k", "g").update(o.select("g", "x").head(9), how=how)
        )
        for how in ("left", "inner", "full")
    },
    "update_ordered": _ordered(lambda t, o: t.update(_one_of_each(o).select("k", "i"), on="k")),
    **{
        f"join_ordered_{how}_{order}": _ordered(
            lambda t, o, how=how, order=order: t.select("k", "g", "i").join(
                o.select("k", "x"), on="k", how=how, maintain_order=order
            )
        )
        for how, order in (
            ("inner", "left_right"),
            ("left", "left_right"),
            ("right", "right_left"),
            ("full", "left_right"),
            ("full", "right_left"),
            ("semi", "left"),
            ("anti", "left_right"),
        )
    },
    **{
        f"join_checked_{validate}_{nulls}": Case(
            lambda t, o, validate=validate, nulls=nulls: (
                (_one_of_each(t) if validate[0] == "1" else t)
                .select("k", "g")
                .join(
                    (_one_of_each(o) if validate[2] == "1" else o).select("k", "x"),
                    on="k",
                    how="left",
                    validate=validate,
                    nulls_equal=nulls,
                )
            )
        )
        for validate in ("1:1", "1:m", "m:1")
        for nulls in (False, True)
    },
    "update_names": Case(
        lambda t, o: t.update(_one_of_each(o).select("i", z="k"), left_on=["k"], right_on=["z"]).select("i", "k")
    ),
}


def _one_of_each(o: T) -> T:
    return o.unique("k", keep="first", maintain_order=True)


def _moments(t: T) -> T:
    return t.drop_nulls("t").sort("t", maintain_order=True)


def _some(t: T) -> T:
    return t.select("k", "g", "i", "f")


def _groups(name: str, drop: Any) -> Case:
    return Case(lambda t, o: getattr(_some(t).drop(*drop).group_by("k"), name)())


GROUPS = {
    **{f"groups_{name}": _groups(name, ()) for name in ("all", "first", "last", "min", "max", "n_unique")},
    **{f"groups_{name}": _groups(name, ("g",)) for name in ("mean", "median")},
    "groups_sum": _groups("sum", ("g", "f")),
    "groups_quantile": Case(lambda t, o: t.select("k", "i", "f").group_by("k").quantile(0.3, "midpoint")),
    "groups_having": Case(lambda t, o: t.group_by("k").having(pl.len() > 2, i.sum() > 0).agg(i.sum(), g.first())),
    "groups_having_len": Case(lambda t, o: t.group_by("g").having(k.max() > 3).len()),
    "groups_head": Case(lambda t, o: _some(t).group_by("k").head(2)),
    "groups_tail": Case(lambda t, o: _some(t).group_by("g", b=k % 2).tail(3)),
    "groups_head_ordered": _ordered(lambda t, o: _some(t).group_by("k", maintain_order=True).head(2)),
    "groups_tail_ordered": _ordered(lambda t, o: _some(t).group_by("g", b=k % 2, maintain_order=True).tail(3)),
    "groups_known": Case(
        lambda t, o: _some(t).group_by("k").first(ignore_nulls=True).join(t.group_by("k").len("n"), on="k")
    ),
    "groups_last_known": Case(lambda t, o: _some(t).group_by("k").last(ignore_nulls=True)),
    "windows_having": _ordered(
        lambda t, o: _moments(t).group_by_dynamic("t", every="3h").having(pl.len() > 1).agg(i.sum(), g.last())
    ),
    "windows_having_by": Case(
        lambda t, o: _moments(t).rolling("t", period="5h", group_by="g").having(i.max() > 0).agg(i.sum())
    ),
    "windows_len": Case(lambda t, o: _moments(t).group_by_dynamic("t", every="6h", group_by="g").len()),
    "windows_max": _ordered(lambda t, o: _moments(t).select("t", "i", "f").group_by_dynamic("t", every="6h").max()),
    "windows_computed": _ordered(
        lambda t, o: _moments(t).rolling(t_.dt.truncate("1h").alias("hour"), period="5h").agg(i.sum(), pl.len())
    ),
    "windows_map": Case(
        lambda t, o: (
            _moments(t)
            .select("g", "i", "t")
            .group_by_dynamic("t", every="6h", group_by="g")
            .map_groups(lambda rows: rows.head(1), {"g": pl.String, "i": pl.Int32, "t": pl.Datetime("us", ZONE)})
        )
    ),
    "groups_map": Case(
        lambda t, o: _some(t).group_by("g").map_groups(lambda rows: rows.tail(1), schema=_some(t).collect_schema())
    ),
}
RESHAPED = {
    "pivot_ordered": _ordered(
        lambda t, o: t.pivot(
            "e", ["ant", "bee"], index=["x", "k"], values="i", aggregate_function="sum", maintain_order=True
        )
    ),
    "pivot_rest": Case(
        lambda t, o: t.select("b", "k", "i").pivot(
            "b", [True, False], index="k", aggregate_function="max", column_naming="combine"
        )
    ),
    "pivot_values": Case(
        lambda t, o: t.select("b", "k", "i", "d").pivot(
            "b", [True, False], values=["i", "d"], aggregate_function="first"
        )
    ),
    "upsample_by": Case(lambda t, o: _upsampled(_moments(t).select("g", "t", "i"), "t", every="1h", group_by="g")),
    "upsample_by_ordered": _ordered(
        lambda t, o: _upsampled(
            _moments(t).select("i", "t", "k", "g"), "t", every="2h", group_by=["k", "g"], maintain_order=True
        )
    ),
    **{
        f"concat_{how}": _ordered(
            lambda t, o, how=how, more=more: _cat(
                [t.select("k", "i", "c"), o.select("k", "i", "c"), *more(t, o)], how=how
            )
        )
        for how, more in {
            "vertical_relaxed": lambda t, o: [t.select(k.cast(pl.Float32), i * 2.5, "c")],
            "diagonal": lambda t, o: [o.select("l", "c", "s").head(7)],
            "diagonal_relaxed": lambda t, o: [o.select(i.cast(pl.Int64), "y")],
        }.items()
    },
    "concat_horizontal": _ordered(
        lambda t, o: _cat(
            [t.sort("i", maintain_order=True).select("i", "l"), t.select("k", "s"), t.reverse().select("g")],
            how="horizontal",
        )
    ),
    "concat_horizontal_less": _ordered(
        lambda t, o: _cat([t.select("i", "k"), t.reverse().select("g")], how="horizontal").select("g").head(9)
    ),
}
ZONE = "Europe/Berlin"


def _upsampled(t: T, *args: Any, **options: Any) -> T:
    """Polars has this for frames that are computed alone; those without rows it refuses."""
    if not isinstance(t, pl.LazyFrame):
        return t.upsample(*args, **options)
    rows = t.collect()
    return rows.upsample(*args, **options).lazy() if rows.height else rows.lazy()


FRAMES: dict[str, Case] = {**TOTALS, **PICKS, **MATCHES, **GROUPS, **RESHAPED}
ALL_CASES: dict[str, Case] = {**CASES, **FRAMES, **AROUND_CASES, **SHARE_CASES}
