"""`deeprc bench tables`: Deep RC's tables beside Polars, DuckDB, Dask, Daft and Bodo, on the same questions.

Two benchmarks: Cylon's (join, sort and group-by of two columns; all engines on all cores, and Deep RC's weak
scaling) and the db-benchmark. Each engine is asked in a process of its own, rounds are interleaved, so that a
slow minute of the machine meets all, and a last round, which is not timed, watches memory. Loading is not timed. All
answers must be the same.
"""

from __future__ import annotations

import math
import os
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from deeprc.cli.bench.tables_data import write_tables
from deeprc.cli.bench.tables_engines import TOO_LONG, Variant, interpreter, measure, remedy, variants
from deeprc.errors import SpecError, valid_values
from deeprc.journal.environment import describe_environment
from deeprc.journal.writer import write_json

# The group-by and the join questions of the db-benchmark never need each other's tables in memory.
QUESTIONS = {
    "cylon": ("join", "sort", "group_by"),
    "db-groups": tuple(f"g{number}" for number in range(1, 11)),
    "db-joins": tuple(f"j{number}" for number in range(1, 6)),
}
SUITES = ("cylon", "db-benchmark")
_FEW = {"cylon": 1000, "db-groups": 10_000, "db-joins": 10_000}
_TOLERANCE = 1e-6
_PRIVATE = ("executable", "command", "working_directory")


@dataclass(frozen=True)
class Case:
    """One table size of a benchmark, and who is asked."""

    name: str
    benchmark: str
    rows: int
    asked: tuple[Variant, ...]


def cases(rows: Sequence[int], db_rows: int, engines: Sequence[str], cores: int) -> list[Case]:
    """What is measured: strong (the same rows on all cores) and weak (as many rows for each rank)."""
    everyone = tuple(variant for variant in variants(cores) if variant.engine in engines)
    ours = tuple(variant for variant in everyone if variant.ranks > 1)
    alone = tuple(Variant("deeprc-1-core", "deeprc", 1) for _ in ours[:1])
    found = []
    for count in rows:
        found.append(Case(f"cylon strong {count:.0e}", "cylon", count, everyone))
        if ours:
            found.append(Case(f"cylon weak {count:.0e} on 1 rank", "cylon", count, alone))
            found.append(Case(f"cylon weak {count:.0e} on {cores} ranks", "cylon", count * cores, ours))
    if db_rows:
        found.append(Case(f"db-benchmark group-by {db_rows:.0e}", "db-groups", db_rows, everyone))
        found.append(Case(f"db-benchmark join {db_rows:.0e}", "db-joins", db_rows, everyone))
    return found


def main(
    json_file: Path,
    *,
    rows: Sequence[int] = (1_000_000, 10_000_000),
    db_rows: int = 10_000_000,
    rounds: int = 4,
    engines: Sequence[str] = (),
    environments: Path = Path(),
    limit_s: float = 240.0,
    memory: bool = True,
) -> None:
    """Measure all cases and write measurements, medians and ratios to `json_file`.

    Raises:
        SpecError: an engine that is not known.
        RuntimeError: two engines gave different answers.
    """
    known = tuple(dict.fromkeys(variant.engine for variant in variants(2)))
    for engine in engines:
        if engine not in known:
            raise SpecError(f"unknown engine {engine!r}. {valid_values(engine, known, noun='engine')}")
    cores = len(os.sched_getaffinity(0))
    console = Console(stderr=True)
    missing = {engine: remedy(engine) for engine in engines or known if interpreter(engine, environments) is None}
    for engine, command in missing.items():
        console.print(f"{engine}: not measured; {command}")
    here = [engine for engine in engines or known if engine not in missing]
    measured: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="deeprc-bench-tables-") as name:
        for case in cases(rows, db_rows, here, cores):
            found = _measured(case, rounds, environments, Path(name), limit_s, console, memory)
            measured.append(found)
    result = {
        "benchmark": "tables",
        "cores": cores,
        "rounds": rounds,
        "not_measured": missing,
        "cases": measured,
        "ratios": ratios(measured),
        # Not where the interpreter lies: these files are published.
        "environment": {key: value for key, value in describe_environment().items() if key not in _PRIVATE},
    }
    json_file.parent.mkdir(parents=True, exist_ok=True)
    write_json(json_file, result)
    for case_result in measured:
        Console().print(_table(case_result))


