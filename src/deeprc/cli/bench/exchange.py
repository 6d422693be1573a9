"""`deeprc bench exchange`: a cost model of the exchange, calibrated here, beside published runs at scale.

Measured here: exchanges of several sizes among two to four ranks, over MPI and GLOO; seconds a message, bytes a
second and seconds a round are fitted to these by least squares. Fitted on published runs: a run's own work per row
on its smallest number of ranks, and the crowding of messages on its largest; a run in between is a prediction.
Source of the published runs: Cylon on Summit, two int64 columns, 42 ranks a node.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import deeprc as rc
from deeprc.journal.environment import describe_environment
from deeprc.journal.writer import write_json
from deeprc.table.exchange.cost import Network, flat_s, two_level_s

_SIZES = (1 << 10, 1 << 16, 1 << 20, 1 << 23)
_REPEATS = 25
_ROW_BYTES = 16
_PER_NODE = 42
_PRIVATE = ("executable", "command", "working_directory")
# (what, exchanges, rows in all or None for a million a rank, seconds by ranks)
_PUBLISHED: tuple[tuple[str, int, float | None, dict[int, float]], ...] = (
    ("strong sort of 3.5 billion rows", 1, 3.5e9, {42: 49.8, 1344: 2.10, 10752: 53.9}),
    ("weak join of 1 million rows a rank", 2, None, {42: 0.565, 10752: 10.3}),
)


def time_exchanges(comm: rc.Communicator, sizes: tuple[int, ...], repeats: int) -> list[tuple[int, float]]:
    """(bytes that each rank sends, least seconds) of all-to-alls of even parts: what no other program disturbed."""
    found = []
    for size in sizes:
        part = bytes(size // max(1, comm.size - 1))
        seconds = []
        for _ in range(repeats):
            comm.barrier()
            began = time.perf_counter()
            comm.all_to_all([b"" if rank == comm.rank else part for rank in range(comm.size)])
            seconds.append(max(comm.all_gather(time.perf_counter() - began)))
        found.append((size, min(seconds)))
    return found


def calibrate(measured: list[tuple[int, int, float]]) -> tuple[Network, float]:
    """The constants that fit (ranks, bytes, seconds) best in proportion, and the median relative residual."""
    rows = np.array([[1.0, ranks - 1, sent] for ranks, sent, _ in measured])
    seconds = np.array([taken for _, _, taken in measured])
    weighted = rows / seconds[:, None]
    scale = np.abs(weighted).max(axis=0)
    constants = np.maximum(np.linalg.lstsq(weighted / scale, np.ones(len(seconds)), rcond=None)[0] / scale, 1e-12)
    round_s, message_s, byte_s = (float(value) for value in constants)
    residuals = np.abs(rows @ constants / seconds - 1)
    return Network(message_s=message_s, bytes_per_s=1 / byte_s, round_s=round_s), float(np.median(residuals))


def published(network: Network) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The published runs beside the model, and what was fitted on them: work a row, and crowding."""
    rows, fitted = [], []
    for what, exchanges, total, figures in _PUBLISHED:
        fewest, most = min(figures), max(figures)
        work = figures[fewest] / _rows(total, fewest)
        sent = _rows(total, most) * _ROW_BYTES
        # Ranks that share cores here make messages dear: no dearer than the run's slowest exchange allows.
        per_exchange = (figures[most] - work * _rows(total, most)) / exchanges - sent / network.bytes_per_s
        message_s = min(network.message_s, per_exchange / (most - 1))
        bounded = Network(message_s, network.bytes_per_s, 0.0)
        crowded = _with(bounded, max(0.0, (per_exchange - (most - 1) * message_s) / most**2))
        constants = {"message_s": message_s, "crowding_s": crowded.crowding_s}
        fitted.append({"what": what, "work_s_per_row": work, **constants})
        for ranks, seconds in figures.items():
            rows.append(_row(what, exchanges, total, ranks, seconds, work, crowded, fewest, most))
    return rows, fitted


