"""Ranks and drivers that are killed while tables are on disk: the disk space comes back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import deeprc as rc
from deeprc.errors import RankDiedError
from deeprc.table.spill.file import SpillFile
from deeprc.workspace import new_spill_folder, scratch_of, set_scratch
from deeprc.workspace.scratch import started
from tests.runtime import faults
from tests.table.budget import spilling

ROWS = 2_000_000


def _spill_and_wait(comm: rc.Communicator, note: str) -> None:
    """Spill a table, by name and without one, and stay there until killed."""

    def stay(rows: pl.DataFrame) -> pl.DataFrame:
        Path(f"{note}.{comm.rank}").write_text(str(os.getpid()))
        time.sleep(120)
        return rows

    numbers = pl.DataFrame({"k": range(ROWS)})
    # What `map_batches` reads is in files that have names.
    with spilling(64 << 20):
        rc.from_polars(numbers, comm).sort("k", descending=True).map_batches(stay, schema={"k": pl.Int64}).persist()


def _places(comm: rc.Communicator, note: str) -> None:
    with spilling(64 << 20):
        rc.from_polars(pl.DataFrame({"k": range(ROWS)}), comm).with_columns(pl.col("k").rank().alias("place")).persist()


def _means(comm: rc.Communicator, note: str) -> None:
    means = pl.col("k").cast(pl.Float64).ewm_mean(alpha=0.5).alias("mean")
    with spilling(64 << 20):
        rc.from_polars(pl.DataFrame({"k": range(ROWS)}), comm).with_columns(means).persist()


def _nearest(comm: rc.Communicator, note: str) -> None:
    numbers = pl.DataFrame({"k": range(ROWS)}).slice(ROWS // 2 * comm.rank, ROWS // 2)
    with spilling(64 << 20):
        table = rc.from_polars(numbers, comm)
        table.join_asof(table.select("k", other="k"), on="k").persist()


def _folders(comm: rc.Communicator, note: str) -> None:
    with spilling(64 << 20):
        table = rc.from_polars(pl.DataFrame({"k": range(ROWS)}), comm).with_columns(part=pl.col("k") % 3)
        table.write_parquet(f"{note}-rows", partition_by="part")


def _pids(note: Path) -> list[int]:
    files = [Path(f"{note}.{rank}") for rank in range(2)]
    assert faults.wait_until(lambda: all(file.exists() and file.read_text() for file in files), timeout_s=60)
    return [int(file.read_text()) for file in files]


def _held_on_disk(scratch: Path) -> int:
    return sum(path.stat().st_size for path in scratch.rglob("*.arrow"))


def test_a_rank_killed_in_mid_spill_leaves_nothing(tmp_path: Path) -> None:
    """The task fails by the rank's death, and what both ranks had spilled is removed while the session goes on."""
    with rc.Session(cores=2, run_dir=tmp_path / "run") as session:
        future = session.submit(_spill_and_wait, str(tmp_path / "note"), ranks=2, comm="mpi")
        victim, _ = _pids(tmp_path / "note")
        scratch = scratch_of(session.run_directory)
        assert _held_on_disk(scratch) >= ROWS * 8
        os.kill(victim, signal.SIGKILL)
        assert isinstance(future.exception(timeout=60), RankDiedError)
        assert faults.wait_until(lambda: not list(scratch.iterdir()))
        assert session.submit(os.getpid).result(timeout=60) != os.getpid()


_DRIVER = """
    import sys
    import deeprc as rc
    from tests.runtime.test_faults_spill import _spill_and_wait

    with rc.Session(cores=2, run_dir=sys.argv[1] + "/run") as session:
        session.submit(_spill_and_wait, sys.argv[1] + "/note", ranks=2, comm="mpi").result()
"""


