"""The plan can be read before it runs: operators, exchanges, and why rows move."""

from __future__ import annotations

from pathlib import Path

import polars as pl

import deeprc as rc
from deeprc.table.spill import memory
from deeprc.workspace import set_memory_budget
from tests.ranks import run_on_ranks
from tests.table.compare import broadcasting
from tests.table.data import frames


def _plans(comm: rc.Communicator) -> list[str]:
    table = rc.from_polars(frames()["few"], comm)
    groups = table.filter(pl.col("i") > 0).group_by("k").agg(pl.col("i").sum())
    return [
        groups.sort("i", descending=True).explain(),
        groups.group_by("k").agg(pl.len()).explain(),
        table.with_columns(pl.col("i").map_batches(pl.Series.reverse)).explain(),
        table.join(groups, on="k").explain(),
        table.select(pl.col("i").sum()).explain(),
        table.with_columns((pl.col("i").shift(1) - pl.col("i").max().over("k")).cum_sum() / pl.len()).explain(),
        groups.with_columns(pl.col("i").max().over("k")).explain(),
    ]


def test_explain_shows_operators_and_exchanges() -> None:
    """Top operator first; a second group-by on the same key moves nothing."""
    ordered, placed, around, joined, total, windows, together = run_on_ranks(_plans, size=2)[0]
    assert ordered.splitlines()[0] == "2 ranks, 2 exchanges"
    assert [line.split()[0] for line in ordered.splitlines()[2:]] == [
        "SORT",
        "exchange:",
        "GROUP",
        "exchange:",
        "expected:",
        "can",
        "SELECT",
        "FILTER",
        "FRAMES",
    ]
    assert placed.startswith("2 ranks, 1 exchange\n")
    assert "not row by row" in around and 'col("i").python_udf' in around
    assert joined.startswith("2 ranks, 2 exchanges\n") and "exchange: right to all ranks" in joined
    assert "(1) FRAMES" in joined and "as (1), read again" in joined
    assert "aggregates" in total
    for moved in (
        "1 rows before and 0 after",
        'by hash of [col("k")], and the result back',
        "one row a rank",
        "one row back",
    ):
        assert moved in windows
    assert "not row by row" not in windows
    assert together.startswith("2 ranks, 1 exchange\n")


def _ways(comm: rc.Communicator) -> list[str]:
    table = rc.from_polars(frames()["mixed"].select("k", "i", "g", "x"), comm)
    k, i, g, x = (pl.col(name) for name in "kigx")
    grouped, placed = table.group_by("g"), table.shuffle("g").group_by("g")
    plans = [
        grouped.agg(k.sum(), x.mean()),
        grouped.agg(k.sum(), x.median(), i.map_batches(lambda values: values.max(), returns_scalar=True)),
        grouped.agg(pl.all().sum()),
        table.group_by("g", maintain_order=True).agg(k.sum()),
        placed.agg(x.median()),
        table.select(k.sum(), x.median(), g.n_unique(), g.mode().max().alias("m"), k.implode().list.max().alias("r")),
        table.with_columns(y=i.map_batches(lambda values: values.reverse()), z=k.sum()),
        table.with_columns(y=x.shuffle(seed=1)),
        table.sort(pl.all().shift(1)),
        table.filter(k == k.implode().list.max()),
    ]
    return [plan.explain() for plan in plans]


def test_explain_says_how_aggregates_are_computed_and_why_on_rank_0() -> None:
    """Each by its name: begun on each rank, in whole groups, by an exchange of its own, or on one rank."""
    found = iter(run_on_ranks(_ways, size=2)[0])
    assert 'can begin on each rank: col("k").sum(), col("x").mean()\n' in next(found)
    mixed = next(found)
    assert 'needs whole groups: col("x").median(), since what it is of parts' in mixed
    assert 'col("i").python_udf(), since a Python function may look at any row\n' in mixed
    assert 'goes with it: col("k").sum()\n' in mixed
    assert "since which columns it reads is told by a pattern" in next(found)
    assert "whole groups: their order is that of their first rows" in next(found)
    assert "whole groups where they are" in next(found)
    several = next(found)
    assert 'exchange: one row of aggregates a rank to rank 0: col("k").sum()\n' in several
    assert 'exchange: distinct values by their hash: col("g").n_unique()\n' in several
    assert """exchange: rows of a column, by a table's own operators: col("g").mode().max()""" in several
    assert 'no value moves: col("x").median()\n' in several
    assert "on rank 0: " in several and "since Implode has no way on several ranks" in several
    together = next(found)
    assert 'on rank 0: col("i").python_udf().alias("y"), since a Python function' in together
    assert 'col("k").sum().alias("z"), since another expression of its operator has to be' in together
    assert "since Random has no way on several ranks" in next(found)
    assert "on rank 0: key " in next(found)
    assert "on rank 0: " in next(found)


