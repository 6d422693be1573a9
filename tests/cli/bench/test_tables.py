"""`deeprc bench tables`: a short form with the engines that are here; wrong answers are told."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from deeprc.cli.bench.tables import QUESTIONS, check_same_answers, main, ratios
from deeprc.cli.bench.tables_engines import SCRIPTS, Variant, interpreter, measure, variants
from deeprc.errors import SpecError


@pytest.mark.slow
def test_short_form(tmp_path: Path) -> None:
    """Every question of both benchmarks is answered alike by Polars and by Deep RC on one and on several ranks."""
    main(tmp_path / "tables.json", rows=(2000,), db_rows=10_000, rounds=1, engines=("polars", "deeprc"), memory=False)
    result = json.loads((tmp_path / "tables.json").read_text())
    strong, groups, joins = result["cases"][0], result["cases"][-2], result["cases"][-1]
    for case in (strong, groups, joins):
        for answers in case["engines"].values():
            assert all(answers[question]["median_seconds"] > 0 for question in QUESTIONS[case["benchmark"]])
    assert all(result["ratios"][strong["case"]][question]["1 rank / polars"] > 0 for question in QUESTIONS["cylon"])


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["duckdb", "dask", "daft", "bodo"])
def test_others_answer_alike(engine: str, tmp_path: Path) -> None:
    """Where an engine's environment is built, its answers are Polars'."""
    if interpreter(engine, Path()) is None:
        pytest.skip(f"make bench-env builds the environment of {engine}")
    main(tmp_path / "tables.json", rows=(2000,), db_rows=0, rounds=1, engines=("polars", engine))
    answers = json.loads((tmp_path / "tables.json").read_text())["cases"][0]["engines"][engine]
    assert any("seconds" in answers[question] for question in QUESTIONS["cylon"])


def test_what_is_missing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An engine without an environment is listed with the command that brings it; a wrong name is refused."""
    main(tmp_path / "t.json", rows=(), db_rows=0, rounds=1, engines=("duckdb",), environments=tmp_path)
    assert "make bench-env" in json.loads((tmp_path / "t.json").read_text())["not_measured"]["duckdb"]
    assert "duckdb: not measured" in capsys.readouterr().err
    with pytest.raises(SpecError, match=r"did you mean|Valid"):
        main(tmp_path / "t.json", engines=("duckbd",))


@pytest.mark.slow
def test_what_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that never answers is ended; what it had answered before counts, the rest says why it is missing."""
    questions = "{'quick': lambda tables: 1, 'endless': lambda tables: tables is few or time.sleep(600)}"
    script = f"import time\nfew = {{}}\nload = lambda files, cores: dict(files) or few\nQUESTIONS = {questions}\n"
    (tmp_path / "on_endless.py").write_text(script + "describe = lambda answer: (1, {})\n")
    shutil.copy(SCRIPTS / "measure.py", tmp_path)
    monkeypatch.setattr("deeprc.cli.bench.tables_engines.SCRIPTS", tmp_path)
    (tmp_path / "rows").write_bytes(b"row")
    asked, tables = Variant("endless", "endless", 1), {"t": str(tmp_path / "rows")}
    quick, endless = measure(asked, Path(sys.executable), tables, {}, ("quick", "endless"), 8)
    assert quick["seconds"] < 8 and endless["failed"] == "more than 8 s"


def test_different_answers_are_refused() -> None:
    """Row counts and sums must agree; the error has both."""

    def answer(rows: int, total: float) -> list[list[dict[str, object]]]:
        return [[{"question": "join", "rows": rows, "sums": {"v": total}}]]

    check_same_answers("case", {"a": answer(3, 1.0), "b": answer(3, 1.0 + 1e-9)})
    for other in (answer(4, 1.0), answer(3, 1.1)):
        with pytest.raises(RuntimeError, match=r"a answered 3 rows.*and b"):
            check_same_answers("case", {"a": answer(3, 1.0), "b": other})


def test_ratios_are_of_medians() -> None:
    """The faster of MPI and GLOO is set against the faster of Polars and DuckDB."""

    def told(seconds: float, peak: int) -> dict[str, dict[str, object]]:
        return {"join": {"seconds": [seconds], "median_seconds": seconds, "peak_bytes": peak}}

    engines = {"polars": told(2, 10), "duckdb": told(4, 1), "deeprc-1": told(2, 9), "dask": told(9, 9)}
    engines |= {"deeprc-2-mpi": told(3, 20), "deeprc-2-gloo": told(6, 20)}
    found = ratios([{"case": "c", "engines": engines}])["c"]["join"]
    assert found["ranks / faster of polars and duckdb"] == 1.5
    assert (found["1 rank / polars"], found["dask / ranks"], found["memory, ranks / polars"]) == (1.0, 3.0, 2.0)
    assert [variant.name for variant in variants(1)][:2] == ["polars", "deeprc-1"]