def test_a_driver_killed_while_its_ranks_spill_leaves_nothing(tmp_path: Path) -> None:
    """The agent ends the ranks, and removes the run's scratch folder."""
    driver = subprocess.Popen([sys.executable, "-c", textwrap.dedent(_DRIVER), str(tmp_path)])
    try:
        ranks = _pids(tmp_path / "note")
        scratch = scratch_of(tmp_path / "run")
        assert _held_on_disk(scratch) >= ROWS * 8
    finally:
        driver.kill()
        driver.wait()
    assert faults.wait_until(lambda: not any(map(faults.alive, ranks)))
    assert faults.wait_until(lambda: not scratch.exists())


def test_what_a_killed_agent_left_goes_when_the_next_one_starts(tmp_path: Path) -> None:
    """Folders of processes that are gone, whoever has their number now; those of the living and of others stay."""
    dead = subprocess.Popen(["true"])
    dead.wait()
    prefix = new_spill_folder_name(tmp_path)
    left = [f"{prefix}-{dead.pid}-123-abc", f"{prefix}-{os.getpid()}-123-abc"]
    kept = [f"{prefix}-{os.getpid()}-{started(os.getpid())}-abc", f"spill-elsewhere-1-{dead.pid}-123-abc"]
    scratch = tmp_path / "earlier" / "scratch"
    for name in (*left, *kept):
        (scratch / name).mkdir(parents=True)
        (scratch / name / "000000.arrow").write_bytes(b"rows")
    with rc.Session(cores=1, run_dir=tmp_path / "run") as session:
        session.submit(os.getpid).result(timeout=60)
        assert faults.wait_until(lambda: sorted(path.name for path in scratch.iterdir()) == sorted(kept))


def test_a_scratch_folder_that_another_runs_agent_took_for_abandoned_is_made_again(tmp_path: Path) -> None:
    """While all files in it are nameless it is empty: it may go at any time, and what is spilled goes on."""
    scratch = tmp_path / "scratch"
    first = SpillFile(scratch)
    scratch.rmdir()
    second = SpillFile(scratch)
    for file in (first, second):
        rows = pl.DataFrame({"k": [1, 2]})
        assert file.read(file.append_frame(rows), rows.clear()).equals(rows)
        file.close()


def new_spill_folder_name(folder: Path) -> str:
    """What the names of this process's folders begin with, but for its number."""
    set_scratch(folder / "own")
    try:
        return new_spill_folder().name.rsplit("-", 3)[0]
    finally:
        set_scratch(None)


@pytest.mark.slow
@pytest.mark.parametrize("work", [_spill_and_wait, _places, _means, _nearest, _folders])
def test_a_full_scratch_disk_ends_all_ranks_and_says_where(tmp_path: Path, work: Callable[..., None]) -> None:
    """The error names the folder and what to do, also where what is spilled has a name; nothing is left in it."""
    with faults.tmpfs(tmp_path / "run" / "scratch", "2m"), rc.Session(cores=2, run_dir=tmp_path / "run") as session:
        future = session.submit(work, str(tmp_path / "note"), ranks=2, comm="mpi")
        message = str(future.exception(timeout=60))
        scratch = scratch_of(session.run_directory)
        assert f"scratch folder {scratch}" in message and "No space left on device" in message
        assert "set DEEPRC_SCRATCH to a folder on a larger disk, or give the task more memory=" in message
        assert faults.wait_until(lambda: not list(scratch.iterdir()))


def _new_spill_folder() -> str:
    return str(new_spill_folder())


def test_runs_of_one_name_share_no_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a node's own disk: the run that ends first leaves the other's, as with restarts, which are all called 1."""
    monkeypatch.setenv("DEEPRC_SCRATCH", str(tmp_path / "scratch"))
    with rc.Session(cores=1, run_dir=tmp_path / "a" / "restarts" / "1") as session:
        mine = session.submit(_new_spill_folder).result(timeout=60)
        with rc.Session(cores=1, run_dir=tmp_path / "b" / "restarts" / "1") as other:
            others = other.submit(_new_spill_folder).result(timeout=60)
        assert not Path(others).exists()
        assert Path(mine).is_dir()