def _measured(
    case: Case, rounds: int, environments: Path, folder: Path, limit_s: float, console: Console, memory: bool
) -> dict[str, Any]:
    tables = write_tables(case.benchmark, case.rows, folder)
    few = write_tables(case.benchmark, _FEW[case.benchmark], folder)
    answers: dict[str, list[list[dict[str, Any]]]] = {variant.name: [] for variant in case.asked}
    for number in range(1, rounds + 1 + memory):
        watched = number > rounds
        for variant in case.asked:
            if variant.is_slow and max(1, rounds // 3) < number <= rounds:
                continue
            python = interpreter(variant.engine, environments)
            assert python is not None
            questions = QUESTIONS[case.benchmark]
            given = measure(variant, python, tables, few, questions, limit_s, watched=watched)
            answers[variant.name].append(given)
            what = "memory" if watched else f"round {number} of {rounds}"
            told = " ".join(f"{answer['question']} {_told(answer)}" for answer in given)
            console.print(f"{case.name}, {what}: {variant.name:14} {told}", highlight=False)
    check_same_answers(case.name, answers)
    for file in tables.values():
        Path(file).unlink()
    engines = {
        name: _summary(given[:-1] if memory else given, given[-1] if memory else ()) for name, given in answers.items()
    }
    return {"case": case.name, "benchmark": case.benchmark, "rows": case.rows, "engines": engines}


def _told(answer: dict[str, Any]) -> str:
    if "failed" in answer:
        return f"({answer['failed'].splitlines()[-1][:100]})"
    if "seconds" in answer:
        return f"{answer['seconds']:.3f} s"
    peak = answer["peak_bytes"]
    return "too short to be seen" if peak is None else f"{peak / 2**30:.2f} GiB"


def check_same_answers(case: str, answers: dict[str, list[list[dict[str, Any]]]]) -> None:
    """All engines must have answered with as many rows, and with the same sum of each column that they share.

    Raises:
        RuntimeError: two did not; says which, and what they answered.
    """
    reference: dict[str, tuple[str, dict[str, Any]]] = {}
    for name, rounds in answers.items():
        for answer in (answer for given in rounds for answer in given if "failed" not in answer):
            first, expected = reference.setdefault(answer["question"], (name, answer))
            shared = expected["sums"].keys() & answer["sums"].keys()
            same = all(_close(expected["sums"][column], answer["sums"][column]) for column in shared)
            if expected["rows"] != answer["rows"] or not same:
                what = f"{case}, {answer['question']}"
                raise RuntimeError(f"{what}: {first} answered {_short(expected)}, and {name} {_short(answer)}")


def _close(one: float, other: float) -> bool:
    if math.isnan(one) or math.isnan(other):
        return True  # Correlations of too few rows: some engines say NaN and some nothing.
    return abs(one - other) <= _TOLERANCE * max(abs(one), abs(other))


def _short(answer: dict[str, Any]) -> str:
    return f"{answer['rows']} rows with sums {answer['sums']}"


def _summary(rounds: Sequence[list[dict[str, Any]]], watched: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """For each question: all seconds, their median and minimum, and the most memory that was seen held."""
    peaks = {answer["question"]: answer.get("peak_bytes") for answer in watched}
    summary: dict[str, dict[str, Any]] = {}
    for given in zip(*rounds, strict=True):
        question = given[0]["question"]
        failed = [answer["failed"] for answer in given if "failed" in answer]
        if failed:
            summary[question] = {"failed": failed[0]}
            continue
        seconds = [answer["seconds"] for answer in given]
        summary[question] = {
            "seconds": seconds,
            "median_seconds": statistics.median(seconds),
            "least_seconds": min(seconds),
            "peak_bytes": peaks.get(question),
            "rows": given[0]["rows"],
        }
    return summary


def ratios(measured: Sequence[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Of medians, for each case that all engines were asked in: Deep RC's ranks against each of the others."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for case in measured:
        engines = case["engines"]
        if "polars" not in engines:
            continue
        for question in engines["polars"]:
            told = {name: answers[question] for name, answers in engines.items() if "seconds" in answers[question]}
            found.setdefault(case["case"], {})[question] = _ratios_of(told)
    return found


def _ratios_of(told: dict[str, dict[str, Any]]) -> dict[str, float]:
    seconds = {name: answer["median_seconds"] for name, answer in told.items()}
    several = [name for name in seconds if name.startswith("deeprc-") and name != "deeprc-1"]
    found = {}
    if "deeprc-1" in seconds and "polars" in seconds:
        found["1 rank / polars"] = seconds["deeprc-1"] / seconds["polars"]
    if not several:
        return found
    best = min(several, key=lambda name: seconds[name])
    single = [seconds[name] for name in ("polars", "duckdb") if name in seconds]
    if single:
        found["ranks / faster of polars and duckdb"] = seconds[best] / min(single)
    found |= {f"{name} / ranks": seconds[name] / seconds[best] for name in ("dask", "daft", "bodo") if name in seconds}
    peaks = {name: told[name]["peak_bytes"] for name in (best, "polars") if name in told}
    if all(peaks.values()) and "polars" in peaks:
        found["memory, ranks / polars"] = peaks[best] / peaks["polars"]
    return found


def _table(case: dict[str, Any]) -> Table:
    engines = case["engines"]
    questions = list(next(iter(engines.values())))
    table = Table("", title=f"{case['case']}: medians [s]")
    # The fewer go side by side, so that a terminal is wide enough.
    down, across = (questions, list(engines)) if len(questions) > len(engines) else (list(engines), questions)
    for column in across:
        table.add_column(column, justify="right")
    for row in down:
        named = [(row, column) if down is not questions else (column, row) for column in across]
        table.add_row(row, *(_cell(engines[engine][question]) for engine, question in named))
    return table


def _cell(answer: dict[str, Any]) -> str:
    """The seconds, or that none came in time; a dash for what was not asked or went wrong otherwise."""
    if "seconds" in answer:
        return f"{answer['median_seconds']:.3f}"
    return answer["failed"] if answer["failed"].startswith(TOO_LONG) else "-"
