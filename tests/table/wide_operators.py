"""Operators over a table of many types: each takes and gives the same columns, so that random ones make a plan."""

from __future__ import annotations

import datetime as dt
import decimal
import random
from typing import Any

import polars as pl

import deeprc as rc

NAMES = ["ant", "bee", "cow"]
SCHEMA = pl.Schema(
    {
        "k": pl.Int64(),
        "g": pl.String(),
        "x": pl.Float64(),
        "b": pl.Boolean(),
        "t": pl.Datetime("us"),
        "e": pl.Enum(NAMES),
        "m": pl.Decimal(20, 2),
        "l": pl.List(pl.Int64()),
        "s": pl.Struct({"a": pl.Int64(), "w": pl.String()}),
    }
)
ALL = list(SCHEMA)
k, g, x, b, t, e, m, l, s = (pl.col(name) for name in SCHEMA)  # noqa: E741
START = dt.datetime(2024, 3, 9, 21)
T = Any


def table(seed: int, rows: int) -> pl.DataFrame:
    """Random rows with nulls; floats are such that sums do not depend on their order."""
    dice = random.Random(seed)

    def maybe(value: Any) -> Any:
        return None if dice.random() < 0.15 else value

    def row() -> tuple[Any, ...]:
        return (
            maybe(dice.randrange(6)),
            maybe(dice.choice(["a", "b", "", "ab-c", "Z9"])),
            maybe(dice.choice([float("nan"), 0.0, dice.randrange(-40, 40) / 4])),
            maybe(dice.random() < 0.5),
            maybe(START + dt.timedelta(hours=dice.randrange(80))),
            maybe(dice.choice(NAMES)),
            maybe(decimal.Decimal(dice.randrange(-200, 200)) / 4),
            maybe([maybe(dice.randrange(4)) for _ in range(dice.randrange(4))]),
            maybe({"a": maybe(dice.randrange(3)), "w": maybe(dice.choice("pq"))}),
        )

    return pl.DataFrame([row() for _ in range(rows)], schema=SCHEMA, orient="row")


def other(seed: int) -> pl.DataFrame:
    """A table to join with: few rows."""
    return table(seed + 10_000, 14)


def whole(of: T, **columns: Any) -> T:
    """All columns in order and type; those that are not among the table's are named, or null."""
    there = set(of.collect_schema().names())
    return of.select(
        **{
            name: (columns[name] if name in columns else pl.col(name) if name in there else pl.lit(None)).cast(dtype)
            for name, dtype in SCHEMA.items()
        }
    )


def _in_order(tables: list[T]) -> T:
    return rc.concat(tables) if isinstance(tables[0], rc.Table) else pl.concat(tables)


# An order of all rows: those that tie are the same row, unless their lists are long.
ORDER: list[Any] = [
    *("k", "g", "x", "b", "t", "e", "m"),
    *(s.is_null(), s.struct.field("a"), s.struct.field("w"), l.is_null(), l.list.len(), l.list.sum()),
    *(l.list.get(place, null_on_oob=True) for place in range(4)),
]

