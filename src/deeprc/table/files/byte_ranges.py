"""Text files split at bytes: each rank reads its range alone, and a line belongs to the range in which it begins.

Whether a line end is one, or a part of a quoted text, is told by the number of quotes before it: each rank counts
those of its range, and all learn the sums. A file whose quotes are not all in place is read in full first.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import polars as pl
from polars.io.plugins import register_io_source

from deeprc.communicator import Communicator
from deeprc.errors import DataError
from deeprc.table.exchange.exchange import together
from deeprc.table.files.quotes import Quotes, quotes_of

CHUNK_BYTES = 8 << 20
LEAST_BYTES = 64 << 20  # Of fewer bytes in all, rows are counted and shares are even.
_PACKED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04", b"\x78\x01", b"\x78\x9c", b"\x78\xda")


@dataclass(frozen=True)
class Piece:
    """Bytes `start` to `end` of a file, which are whole lines."""

    file: str
    start: int
    end: int


@dataclass(frozen=True)
class Text:
    """Files of lines: how to scan some, what quotes (nothing: b"") and separates, whether names come first."""

    what: str
    scan: Callable[[bytes], pl.LazyFrame]
    quote: bytes
    separator: bytes
    has_header: bool

    def frame(self, pieces: Sequence[Piece], schema: pl.Schema) -> pl.LazyFrame:
        """The rows of the pieces, read a chunk at a time."""

        def batches(
            columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
        ) -> Iterator[pl.DataFrame]:
            left = n_rows
            for piece in pieces:
                for start, lines in chunks(piece, self.quote):
                    rows = self._parsed(piece.file, start, lines, columns or list(schema))
                    rows = rows if left is None else rows.head(left)
                    left = None if left is None else left - rows.height
                    yield rows if predicate is None else rows.filter(predicate)
                    if left == 0:
                        return

        return register_io_source(batches, schema=schema)

    def _parsed(self, file: str, start: int, lines: bytes, columns: Sequence[str]) -> pl.DataFrame:
        head = self._head(file) if start else b""
        try:
            # Not the streaming engine: it is the one that waits for these rows.
            return self.scan(head + lines).select(columns).collect(engine="in-memory")
        except pl.exceptions.PolarsError as error:
            number = self._bad_line(head, lines) + _lines_before(file, start)
            raise DataError(f"{self.what} {file}, line {number}: {_reason(error, lines, self.quote)}") from error

    def _head(self, file: str) -> bytes:
        """The line of names, for lines that come without it."""
        if not self.has_header:
            return b""
        with Path(file).open("rb") as opened:
            end = next_line(file, 1, self.quote, inside=opened.read(1) == self.quote)
            opened.seek(0)
            return opened.read(end)

    def _bad_line(self, head: bytes, lines: bytes) -> int:
        """The number of the first line that can't be read, from 1: more lines are tried until it is among them."""
        ends = list(accumulate(len(line) for line in lines.splitlines(keepends=True)))
        good, bad = 0, len(ends)
        while good + 1 < bad:
            middle = (good + bad) // 2
            try:
                self.scan(head + lines[: ends[middle - 1]]).collect(engine="in-memory")
                good = middle
            except pl.exceptions.PolarsError:
                bad = middle
        return bad

    def check(self, file: str, columns: Sequence[str]) -> None:
        """Read a whole file.

        Raises:
            DataError: it can't be read; says from which line on.
        """
        for start, lines in chunks(Piece(file, 0, Path(file).stat().st_size), self.quote):
            self._parsed(file, start, lines, columns)

    def quotes_fit(self, file: str) -> bool:
        """Whether all quotes of a file are in place, so that lines can be told without reading their fields."""
        found = quotes_of(file, 0, Path(file).stat().st_size, self.quote, self.separator)
        return found.fit_outside and found.count % 2 == 0

    def splits(self, file: str) -> bool:
        """Whether a part of the file can be read without the rest: of this machine, not packed, its names on line 1."""
        if "://" in file:
            return False
        if is_packed(file):
            return False
        return not self.has_header or bool(self._head(file).strip())


def is_packed(file: str) -> bool:
    """Whether a file begins as an archive does."""
    with Path(file).open("rb") as opened:
        return opened.read(4).startswith(_PACKED)


