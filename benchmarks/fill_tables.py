"""Put the measured tables into README.md and docs/benchmarks.md, between their markers.

`deeprc bench pipeline --json benchmarks/pipeline.json`, then `python benchmarks/fill_tables.py`.
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


def main() -> None:
    """Fill every marked place of every page."""
    table = pipeline_table(json.loads((ROOT / "benchmarks" / "pipeline.json").read_text()))
    marked = re.compile(r"(<!-- benchmark:pipeline -->\n).*?(<!-- /benchmark:pipeline -->)", re.S)
    for page in PAGES:
        text = page.read_text()
        page.write_text(marked.sub(lambda match: f"{match[1]}{table}\n{match[2]}", text))


if __name__ == "__main__":
    main()