FREE: dict[str, Any] = {
    "list_sum": lambda t_, o: t_.with_columns(k=l.list.sum() % 7, l=l.list.reverse()),
    "list_sort": lambda t_, o: t_.with_columns(l=l.list.sort(descending=True).list.head(2)),
    "list_eval": lambda t_, o: t_.with_columns(l=l.list.eval(pl.element() * 2 % 5)),
    "list_contains": lambda t_, o: t_.filter(l.list.contains(1) | (l.list.len() > 2)),
    "list_get": lambda t_, o: t_.with_columns(k=l.list.get(0, null_on_oob=True), l=pl.concat_list(k, k % 2)),
    "list_unique": lambda t_, o: t_.with_columns(l=l.list.unique(maintain_order=True).list.drop_nulls()),
    "list_sets": lambda t_, o: t_.with_columns(l=l.list.set_intersection(pl.concat_list(k, 1)).list.sort()),
    "list_mean": lambda t_, o: t_.filter(l.list.mean() <= l.list.max(), l.list.first().is_not_null()),
    "struct_field": lambda t_, o: t_.with_columns(k=s.struct.field("a"), s=pl.struct(a=k % 3, w=g)),
    "struct_with": lambda t_, o: t_.with_columns(s=s.struct.with_fields(a=pl.field("a") + 1)),
    "struct_filter": lambda t_, o: t_.filter(s.struct.field("w") == "p", s.is_not_null()),
    "unnest": lambda t_, o: whole(t_.drop("k", "g").unnest("s"), k=pl.col("a"), g=pl.col("w")),
    "upper": lambda t_, o: t_.with_columns(g=g.str.to_uppercase() + g.str.slice(0, 1)).filter(g.str.len_chars() < 9),
    "replace": lambda t_, o: t_.with_columns(g=g.str.replace("-", "b").str.strip_chars("9"), k=g.str.len_bytes()),
    "split": lambda t_, o: t_.with_columns(k=g.str.split("-").list.len(), b=g.str.contains("a")),
    "extract": lambda t_, o: t_.with_columns(k=g.str.extract(r"(\d)").cast(pl.Int64), g=g.str.pad_start(3, "x")),
    "joined_text": lambda t_, o: t_.with_columns(g=pl.concat_str(g.str.head(2), e.cast(pl.String), separator="-")),
    "when": lambda t_, o: t_.with_columns(
        k=pl.when(b).then(k).when(x > 0).then(-k).otherwise(9), e=pl.when(k > 2).then(e)
    ),
    "dates": lambda t_, o: t_.with_columns(t=t.dt.truncate("12h"), k=t.dt.hour()),
    "offset": lambda t_, o: t_.with_columns(t=t.dt.offset_by("-1d"), k=t.dt.weekday()).filter(t.dt.day() != 10),
    "since": lambda t_, o: t_.with_columns(
        k=(t - START).dt.total_hours() % 8, x=(t - t.dt.truncate("1d")).dt.total_minutes() / 4
    ),
    "enum": lambda t_, o: t_.with_columns(e=e.cast(pl.String).cast(pl.Enum(NAMES)), k=e.to_physical()),
    "enum_filter": lambda t_, o: t_.filter((e > "ant") | e.is_null()),
    "decimal": lambda t_, o: whole(t_.with_columns(m=m + 1).filter(m < decimal.Decimal("40.25"))),
    "truth": lambda t_, o: t_.with_columns(b=~b | (k > 3)),
    "horizontal": lambda t_, o: t_.with_columns(k=pl.max_horizontal(k, l.list.len()), x=pl.sum_horizontal(x, k)),
    "numbers": lambda t_, o: t_.with_columns(x=x.fill_nan(0.0).clip(-3, 3).floor(), k=k.replace({1: 4, 2: None})),
    "over_two": lambda t_, o: t_.with_columns(k=k.sum().over("g", "b") % 11, x=x.max().over("e")),
    "over_struct": lambda t_, o: t_.with_columns(k=k.max().over("s"), m=m.min().over(t.dt.date())),
    "over_counts": lambda t_, o: t_.filter(pl.len().over("e", "b") > 2, k.n_unique().over("g") > 1),
    "over_rank": lambda t_, o: t_.with_columns(k=k.rank("dense").over("e").cast(pl.Int64)),
    "over_list": lambda t_, o: t_.with_columns(l=k.sort().over("e", mapping_strategy="join").list.head(3)),
    "over_times": lambda t_, o: t_.with_columns(t=t.min().over("g"), k=(t.max() - t).over("g").dt.total_hours() % 5),
    "compared": lambda t_, o: t_.filter(t > t.min(), (m <= m.max()) | m.is_null()),
    "first_text": lambda t_, o: t_.filter(g != g.max(), e.n_unique() > 1),
    "duplicated": lambda t_, o: t_.filter(pl.struct("k", "e").is_duplicated()),
    "most": lambda t_, o: t_.fill_null(0).fill_nan(1.0),
    "nested_around": lambda t_, o: t_.with_columns(k=(k - k.max().over("g")).abs() + (m.max() > 3).cast(pl.Int64)),
    "quantiles": lambda t_, o: t_.filter(k >= k.quantile(0.2, "nearest")),
    "in_column": lambda t_, o: t_.filter(k.is_in(l.list.concat([1, 2])) | e.is_in(["ant", "cow"])),
    "aliases": lambda t_, o: t_.rename({"k": "j", "l": "n"}).with_columns(k="j", l="n").drop("j", "n").select(ALL),
}
NEEDS_ORDER: dict[str, Any] = {
    "slice": lambda t_, o: t_.slice(-30, 24),
    "index": lambda t_, o: t_.with_row_index("n", 3).filter(pl.col("n") % 5 != 0).with_columns(k=pl.col("n")),
    "shift": lambda t_, o: t_.with_columns(g=g.shift(1), l=l.shift(-1), e=e.shift(2), s=s.shift(1)),
    "shift_fill": lambda t_, o: t_.with_columns(k=k.shift(3, fill_value=5), t=t.shift(-1, fill_value=START)),
    "fills": lambda t_, o: t_.with_columns(
        g.fill_null(strategy="forward"), e.fill_null(strategy="backward"), t.fill_null(strategy="forward", limit=1)
    ),
    "cumulative": lambda t_, o: t_.with_columns(k=k.cum_sum() % 9, x=x.fill_nan(0).cum_min(), b=k.cum_count() > 4),
    "diff": lambda t_, o: t_.with_columns(k=t.diff().dt.total_hours() % 6, x=x.diff()),
    "rolling": lambda t_, o: t_.with_columns(k=k.rolling_max(4, min_samples=1, center=True), x=k.rolling_sum(3) / 2),
    "over_shift": lambda t_, o: t_.with_columns(k=k.shift(1).over("g", "b"), g=g.first().over("e")),
    "over_cumulative": lambda t_, o: t_.with_columns(k=k.cum_sum().over("e"), b=b.last().over("g")),
    "over_index": lambda t_, o: (
        t_.with_row_index("n")
        .with_columns(k=k.shift(1).over("g", order_by="n", descending=True), t=t.first().over("b", order_by="n"))
        .drop("n")
    ),
    "explode": lambda t_, o: whole(t_.with_columns(j=l).explode("j"), k=pl.col("j")),
    "explode_two": lambda t_, o: whole(
        t_.filter(l.list.len() > 0).with_columns(j=l, i=l.list.reverse()).explode("j", "i"), k=pl.col("j") + pl.col("i")
    ),
    "explode_groups": lambda t_, o: whole(
        t_.group_by("g", maintain_order=True)
        .agg(k, e, x)
        .explode("k", "e", "x")
        .with_row_index("n")
        .filter(pl.col("n") > 2)
    ),
    "concat": lambda t_, o: _in_order([t_, o.with_columns(k=k + 1), t_.head(3)]),
    "diagonal": lambda t_, o: _in_order([t_, whole(o.select("g", "t", "s")), whole(t_.select("k", "m").tail(4))]),
    "groups": lambda t_, o: whole(
        t_.group_by("e", "b", maintain_order=True).agg(g.first(), k.last(), t.first(), m.sum(), l=k, s=s.last())
    ),
    "group_slices": lambda t_, o: whole(
        t_.group_by("k", maintain_order=True).agg(
            g.str.join("+"), l=k.shift(1).cum_sum(), t=t.get(0), x=x.filter(b).first()
        )
    ),
    "group_struct": lambda t_, o: whole(t_.group_by("s", maintain_order=True).agg(k.head(2).sum(), g.last(), m.max())),
    "group_dynamic": lambda t_, o: whole(
        t_.drop_nulls("t")
        .sort("t", maintain_order=True)
        .group_by_dynamic("t", every="7h", period="1d", closed="right")
        .agg(g.first(), k.sum(), m.max(), l=k.head(3))
    ),
    "group_daily": lambda t_, o: whole(
        t_.drop_nulls("t")
        .sort("t", maintain_order=True)
        .group_by_dynamic("t", every="1d", label="right", offset="3h")
        .agg(e.last(), x.fill_nan(0).sum(), k=pl.len())
    ),
    "windows": lambda t_, o: whole(
        t_.drop_nulls("t")
        .sort("t", maintain_order=True)
        .rolling("t", period="9h", closed="both")
        .agg(g.first(), e.last(), k.sum(), b=b.any())
    ),
    "in_time": lambda t_, o: (
        t_.drop_nulls("t")
        .sort("t", maintain_order=True)
        .with_columns(k=k.rolling_sum_by("t", "6h"), x=k.rolling_max_by("t", "2d") / 2)
    ),
    "asof": lambda t_, o: whole(
        t_.drop_nulls("t")
        .sort("t", maintain_order=True)
        .drop("k", "e")
        .join_asof(
            o.drop_nulls("t").unique("t", keep="none").sort("t").select("t", "k", "e"),
            on="t",
            strategy="backward",
            tolerance="9h",
        )
    ),
    "asof_nearest": lambda t_, o: whole(
        t_.drop_nulls("t")
        .sort("t", maintain_order=True)
        .join_asof(
            o.drop_nulls("t").unique("t", keep="none").sort("t").select(u="t", j="k"),
            left_on="t",
            right_on="u",
            strategy="forward",
            allow_exact_matches=False,
        ),
        k=pl.col("j"),
    ),
    "unique_first": lambda t_, o: t_.unique(["g", "b"], keep="first", maintain_order=True),
    "unique_last": lambda t_, o: t_.unique(["e", "s"], keep="last", maintain_order=True),
    "firsts": lambda t_, o: t_.filter(pl.struct("e", "b").is_first_distinct() | l.is_last_distinct()),
    "stable": lambda t_, o: t_.sort("e", "b", descending=[True, False], nulls_last=True, maintain_order=True),
    "stable_expression": lambda t_, o: t_.sort(g.str.len_chars(), k % 2, maintain_order=True),
    "stable_nested": lambda t_, o: t_.sort(s.struct.field("a"), "m", descending=True, maintain_order=True),
    "runs": lambda t_, o: t_.with_columns(k=g.rle_id().cast(pl.Int64) % 5, b=e == e.shift(1)),
    "tops": lambda t_, o: t_.head(40).reverse().gather_every(2),
    "merged": lambda t_, o: whole(
        t_.select("k", "g")
        .sort("k", maintain_order=True)
        .merge_sorted(o.select("k", "g").sort("k", maintain_order=True), "k", maintain_order=True)
    ),
    "lasts": lambda t_, o: t_.filter(k != k.first(), g.ne_missing(g.last())),
    "numbers_over": lambda t_, o: t_.with_columns(k=pl.int_range(pl.len()).over("g")),
}
LOSES_ORDER: dict[str, Any] = {
    "join_two": lambda t_, o: whole(t_.drop("x", "m").join(o.select("k", "g", "x", "m"), on=["k", "g"])),
    "join_types": lambda t_, o: whole(t_.drop("k").join(o.select("e", "b", "k"), on=["e", "b"], how="left").unique()),
    "join_times": lambda t_, o: whole(t_.drop("g").join(o.select("t", "g"), on="t", how="full", coalesce=True)),
    "join_decimals": lambda t_, o: whole(t_.drop("l").join(o.select("m", "l"), on="m", how="right")),
    "join_struct": lambda t_, o: whole(t_.drop("x").join(o.select("s", "x").unique(), on="s")),
    "join_nulls": lambda t_, o: whole(
        t_.join(
            o.select("e", "b", "k", "t"), on=["e", "b", "k"], how="full", nulls_equal=True, coalesce=True, suffix="_2"
        ),
        t=pl.coalesce("t", "t_2"),
    ),
    "join_kept": lambda t_, o: whole(
        t_.join(o.select("k", "e"), on="k", how="full", coalesce=False), e=pl.col("e_right"), b=pl.col("k_right") > 2
    ),
    "join_expressions": lambda t_, o: whole(
        t_.join(
            o.select(j="k", h="g"), left_on=[k % 3, g.str.head(1)], right_on=[pl.col("j") % 2, pl.col("h").str.head(1)]
        ),
        g=pl.col("h"),
    ),
    "join_cast": lambda t_, o: (
        whole(t_.join(o.select(pl.col("k").cast(pl.Int32).alias("j"), h="m"), left_on="k", right_on="j"), m=pl.col("h"))
        if False
        else t_
    ),
    "join_lists": lambda t_, o: t_.join(o, on=["l"], how="semi"),
    "anti_two": lambda t_, o: t_.join(o, on=["e", "b"], how="anti"),
    "semi_nulls": lambda t_, o: t_.join(o, on=["g", "b"], how="semi", nulls_equal=True),
    "join_where": lambda t_, o: whole(
        t_.top_k(12, by=ORDER).join_where(o.select(j="k", u="t"), k > pl.col("j"), t < pl.col("u")), k=pl.col("j")
    ),
    "join_groups": lambda t_, o: whole(
        t_.join(t_.group_by("e", "b").agg(top=k.max(), late=t.max()), on=["e", "b"]), k=pl.col("top"), t=pl.col("late")
    ),
    "join_twice": lambda t_, o: whole(
        t_.join(o.select("k", "g").unique("k", keep="none"), on="k", how="left").join(
            o.select("k", "e").unique("k", keep="none"), on="k", how="left"
        ),
        g=pl.col("g_right"),
        e=pl.col("e_right"),
    ),
    "cross": lambda t_, o: whole(t_.top_k(6, by=ORDER).drop("b").join(o.select("b").unique(), how="cross")),
    "update": lambda t_, o: t_.update(o.select("k", "g", "m").unique("k", keep="none"), on="k"),
    "group_two": lambda t_, o: whole(
        t_.group_by("g", "b")
        .agg(k.sum(), t.max(), e.min(), m.sum(), x=x.fill_nan(0).sum(), l=k.sort(), j=s.n_unique())
        .with_columns(
            s=pl.struct(a="j", w=pl.lit("z")),
        )
    ),
    "group_dates": lambda t_, o: whole(
        t_.group_by(t=t.dt.truncate("1d")).agg(k.n_unique(), g.max(), b=b.all(), x=k.quantile(0.5, "lower"))
    ),
    "group_struct_key": lambda t_, o: whole(
        t_.group_by("s").agg(k.min(), g.min(), m=m.max(), b=b.any(ignore_nulls=False))
    ),
    "group_list_key": lambda t_, o: whole(
        t_.group_by("l").agg(k.max(), e=e.max(), g=g.drop_nulls().unique().sort().str.join("/"))
    ),
    "group_enum": lambda t_, o: whole(
        t_.group_by("e", k % 2).agg(t.min(), m.min(), l=k.unique().sort(), x=pl.len() / 2)
    ),
    "group_decimal": lambda t_, o: whole(
        t_.group_by("m").agg(k.filter(b).sum(), g=g.filter(k > 1).max(), x=(k.max() - k.min()) / 2)
    ),
    "group_float": lambda t_, o: whole(t_.group_by("x").agg(k.null_count(), g.count().cast(pl.String), t.min())),
    "group_more": lambda t_, o: whole(
        t_.group_by("k").agg(
            g.min(),
            b=(x > 1).any(),
            e=e.mode().max(),
            m=m.sum(),
            l=l.explode().sort().head(3),
            x=(t.max() - t.min()).dt.total_hours() / 2,
        )
    ),
    "group_places": lambda t_, o: whole(
        t_.group_by("g").agg(k.max_by("k"), t.min_by(t), x=k.bitwise_xor() / 2, b=k.has_nulls())
    ),
    "group_top": lambda t_, o: whole(
        t_.group_by("e").agg(l=k.top_k(2).sort(), k=k.product() % 13, x=k.arg_max().is_null().cast(pl.Float64))
    ),
    "having": lambda t_, o: whole(t_.group_by("g", "e").having(pl.len() > 1).agg(k.sum(), m.max())),
    "pivot": lambda t_, o: whole(
        t_.pivot("e", ["ant", "bee"], index=["g", "b"], values="k", aggregate_function="sum"),
        k=pl.col("ant") - pl.col("bee"),
    ),
    "pivot_two": lambda t_, o: whole(
        t_.pivot("b", [True, False], index="g", values=["k", "m"], aggregate_function="max"),
        k=pl.col("k_true"),
        m=pl.col("m_false"),
    ),
    "unpivot": lambda t_, o: whole(
        t_.with_columns(n=l.list.len().cast(pl.Int64)).unpivot(["k", "n"], index=["g", "e", "t"]),
        k=pl.col("value"),
        b=pl.col("variable") == "n",
    ),
    "rolling_by": lambda t_, o: whole(
        t_.drop_nulls("t").sort("t").rolling("t", period="8h", group_by="g").agg(k.max(), b=b.any())
    ),
    "dynamic_by": lambda t_, o: whole(
        t_.drop_nulls("t")
        .sort("t")
        .group_by_dynamic("t", every="1d", group_by=["e", "b"], closed="left")
        .agg(k.sum(), g.max())
    ),
    "asof_by": lambda t_, o: whole(
        t_.drop_nulls("t")
        .sort("t")
        .join_asof(
            o.drop_nulls(["t", "e", "b"]).unique(["t", "e", "b"], keep="none").sort("t").select("t", "e", "b", j="k"),
            on="t",
            by=["e", "b"],
            strategy="nearest",
        ),
        k=pl.col("j"),
    ),
    "unique": lambda t_, o: t_.unique(),
    "unique_none": lambda t_, o: t_.unique(["k", "e"], keep="none"),
    "union": lambda t_, o: t_.union_all(o) if isinstance(t_, rc.Table) else pl.concat([t_, o]),
    "top": lambda t_, o: t_.top_k(20, by=ORDER),
    "bottom": lambda t_, o: t_.bottom_k(20, by=ORDER, reverse=[True] + [False] * (len(ORDER) - 1)),
    "places": lambda t_, o: t_.shuffle("e", "b") if isinstance(t_, rc.Table) else t_,
    "spread": lambda t_, o: t_.shuffle(seed=1).repartition() if isinstance(t_, rc.Table) else t_,
}
SORTS: dict[str, Any] = {
    "sort": lambda t_, o: t_.sort(ORDER),
    "sort_down": lambda t_, o: t_.sort(
        ORDER[::-1], descending=[index % 2 == 0 for index in range(len(ORDER))], nulls_last=True
    ),
}
ENDS: dict[str, Any] = {
    "aggregates": lambda t_, o: t_.select(
        k.sum(),
        g.max(),
        x.mean(),
        b.any(),
        t.mean(),
        e.min(),
        m.sum(),
        n=l.list.len().sum(),
        w=s.n_unique(),
        q=t.median(),
        v=k.var(),
        d=(t.max() - t.min()),
        h=pl.len(),
        j=k.unique().len(),
        p=pl.struct("g", "b").n_unique(),
        z=k.arg_min().is_null(),
    ),
    "group_means": lambda t_, o: t_.group_by("e", "b").agg(
        k.mean(), x.std(), t.mean(), t.median().alias("mid"), m.mean(), c=pl.corr("k", "x"), i=k.skew()
    ),
    "over_means": lambda t_, o: t_.with_columns(
        k=k.mean().over("e"), x=x.median().over("g", "b"), m=m.mean().over("b")
    ),
    "counted": lambda t_, o: t_.value_counts("e") if isinstance(t_, rc.Table) else t_.group_by("e").len("count"),
    "describe_nulls": lambda t_, o: t_.null_count(),
}


OPERATORS: dict[str, Any] = {**FREE, **NEEDS_ORDER, **LOSES_ORDER, **SORTS, **ENDS}


def plans(dice: random.Random) -> tuple[list[str], bool]:
    """Names of four to nine operators, and whether the order of the result's rows is determined."""
    names: list[str] = []
    ordered = True
    for _ in range(dice.randint(4, 8)):
        choices = [*FREE, *LOSES_ORDER, *(NEEDS_ORDER if ordered else []), *(list(SORTS) * 6)]
        name = dice.choice(choices)
        ordered = name in SORTS or (ordered and name not in LOSES_ORDER)
        names.append(name)
    end = dice.choice([None, None, None, *ENDS])
    return names if end is None else [*names, end], ordered and end not in ("group_means", "counted")


def run(names: list[str], first: T, second: T) -> T:
    """The plan over LazyFrames or Tables."""
    for name in names:
        first = OPERATORS[name](first, second)
        if name not in ENDS and first.collect_schema() != SCHEMA:
            first = whole(first)
    return first
