"""`deeprc bench`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Measure Deep RC on this machine.", no_args_is_help=True)


@app.callback()
def _bench() -> None:
    """Measure Deep RC on this machine."""


@app.command()
def pipeline(
    json: Annotated[Path, typer.Option("--json", help="File for the measurements.")],
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; medians are reported.")] = 3,
) -> None:
    """The same eleven models as batch jobs, and as one run."""
    from deeprc.cli.bench.pipeline import main

    main(json, rounds=rounds)


@app.command()
def tasks(
    json: Annotated[Path, typer.Option("--json", help="File for the measurements.")],
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; medians are reported.")] = 3,
) -> None:
    """Throughput and latency of small tasks, beside other systems."""
    from deeprc.cli.bench.tasks import main

    main(json, rounds=rounds)


@app.command()
def tables(
    json: Annotated[Path, typer.Option("--json", help="File for the measurements.")],
    rows: Annotated[str, typer.Option(help="Rows of Cylon's tables, with commas between.")] = "1e6,1e7",
    db_rows: Annotated[float, typer.Option(help="Rows of the db-benchmark's tables.")] = 1e7,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; Dask, Daft and Bodo take part in a third.")] = 4,
    engines: Annotated[str, typer.Option(help="Engines, with commas between; all by default.")] = "",
    envs: Annotated[Path, typer.Option(help="Folder of the environments that `make bench-env` builds.")] = Path(),
    limit: Annotated[float, typer.Option(help="Seconds for one engine's questions; what takes longer is ended.")] = 240,
    memory: Annotated[bool, typer.Option(help="One more round, not timed, that watches memory.")] = True,
    suite: Annotated[str, typer.Option(help="cylon or db-benchmark; both by default.")] = "",
) -> None:
    """Joins, sorts and group-bys beside Polars, DuckDB, Dask, Daft and Bodo."""
    from deeprc.cli.bench.tables import SUITES, main
    from deeprc.errors import SpecError, valid_values

    counts = [int(float(count)) for count in rows.split(",")]
    names = [name.strip() for name in engines.split(",") if name.strip()]
    if suite not in ("", *SUITES):
        raise SpecError(f"unknown suite {suite!r}. {valid_values(suite, SUITES, noun='suite')}")
    main(
        json,
        rows=counts if suite in ("", "cylon") else [],
        db_rows=int(db_rows) if suite in ("", "db-benchmark") else 0,
        rounds=rounds,
        engines=names,
        environments=envs.resolve(),
        limit_s=limit,
        memory=memory,
    )


@app.command()
def exchange(
    json: Annotated[Path, typer.Option("--json", help="File for the measurements and predictions.")],
    simulate: Annotated[int, typer.Option(min=2, help="Ranks to predict exchanges for.")] = 10_752,
    ranks_per_node: Annotated[int, typer.Option(min=1, help="Ranks on each node of the prediction.")] = 42,
) -> None:
    """The exchange's cost model: calibrated here, beside published runs, for many ranks."""
    from deeprc.cli.bench.exchange import main

    main(json, simulated=simulate, per_node=ranks_per_node)
