"""River records of your own: CSV files, one a river or all rivers in one, to the table that a model reads.

A row that cannot be understood is refused by file and row; what is marked as missing stays missing. Then the rules of
`cleaning` apply.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from deeprc.errors import DataError, SpecError, valid_values
from deeprc.spec.imports import checked_by, reads
from deeprc.workloads.hydrology.cleaning import CleaningReport, clean_record, record_cleaning
from deeprc.workloads.hydrology.textfiles import ROW, read_fields, read_text_lines, refuse_rows, to_dates

if TYPE_CHECKING:
    from deeprc.bridge import Dataset
    from deeprc.communicator import Communicator

SUFFIXES = (".csv", ".txt", ".tsv", ".csv.gz", ".txt.gz", ".tsv.gz")
DATE_FORMATS = ("%Y-%m-%d", "%d.%m.%Y", "%Y/%m/%d", "%Y%m%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S")
"""Formats that are recognised; a day before a month with slashes is not told from a month before a day."""

MISSING = ("", "NA", "NaN", "nan", "null", -999, -9999)
Files = str | Path | Mapping[str, str | Path]


@dataclass(frozen=True)
class Format:
    """How files are written: `columns` maps our names to theirs; see `read_records` for the rest."""

    columns: Mapping[str, str]
    date_format: str | None = None
    separator: str | None = None
    missing: Sequence[str | float] = MISSING
    encoding: str = "utf-8-sig"


def _check_columns(arguments: dict[str, Any]) -> None:
    columns = arguments.get("columns") or {}
    if "columns" not in arguments:
        return
    if not isinstance(columns, Mapping) or "date" not in columns:
        raise SpecError(f"columns={columns!r}: map our names to those in your files, at least date: {{'date': 'day'}}")
    if not {"discharge", "discharge_m3s"} & set(columns):
        raise SpecError(
            "columns: name the discharge, as discharge [mm/day] or as discharge_m3s [m3/s], which needs area_km2 among "
            "the attributes; or say discharge: None (null in YAML) of rivers without a gauge"
        )
    nameless = [name for name, column in columns.items() if column is None and name != "discharge"]
    if nameless:
        raise SpecError(
            f"columns: {', '.join(nameless)} has no column; only discharge may be None, where none was observed"
        )


@checked_by(_check_columns)
@reads("files")
def read_records(
    files: Files,
    comm: Communicator,
    *,
    columns: Mapping[str, str | None],
    attributes: str | Path | Mapping[str, Mapping[str, float]] | None = None,
    attribute_columns: Mapping[str, str] | None = None,
    date_format: str | None = None,
    separator: str | None = None,
    missing: Sequence[str | float] = MISSING,
    encoding: str = "utf-8-sig",
    name: str = "rivers",
) -> Dataset:
    """Read and clean records of rivers, each rank its share of the files, and persist them by basin and date.

    Collective over the task's ranks. A file has a header; `#` lines before it are passed over, `.gz` is unpacked.

    Args:
        files: a folder with a file for each river, named after it; a pattern with `*`; one file; or paths by river.
        columns: the columns to read, our name to the file's. `date`, and `discharge` [mm/day] or `discharge_m3s`
            [m3/s], or `discharge` None where none was observed; `basin` where files hold several rivers; then what the
            model is to read: precipitation [mm/day], tmean, tmin, tmax [degC], pet [mm/day], and others under any
            name. Without `pet` it is computed from `tmean` and the attribute `latitude_deg`.
        attributes: what does not change, by river: a CSV file with a row for each river, or a mapping.
        attribute_columns: the columns to read from that file, our name to the file's; `basin` is the river's name.
            None: all columns, under their names. `area_km2` turns m3/s into mm/day.
        date_format: as of `strptime`; None recognises `DATE_FORMATS`.
        separator: None finds out which of `;`, tab and `,` the header has. Unless it is a comma, `1,5` is 1.5.
        missing: texts and numbers that stand for a missing value.
        encoding: of the text files.
        name: of the dataset.

    Returns:
        A dataset: basin, date, the attributes, discharge [mm/day] and the columns named; a table of what was cleaned
        is left in the journal.

    Raises:
        DataError: no files, a bad row (file and row named), a missing column, a river without attributes.
    """
    from deeprc.table import from_polars

    _check_columns({"columns": columns})
    form = Format(
        {ours: theirs for ours, theirs in columns.items() if theirs is not None},
        date_format,
        separator,
        tuple(missing),
        encoding,
    )
    found = files_by_river(files)
    known = _attributes(attributes, attribute_columns, form)
    mine = [
        clean_record(record, known.get(basin, {}))
        for river in sorted(found)[comm.rank :: comm.size]
        for basin, record in _rivers_of(river, found[river], form, known)
    ]
    reports: list[CleaningReport] = [each for part in comm.all_gather([report for _, report in mine]) for each in part]
    _check_distinct(reports)
    if comm.rank == 0:
        record_cleaning(reports)
    frames = [frame for frame, _ in mine]
    schema = next(part for part in comm.all_gather(frames[0].schema if frames else None) if part is not None)
    share = pl.concat(frames) if frames else pl.DataFrame(schema=schema)
    return from_polars(share, comm).sort("basin", "date").persist(name)


def files_by_river(files: Files) -> dict[str, Path]:
    """Paths by the name of their river: that of the file, without its ending.

    Raises:
        DataError: there are none, or two of one name.
    """
    if isinstance(files, Mapping):
        return {str(name): _existing(Path(path)) for name, path in files.items()}
    text = str(files)
    if Path(text).is_dir():
        paths = [path for path in Path(text).iterdir() if path.name.endswith(SUFFIXES) and path.name[0] != "."]
    else:
        paths = [Path(path) for path in glob.glob(text)] if glob.has_magic(text) else [_existing(Path(text))]  # noqa: PTH207
    if not paths:
        raise DataError(f"{text}: no files there that end in {', '.join(SUFFIXES[:3])}, or these with .gz")
    named: dict[str, Path] = {}
    for path in sorted(paths):
        river = path.name.removesuffix(".gz").rpartition(".")[0] or path.name
        if river in named:
            raise DataError(f"{named[river]} and {path} are both of {river!r}: leave one out")
        named[river] = path
    return named


def _existing(path: Path) -> Path:
    if not path.exists():
        raise DataError(
            f"no such file or folder: {str(path)!r} (from {Path.cwd()}); a pattern such as data/*.csv will do too"
        )
    return path


def read_record(path: str | Path, form: Format) -> pl.DataFrame:
    """The columns of one file under our names: text for basin, Date for date, Float64 for the others.

    Raises:
        DataError: no such file or column, or a bad row (file and row named).
    """
    path = Path(path)
    text = _columns_of(path, form, form.columns)
    parts = text.partition_by("basin") if "basin" in form.columns else [text]
    dated = []
    for part in parts:
        day = pl.col("date").str.to_date(form.date_format or _format_of(path, part["date"][0]), strict=False)
        dated.append(to_dates(path, part, day, "date"))
    names = [name for name in form.columns if name not in ("basin", "date")]
    return _numbers(path, pl.concat(dated), names, form).drop(ROW)


def _rivers_of(
    river: str, path: Path, form: Format, attributes: Mapping[str, Mapping[str, float]]
) -> Iterator[tuple[str, pl.DataFrame]]:
    record = read_record(path, form)
    if "basin" not in form.columns:
        record = record.with_columns(basin=pl.lit(river))
    for (basin,), rows in record.group_by("basin", maintain_order=True):
        if attributes and basin not in attributes:
            known = valid_values(str(basin), list(attributes)[:20], noun="river")
            raise DataError(f"{path}: river {basin!r} has no row in the attributes. {known}")
        needs_area = "discharge_m3s" in form.columns and "area_km2" not in attributes.get(str(basin), {})
        if needs_area and "area_km2" not in rows.columns:
            raise DataError(f"river {basin!r}: discharge in m3/s needs the attribute area_km2 to become mm/day")
        yield str(basin), rows


def _attributes(
    given: str | Path | Mapping[str, Mapping[str, float]] | None, names: Mapping[str, str] | None, form: Format
) -> dict[str, dict[str, float]]:
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return {str(river): dict(values) for river, values in given.items()}
    path = Path(given)
    header = _header(path, form)[1]
    columns = dict(names or {name: name for name in header})
    if "basin" not in columns:
        raise DataError(f"{path}: say which column names the river: attribute_columns={{'basin': {header[0]!r}, ...}}")
    text = _columns_of(path, form, columns)
    refuse_rows(path, text, ~pl.col("basin").is_first_distinct(), "repeats a river", "basin")
    wanted = [name for name in columns if name != "basin"]
    # Of all columns of a file those are taken that are numbers; of columns that are named, each has to be.
    numeric = wanted if names else [name for name in wanted if _all_numbers(text[name], form)]
    rows = _numbers(path, text, numeric, form).select("basin", *numeric).to_dicts()
    return {row.pop("basin"): row for row in rows}


def _columns_of(path: Path, form: Format, columns: Mapping[str, str]) -> pl.DataFrame:
    """The wanted columns as text under our names, and the row of each."""
    rows, header, separator = _header(path, form)
    for ours, theirs in columns.items():
        if theirs not in header:
            known = valid_values(theirs, header, noun="column")
            other = "; or leave the file out, by a pattern such as 'data/Q*.csv'" if ours == "date" else ""
            raise DataError(f"{path}, row {rows}: no column {theirs!r} ({ours}). {known}{other}")
    # A name that a file has twice is that of its first column.
    distinct = [name if header.index(name) == i else f"{name} {i}" for i, name in enumerate(header)]
    fields = read_fields(path, distinct, separator=separator, header_rows=rows, encoding=form.encoding)
    wanted = fields.select(ROW, *(pl.col(theirs).str.strip_chars('" ').alias(ours) for ours, theirs in columns.items()))
    if separator != ",":
        numbers = [name for name in columns if name not in ("basin", "date")]
        wanted = wanted.with_columns(pl.col(numbers).str.replace(",", ".", literal=True))
    return wanted


def _header(path: Path, form: Format) -> tuple[int, list[str], str]:
    """How many lines end with the header, its fields, and what stands between them."""
    lines = read_text_lines(path, form.encoding)
    for row, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            separator = form.separator or max(";\t,", key=line.count)
            return row, [field.strip('" ') for field in line.split(separator)], separator
    raise DataError(f"{path}: is empty; a record has a header and a row for each day")


def _format_of(path: Path, first: str) -> str:
    for form in DATE_FORMATS:
        if pl.select(pl.lit(first).str.to_date(form, strict=False)).item() is not None:
            return form
    raise DataError(f"{path}: the first date is {first!r}; say how it is written: date_format='%d/%m/%Y', for example")


def _numbers(path: Path, frame: pl.DataFrame, names: Sequence[str], form: Format) -> pl.DataFrame:
    """Text to Float64, null where it stands for a missing value.

    Raises:
        DataError: neither a number nor marked as missing (file, row and column named).
    """
    for name in names:
        number = _number(name)
        wrong = ~_is_missing(name, form) & (number.is_null() | ~number.is_finite())
        refuse_rows(path, frame, wrong, f"{name} is neither a number nor one of missing={list(form.missing)}", name)
    return frame.with_columns(pl.when(~_is_missing(name, form)).then(_number(name)).alias(name) for name in names)


def _number(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.Float64, strict=False)


def _is_missing(name: str, form: Format) -> pl.Expr:
    texts = [value for value in form.missing if isinstance(value, str)]
    numbers = [float(value) for value in form.missing if not isinstance(value, str)]
    return pl.col(name).is_in(texts) | _number(name).is_in(numbers).fill_null(False)


def _all_numbers(values: pl.Series, form: Format) -> bool:
    name = values.name
    return bool(values.to_frame().select((_is_missing(name, form) | _number(name).is_not_null()).all()).item())


def _check_distinct(reports: Sequence[CleaningReport]) -> None:
    seen: set[str] = set()
    for report in reports:
        if report.basin in seen:
            raise DataError(f"river {report.basin!r} is in more than one file: leave one out, or join them first")
        seen.add(report.basin)