def pieces_of(
    files: Sequence[str], text: Text, schema: Sequence[str], split: str, comm: Communicator
) -> list[Piece] | None:
    """This rank's even share of the bytes of all files, in order; None where it is better to split by rows. Collective.

    Ranks of one machine share what it has read of a file, so that "auto" splits by rows there.

    Raises:
        DataError: the quotes of a file are not in place, and it can't be read; says from which line on.
    """
    if split == "rows":
        return None

    def look() -> list[int] | None:
        if comm.rank:
            return None
        return [Path(file).stat().st_size for file in files] if all(map(text.splits, files)) else []

    _, found = together(comm, "looking at its files", look, lambda sizes: (sizes, platform.node()))
    sizes = found[0][0] or []
    total = sum(sizes)
    together_on_one = len({host for _, host in found}) == 1
    if not sizes or (split == "auto" and (total < LEAST_BYTES or together_on_one)):
        return None
    starts = list(accumulate(sizes, initial=0))
    mine = total * comm.rank // comm.size, total * (comm.rank + 1) // comm.size
    raw = [
        Piece(file, max(mine[0] - first, 0), min(mine[1] - first, size))
        for file, first, size in zip(files, starts, sizes, strict=False)
        if mine[0] < first + size and first < mine[1]
    ]
    _, found_quotes = together(
        comm,
        "counting quotes",
        lambda: [
            (piece.file, piece.start, quotes_of(piece.file, piece.start, piece.end, text.quote, text.separator))
            for piece in raw
        ],
        lambda of_rank: of_rank,
    )
    of_pieces = [piece for of_rank in found_quotes for piece in of_rank]
    unfit = [file for file in files if not _fit(file, of_pieces)]

    def read() -> None:
        for file in unfit[comm.rank :: comm.size]:
            text.check(file, schema)

    together(comm, "reading quotes", read, lambda _: None)
    quotes = [(name, start, found.count) for name, start, found in of_pieces]
    if any(sum(n for name, _, n in quotes if name == file) % 2 for file in files):
        return None

    def aligned() -> list[Piece]:
        return [_aligned(piece, quotes, text.quote) for piece in raw]

    pieces, _ = together(comm, "finding its lines", aligned, lambda _: None)
    return [piece for piece in pieces if piece.start < piece.end]


def _fit(file: str, pieces: Sequence[tuple[str, int, Quotes]]) -> bool:
    """Whether all quotes of a file are in place, from what its pieces, in order, have."""
    inside = False
    for _, _, found in (piece for piece in pieces if piece[0] == file):
        if not found.fit(inside=inside):
            return False
        inside ^= found.count % 2 == 1
    return not inside


def _aligned(piece: Piece, quotes: Sequence[tuple[str, int, int]], quote: bytes) -> Piece:
    """The lines that begin in the piece."""

    def first_line(offset: int) -> int:
        before = sum(count for name, start, count in quotes if name == piece.file and start < offset)
        return next_line(piece.file, offset, quote, inside=before % 2 == 1)

    return Piece(piece.file, first_line(piece.start), first_line(piece.end))


def next_line(file: str, offset: int, quote: bytes, *, inside: bool) -> int:
    """Where the first line begins that begins at `offset` or after it; the file's size if none does.

    `inside` says whether `offset` is inside a quoted text, that is after an odd number of quotes.
    """
    if offset == 0:
        return 0
    with Path(file).open("rb") as opened:
        opened.seek(offset - 1)
        block = opened.read(1)
        # A quote just before changes the state; a line end does not.
        odd = inside ^ (bool(quote) and block == quote)
        place = offset - 1
        while block:
            end, seen = block.find(b"\n"), 0
            while end >= 0:
                odd ^= bool(quote) and block.count(quote, seen, end) % 2 == 1
                if not odd:
                    return place + end + 1
                seen, end = end, block.find(b"\n", end + 1)
            odd ^= bool(quote) and block.count(quote, seen) % 2 == 1
            place += len(block)
            block = opened.read(1 << 16)
        return place


def chunks(piece: Piece, quote: bytes, limit: int = CHUNK_BYTES) -> Iterator[tuple[int, bytes]]:
    """The piece's lines, about `limit` bytes at a time, and where they begin in the file."""
    with Path(piece.file).open("rb") as opened:
        opened.seek(piece.start)
        place, held = piece.start, b""
        while more := opened.read(min(limit, piece.end - place - len(held))):
            held += more
            end = len(held) if place + len(held) == piece.end else _last_line_end(held, quote)
            if end:
                yield place, held[:end]
                place, held = place + end, held[end:]
        if held:  # The file has become shorter.
            yield place, held


def _last_line_end(lines: bytes, quote: bytes) -> int:
    """After the last line end that is not inside quotes; 0 if there is none."""
    end = lines.rfind(b"\n") + 1
    odd = bool(quote) and lines.count(quote, 0, end) % 2 == 1
    while end and odd:
        before = lines.rfind(b"\n", 0, end - 1) + 1
        odd ^= lines.count(quote, before, end) % 2 == 1
        end = before
    return end


def _reason(error: Exception, lines: bytes, quote: bytes) -> str:
    """What Polars says, and what to do where a quote may be the reason."""
    said = str(error).strip()
    if not quote or quote not in lines:
        return said
    return f"{said}\nA quote is opened or closed where it can't be. If quotes are plain text here, pass quote_char=None"


def _lines_before(file: str, offset: int) -> int:
    return sum(lines.count(b"\n") for _, lines in chunks(Piece(file, 0, offset), b""))