def _row(
    what: str,
    exchanges: int,
    total: float | None,
    ranks: int,
    seconds: float,
    work: float,
    network: Network,
    fewest: int,
    most: int,
) -> dict[str, Any]:
    sent, own = _rows(total, ranks) * _ROW_BYTES, work * _rows(total, ranks)
    flat = own + exchanges * flat_s(network, ranks, sent)
    two = own + exchanges * two_level_s(network, ranks, _PER_NODE, sent)
    return {
        "what": what,
        "ranks": ranks,
        "seconds": seconds,
        "flat_seconds": flat,
        "two_level_seconds": two,
        "chosen": "two levels" if two < flat and ranks > _PER_NODE else "flat",
        "residual": flat / seconds - 1,
        "fitted_on_this": ranks in (fewest, most),
    }


def _rows(total: float | None, ranks: int) -> float:
    return 1e6 if total is None else total / ranks


def _with(network: Network, crowding_s: float) -> Network:
    return Network(network.message_s, network.bytes_per_s, network.round_s, crowding_s)


def simulate(network: Network, ranks: int, per_node: int, sizes: tuple[int, ...] = _SIZES) -> list[dict[str, Any]]:
    """Both exchanges of each size on so many ranks."""
    predicted = []
    for sent in sizes:
        flat, two = flat_s(network, ranks, sent), two_level_s(network, ranks, per_node, sent)
        chosen = "two levels" if two < flat and 1 < per_node < ranks else "flat"
        predicted.append({"sent_bytes": sent, "flat_seconds": flat, "two_level_seconds": two, "chosen": chosen})
    return predicted


def main(
    json_file: Path, *, simulated: int = 10_752, per_node: int = _PER_NODE, ranks: tuple[int, ...] = (2, 3, 4)
) -> None:
    """Calibrate, compare with published runs, predict, and write all of it to `json_file`."""
    calibrated: dict[str, Any] = {}
    networks: dict[str, Network] = {}
    with rc.Session(cores=max(ranks)) as session:
        for backend in ("mpi", "gloo"):
            measured = []
            for size in ranks:
                task = session.submit(time_exchanges, _SIZES, _REPEATS, ranks=size, comm=backend)
                measured += [(size, sent, seconds) for sent, seconds in task.result()]
            networks[backend], residual = calibrate(measured)
            calibrated[backend] = {
                "measured": [{"ranks": size, "sent_bytes": sent, "seconds": taken} for size, sent, taken in measured],
                "message_s": networks[backend].message_s,
                "bytes_per_s": networks[backend].bytes_per_s,
                "round_s": networks[backend].round_s,
                "median_relative_residual": residual,
            }
    rows, fitted = published(networks["mpi"])
    least = min(fitted, key=lambda each: each["message_s"] + each["crowding_s"] * simulated)
    crowded = Network(least["message_s"], networks["mpi"].bytes_per_s, networks["mpi"].round_s, least["crowding_s"])
    result = {
        "benchmark": "exchange",
        "calibrated_here": calibrated,
        "published": rows,
        "fitted_on_published": fitted,
        "simulated": {"ranks": simulated, "ranks_per_node": per_node, "sizes": simulate(crowded, simulated, per_node)},
        "environment": {key: value for key, value in describe_environment().items() if key not in _PRIVATE},
    }
    json_file.parent.mkdir(parents=True, exist_ok=True)
    write_json(json_file, result)
    _tell(result)


def _tell(result: dict[str, Any]) -> None:
    console = Console()
    for backend, found in result["calibrated_here"].items():
        console.print(
            f"{backend}: {found['message_s'] * 1e6:.1f} us a message, {found['bytes_per_s'] / 1e9:.2f} GB/s, "
            f"{found['round_s'] * 1e6:.0f} us a round; median residual {found['median_relative_residual']:.0%}"
        )
    for row in result["published"]:
        how = "fitted on it" if row["fitted_on_this"] else f"predicted, {row['residual']:+.0%}"
        console.print(
            f"{row['what']}, {row['ranks']} ranks: published {row['seconds']:.3g} s, flat {row['flat_seconds']:.3g} s "
            f"({how}), two levels {row['two_level_seconds']:.3g} s -> {row['chosen']}"
        )
    for row in result["simulated"]["sizes"]:
        console.print(
            f"{result['simulated']['ranks']} ranks, {row['sent_bytes']:>8} bytes each: flat {row['flat_seconds']:.3g} "
            f"s, two levels {row['two_level_seconds']:.3g} s -> {row['chosen']}"
        )
