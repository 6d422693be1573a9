"""Put the measured tables into README.md and docs/benchmarks.md, between their markers.

`deeprc bench NAME --json benchmarks/NAME.json`, then `python benchmarks/fill_tables.py`. A place whose benchmark has no
file yet is left as it is.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs" / "benchmarks.md")


def pipeline_table(result: dict[str, Any]) -> str:
    """Medians of the four ways, and how many times faster than batch jobs each is."""
    batch = result["median_seconds"]["batch"]
    rows = [
        f"| {name} | {result['variants'][name]} | {seconds:.1f} | {batch / seconds:.1f} |"
        for name, seconds in result["median_seconds"].items()
    ]
    pure = result["training_seconds_over_cores"]
    rows.append(f"| - | pure training time over the cores | {pure:.1f} | {batch / pure:.1f} |")
    rounds = len(result["rounds"]["batch"])
    head = f"Eleven models, {result['settings']['max_steps']} steps each, {result['cores']} cores, "
    head += f"medians of {rounds} interleaved rounds, Python {result['environment']['python']}:"
    return "\n".join([head, "", "| way | what runs | seconds | times faster than batch |", "|---|---|---|---|", *rows])


def tables_table(result: dict[str, Any]) -> str:
    """Medians of each case, the most memory, and the ratios of Deep RC to the others."""
    head = f"{result['cores']} cores, medians of {result['rounds']} interleaved rounds, in seconds"
    lines = [f"{head}, Python {result['environment']['python']}:"]
    for case in result["cases"]:
        questions = list(next(iter(case["engines"].values())))
        lines += ["", f"**{case['case']}**", "", f"| engine | {' | '.join(questions)} | most memory |"]
        lines.append("|---" * (len(questions) + 2) + "|")
        for engine, answers in case["engines"].items():
            cells = [_seconds(answer) for answer in answers.values()]
            peaks = [a["peak_bytes"] for a in answers.values() if a.get("peak_bytes")]
            memory = f"{max(peaks) / 2**30:.2f} GiB" if peaks else "-"
            lines.append(f"| {engine} | {' | '.join(cells)} | {memory} |")
    for case_name, questions in result["ratios"].items():
        named = list(dict.fromkeys(name for found in questions.values() for name in found))
        lines += [
            "",
            f"Ratios, {case_name}:",
            "",
            f"| question | {' | '.join(named)} |",
            "|---" * (len(named) + 1) + "|",
        ]
        for question, found in questions.items():
            cells = [f"{found[name]:.2f}" if name in found else "-" for name in named]
            lines.append(f"| {question} | {' | '.join(cells)} |")
    for engine, command in result["not_measured"].items():
        lines += ["", f"Not measured: {engine} (`{command}`)."]
    return "\n".join(lines)


def _seconds(answer: dict[str, Any]) -> str:
    if "seconds" in answer:
        return f"{answer['median_seconds']:.3f}"
    return answer["failed"] if answer["failed"].startswith("more than") else "-"


def exchange_table(result: dict[str, Any]) -> str:
    """What the model says of the published runs."""
    columns = ("what", "ranks", "published [s]", "flat [s]", "two levels [s]", "chosen")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for row in result["published"]:
        told = f"{row['seconds']:.3g} | {row['flat_seconds']:.3g} | {row['two_level_seconds']:.3g} | {row['chosen']}"
        lines.append(f"| {row['what']} | {row['ranks']:,} | {told} |")
    return "\n".join(lines)


def tasks_table(result: dict[str, Any]) -> str:
    """Throughput and latency of each system, then what only Deep RC is measured on."""
    ours = result["medians"]["deeprc"]["tasks_per_second"]
    rows = [
        f"| {result['systems'][name]} | {row['tasks_per_second']:,.0f} | {ours / row['tasks_per_second']:.1f} "
        f"| {row['round_trip_ms']:.2f} | {row['start_seconds']:.1f} |"
        for name, row in result["medians"].items()
    ]
    rows += [
        f"| {result['systems'][name]} | not measured: {why} | | | |" for name, why in result["not_measured"].items()
    ]
    rounds = len(result["rounds"]["deeprc"])
    head = f"No-op tasks of one rank on {result['cores']} cores, medians of {rounds} interleaved rounds:"
    columns = "| system | tasks/s | Deep RC against it | round trip [ms] | start [s] |"
    own, graph = result["gangs_and_graphs"], result["gangs_and_graphs"]["graph"]
    more = [
        ("two ranks with a communicator of their own, warm, gloo", f"{own['warm_gloo_ms']:.1f} ms"),
        ("the same, mpi", f"{own['warm_mpi_ms']:.1f} ms"),
        ("a fresh, isolated rank with torch imported", f"{own['fresh_rank_ms']:.0f} ms"),
        ("a fresh MPI world of two ranks", f"{own['fresh_mpi_world_ms']:.0f} ms"),
        (f"a graph of {graph['tasks']:,} tasks, all waiting", f"{graph['bytes_per_waiting_task']:,.0f} bytes a task"),
        ("the same, run", f"{graph['tasks_per_second']:,.0f} tasks/s"),
    ]
    table = [head, "", columns, "|---|---|---|---|---|", *rows]
    return "\n".join([*table, "", "| Deep RC | |", "|---|---|", *(f"| {what} | {value} |" for what, value in more)])


MAKERS = {
    "pipeline": pipeline_table,
    "tasks": tasks_table,
    "tables": tables_table,
    "db-benchmark": tables_table,
    "exchange": exchange_table,
}


def main() -> None:
    """Fill every marked place of every page."""
    for name, make in MAKERS.items():
        file = ROOT / "benchmarks" / f"{name}.json"
        if not file.exists():
            continue
        table = make(json.loads(file.read_text()))
        marked = re.compile(rf"(<!-- benchmark:{name} -->\n).*?(<!-- /benchmark:{name} -->)", re.S)
        for page in PAGES:
            page.write_text(marked.sub(lambda match, text=table: f"{match[1]}{text}\n{match[2]}", page.read_text()))


if __name__ == "__main__":
    main()
