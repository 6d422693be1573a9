"""A CSV file whose quotes are not in place is read as Polars reads it whole, or refused by its line."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import deeprc as rc
from deeprc.table.files.quotes import quotes_of
from tests.ranks import run_on_ranks
from tests.table.files.test_byte_ranges import chunks_of

GOOD = "".join(f"{row},x\n" for row in range(60))
LINE = "line\n"
# By what is wrong, with the line that is.
MISPLACED: dict[str, tuple[str, int]] = {
    "opened": ('n,s\n1,"a\n2,b\n', 2),
    "opened_late": (f'n,s\n{GOOD}60,"open\n{GOOD}', 62),
    "opened_last": (f'n,s\n{GOOD}60,"b\n', 62),
    "opened_end": (f'n,s\n{GOOD}60,"b', 62),
    "inches": ('n,s\n1,5" pipe\n2,b\n3,c\n', 2),
    "inches_twice": (f'n,s\n{GOOD}60,5" pipe\n61,6" pipe\n62,c\n', 62),
    "inches_far": (f'n,s\n60,5" pipe\n{GOOD}61,6" pipe\n62,c\n', 2),
    "opened_then_closed": (f'n,s\n60,"a\n61,"b"\n{GOOD}', 2),
    "first_field": (f'n,s\n{GOOD}"60,a\n61,b\n', 62),
}
# What Polars reads, though a quote is not where it would be written.
READABLE = {
    "inches_in_line": f'n,s\n1,5" by 6" pipe\n{GOOD}',
    "spaced": f'n,s\n1, "a"\n{GOOD}2, "b"\n',
    "paired_over_lines": f'n,s\n1,"\n{GOOD}3,"\n4,x\n',
}
QUERIES: dict[str, Callable[[Any], Any]] = {
    "all": lambda t: t,
    "other_column": lambda t: t.select("n"),
    "rows": lambda t: t.select(pl.len()),
    "head": lambda t: t.head(2),
    "tail": lambda t: t.tail(2),
    "filter": lambda t: t.filter(pl.col("n").str.len_chars() > 1).select("n"),
}
TYPES = {"n": pl.String, "s": pl.String}


def _answers(comm: rc.Communicator, folder: Path, names: list[str]) -> dict[tuple[str, str, str], Any]:
    answers: dict[tuple[str, str, str], Any] = {}
    with chunks_of(100):
        for name in names:
            for split in ("rows", "bytes"):
                for query, plan in QUERIES.items():
                    try:
                        table = rc.scan_csv(folder / f"{name}.csv", comm, split=split, schema=TYPES)
                        answers[name, split, query] = plan(table).gather()
                    except rc.DeepRCError as error:
                        answers[name, split, query] = f"{type(error).__name__}: {error}"
    return answers


@pytest.mark.parametrize("size", [1, 2, 3])
def test_no_line_is_lost(size: int, tmp_path: Path) -> None:
    """Whatever a query reads of the file, and however it is split; every rank says the same."""
    for name, text in ({name: text for name, (text, _) in MISPLACED.items()} | READABLE).items():
        (tmp_path / f"{name}.csv").write_text(text)
    for answers in run_on_ranks(_answers, tmp_path, [*MISPLACED, *READABLE], size=size):
        assert len(answers) == (len(MISPLACED) + len(READABLE)) * 2 * len(QUERIES)
        for (name, split, query), answer in answers.items():
            if name in MISPLACED:
                assert isinstance(answer, str), (name, split, query, answer)
                assert answer.startswith("DataError") and f"{name}.csv, line {MISPLACED[name][1]}:" in answer
                assert "quote_char=None" in answer
            else:
                whole = pl.read_csv(tmp_path / f"{name}.csv", schema=TYPES)
                assert isinstance(answer, pl.DataFrame), answer
                assert_frame_equal(answer, QUERIES[query](whole.lazy()).collect())


def test_packed_files_and_options(tmp_path: Path) -> None:
    """A packed file is looked at too; quotes that mean nothing, comments with quotes and ignored errors are let be."""
    text = MISPLACED["inches_twice"][0]
    whole = pl.DataFrame({"n": [line.split(",")[0] for line in text.splitlines()[1:]]})
    plain, commented, packed = tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "c.csv.gz"
    plain.write_text(text)
    commented.write_text(f'# don"t\nn,s\n{GOOD}# 5" more\n70,y\n')
    packed.write_bytes(gzip.compress(text.encode()))

    def rows(file: Path, **options: Any) -> int:
        return int(rc.scan_csv(file, **options).select("n").collect().height)

    assert_frame_equal(rc.scan_csv(plain, quote_char=None, schema=TYPES).select("n").collect(), whole)
    assert rows(commented, comment_prefix="#") == 61
    assert rows(plain, ignore_errors=True) <= 63
    for file in (plain, packed):
        with pytest.raises(rc.DeepRCError, match=file.name):
            rows(file)


def _scanned(comm: rc.Communicator, files: list[Path], options: dict[str, Any]) -> list[Any]:
    results = []
    with chunks_of(40):
        for file in files:
            for split in ("rows", "bytes"):
                try:
                    results.append(rc.scan_csv(file, comm, split=split, **options).gather())
                except rc.DeepRCError as error:
                    results.append(str(error))
    return results


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_shapes_of_files(size: int, tmp_path: Path) -> None:
    """Marks at the beginning, both line ends, comments, names alone, blank lines, quoted line ends at every border."""
    body = "".join(f'{row},"{LINE * (row % 4)}{row}"\n' for row in range(23))
    texts = {
        "mark": "\ufeffn,s\n" + GOOD,
        "mark_quoted": '\ufeff"n","s"\n' + GOOD,
        "windows": ("n,s\n" + body).replace("\n", "\r\n"),
        "names": "n,s\n",
        "names_unended": "n,s",
        "blank": "n,s\n" + GOOD.replace("5,x\n", "5,x\n\n") + "\n\n",
        "quoted": "n,s\n" + body,
        "comments": "# first\nn,s\n" + GOOD.replace("7,x\n", "7,x\n# seven\n"),
        "empty": "",
    }
    files = []
    for name, text in texts.items():
        files.append(tmp_path / f"{name}.csv")
        files[-1].write_text(text, newline="", encoding="utf-8")
    options: dict[str, Any] = {"schema_overrides": {"s": pl.String}}
    for rank in run_on_ranks(_scanned, files[:-2], options, size=size):
        for number, got in enumerate(rank):
            assert_frame_equal(got, pl.read_csv(files[number // 2], **options))
    for rank in run_on_ranks(_scanned, files[-2:-1], {"comment_prefix": "#"}, size=size):
        for got in rank:
            assert_frame_equal(got, pl.read_csv(files[-2], comment_prefix="#"))
    for rank in run_on_ranks(_scanned, files[-1:], {}, size=size):
        assert all("empty.csv" in message for message in rank)


def test_quotes_are_in_place_for_every_writer(tmp_path: Path) -> None:
    """What Polars writes needs no second reading, wherever a file is cut; blocks do not matter."""
    dice = random.Random(3)
    texts = ["", "a", 'say "a"', '"', '""', ",", "\n", 'x"\n,"y', "\r\n", None]
    frame = pl.DataFrame({"a": [dice.choice(texts) for _ in range(200)], "b": [dice.choice(texts) for _ in range(200)]})
    for style in ("necessary", "always", "non_numeric"):
        for separator in (",", ";", "\t"):
            file = tmp_path / f"{style}.csv"
            frame.write_csv(file, quote_style=style, separator=separator)  # type: ignore[arg-type]
            content = file.read_bytes()
            for cut in (0, 1, len(content) // 3, len(content) - 1):
                inside = content.count(b'"', 0, cut) % 2 == 1
                found = quotes_of(str(file), cut, len(content), b'"', separator.encode())
                assert found.count == content.count(b'"', cut) and found.fit(inside=inside)
            assert quotes_of(str(file), 0, len(content), b'"', separator.encode()).count % 2 == 0
