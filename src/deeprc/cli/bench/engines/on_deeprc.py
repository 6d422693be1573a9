"""Deep RC: the questions of `on_polars.py` on tables whose rows lie on the ranks of a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

import deeprc as rc
from deeprc.cli.bench.engines.measure import ask
from deeprc.cli.bench.engines.on_polars import PLANS, rows_of
from deeprc.cli.bench.engines.on_polars import describe as describe_frame


def ask_all(orders: dict[str, Any]) -> list[dict[str, Any]]:
    """One session, one task: `orders["ranks"]` ranks over `orders["comm"]`, which share the cores."""
    ranks = orders["ranks"]
    with rc.Session(cores=orders["cores"], run_dir=orders["folder"]) as session:
        task = session.submit(
            answer_on_ranks, orders, ranks=ranks, comm=orders["comm"], threads=max(1, orders["cores"] // ranks)
        )
        answers: list[dict[str, Any]] = task.result()
    return answers


def answer_on_ranks(comm: rc.Communicator, orders: dict[str, Any]) -> list[dict[str, Any]]:
    """Each rank loads its even share of the rows; a question has ended when all ranks have their part."""

    def load(files: Mapping[str, str], cores: int) -> dict[str, rc.Table]:
        return {name: rc.from_polars(rows_of(file, comm.rank, comm.size), comm) for name, file in files.items()}

    def asked(plan: Callable[[Any], rc.Table]) -> Callable[[Any], pl.DataFrame]:
        return lambda tables: plan(tables).collect()

    def describe(part: pl.DataFrame) -> tuple[int, dict[str, float]]:
        parts = comm.all_gather(describe_frame(part))
        return sum(rows for rows, _ in parts), {name: sum(sums[name] for _, sums in parts) for name in parts[0][1]}

    questions = {name: asked(plan) for name, plan in PLANS.items()}
    engine = {"load": load, "describe": describe, "meet": comm.barrier, "QUESTIONS": questions}
    everyone = comm.all_gather(ask(engine, orders))
    return [_of_all_ranks(answers) for answers in zip(*everyone, strict=True)]


def _of_all_ranks(answers: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    """From the first rank's begin to the last one's end."""
    if "failed" in answers[0]:
        return answers[0]
    began, ended = min(answer["began"] for answer in answers), max(answer["ended"] for answer in answers)
    return answers[0] | {"began": began, "ended": ended}