def _estimated(comm: rc.Communicator, folder: str) -> dict[str, list[str]]:
    counted, text = rc.scan_parquet(f"{folder}/rows.parquet", comm), rc.scan_csv(f"{folder}/rows.csv", comm)
    unknown = rc.from_polars(pl.LazyFrame({"k": [1]}), comm)
    plans = {
        "counted": counted.sort("k").with_columns(y=pl.col("k") * 2),
        "first": counted.head(7),
        "text": text,
        "few": counted.group_by("few").agg(pl.len()),
        "many": counted.group_by("k").agg(pl.len()),
        "computed": counted.group_by(pl.col("k") % 3).agg(pl.len()),
        "unseen": counted.map_batches(lambda part: part).sort("k"),
        "query": unknown.group_by("k").agg(pl.len()),
    }
    with broadcasting(True):
        plans_of_joins = {
            "small": counted.join(text, on="k").explain(),
            "unknown": counted.join(unknown, on="k").explain(),
            "cross": counted.join(text.head(3), how="cross").explain(),
        }
    with broadcasting(False):
        plans_of_joins["large"] = counted.join(text, on="k").explain()
    return {name: text.splitlines() for name, text in plans_of_joins.items()} | {
        name: table.explain().splitlines() for name, table in plans.items()
    }


def test_explain_estimates_what_sources_know(tmp_path: Path) -> None:
    """Rows are those that files count, "about" where they are inferred, and "unknown" where nobody can tell."""
    rows = pl.DataFrame({"k": range(5000), "few": [number % 10 for number in range(5000)]})
    rows.write_parquet(tmp_path / "rows.parquet")
    rows.write_csv(tmp_path / "rows.csv")
    plans = run_on_ranks(_estimated, str(tmp_path), size=2)[0]

    def gives(name: str) -> str:
        return next(line.partition(" -> ")[2] for line in plans[name][1:] if " -> " in line)

    assert "estimated" in plans["counted"][1] and "decided at run time, on all ranks alike" in plans["counted"][1]
    assert gives("counted") == "5,000 rows, about 117.2 KiB"
    assert gives("first") == "7 rows, about 112 B"
    assert 4500 < int(gives("text").split()[1].replace(",", "")) < 5500 and gives("text").startswith("about ")
    assert gives("few").startswith("about 10 rows, ")
    assert gives("many").startswith("about 5,000 rows, ")
    assert gives("computed").startswith("about 500 rows, ")
    assert gives("unseen") == gives("query") == "unknown"


def test_explain_says_what_is_expected_to_be_chosen(tmp_path: Path) -> None:
    """Aggregation before the exchange, and the broadcast of a small side, by estimates; else what would decide."""
    rows = pl.DataFrame({"k": range(5000), "few": [number % 10 for number in range(5000)]})
    rows.write_parquet(tmp_path / "rows.parquet")
    rows.write_csv(tmp_path / "rows.csv")
    plans = {name: "\n".join(plan) for name, plan in run_on_ranks(_estimated, str(tmp_path), size=2)[0].items()}
    assert "expected: aggregated on each rank first (about 10 keys in 5,000 rows)" in plans["few"]
    assert "expected: rows travel as they are (about 5,000 keys in 5,000 rows)" in plans["many"]
    assert "aggregated on each rank first if a sample" in plans["computed"]
    assert "exchange: right to all ranks\n  expected: right side of about " in plans["small"]
    assert "exchange: right by hash" in plans["unknown"] and "if the right side turns out" in plans["unknown"]
    assert "found by samples of all ranks, and spread" in plans["unknown"]
    assert "expected: right side of about " in plans["large"] and "too large" in plans["large"]
    assert "expected: the right one" in plans["cross"]


def _within(comm: rc.Communicator, budgets: list[int]) -> list[str]:
    table = rc.from_polars(pl.DataFrame({"k": range(200_000)}), comm).sort("k")
    assert "memory" not in table.explain()
    usual, lines = memory.LEAST, []
    memory.LEAST = min(usual, 1 << 20)
    try:
        for budget in budgets:
            set_memory_budget(budget)
            lines.append(table.explain().splitlines()[2])
    finally:
        memory.LEAST = usual
        set_memory_budget(None)
    return lines


def test_explain_says_whether_a_budget_is_kept_in_memory() -> None:
    """Only where there is a budget."""
    lines = run_on_ranks(_within, [4 << 30, 1], size=2)[0]
    assert lines[0].startswith("expected: stays in memory: at most about 9.2 MiB needed at once, 3.")
    assert lines[1] == (
        "expected: is refused for want of memory: at most about 9.2 MiB needed at once, 0 B of 1 B free on this rank"
    )
    assert run_on_ranks(_within_little, size=2)[0].startswith(
        "expected: works in buckets on disk: at most about 9.2 MiB"
    )


def _within_little(comm: rc.Communicator) -> str:
    usual, memory.LEAST = memory.LEAST, 1024
    try:
        # Half of what is needed, and more than the first plan that is explained leaves behind.
        _within(comm, [4 << 30])
        return _within(comm, [memory.resident_bytes() + (5 << 20)])[0]
    finally:
        memory.LEAST = usual


def test_alone_there_are_no_exchanges() -> None:
    """One rank, one Polars query."""
    text = rc.from_polars(frames()["few"]).sort("k").explain()
    assert text.startswith("1 rank, 0 exchanges\n")
    assert "exchange:" not in text


def test_a_table_prints_its_columns() -> None:
    """Without running anything."""
    assert repr(rc.from_polars(pl.DataFrame({"a": [1]}))) == "Table(a: Int64; 1 rank, lazy)"
