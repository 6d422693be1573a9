"""Whether the quotes of a text file are where quotes are meant to be.

Polars tells rows from line ends in quoted texts by counting quotes. A quote inside a field, as in `5" pipe`, or one
that nothing closes, makes it take a line end for text: it refuses to parse such a field, but it loses the line
without a word if no query reads the field, or counts rows only. So each quote is looked at before: one that opens a
text follows a separator or a line end, and one that closes it comes before one.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_BLOCK_BYTES = 8 << 20


@dataclass(frozen=True)
class Quotes:
    """How many quotes a part of a file has, and whether all are in place: if it begins outside a text, or inside."""

    count: int
    fit_outside: bool
    fit_inside: bool

    def fit(self, *, inside: bool) -> bool:
        """Whether all are in place, where the part begins outside a quoted text, or inside."""
        return self.fit_inside if inside else self.fit_outside


def quotes_of(file: str, start: int, end: int, quote: bytes, separator: bytes) -> Quotes:
    """Those of the bytes `start` to `end` of a file."""
    count, fits = 0, [True, True]
    if not quote or end <= start:
        return Quotes(0, True, True)
    before_text, after_text = _of_bytes(separator + quote + b"\n"), _of_bytes(separator + quote + b"\r\n")
    with Path(file).open("rb") as opened_file, mmap.mmap(opened_file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        for first in range(start, end, _BLOCK_BYTES):
            block = mapped[max(first - 1, 0) : min(first + _BLOCK_BYTES, end) + 1]
            # The byte before the block's first one, and the one after its last; line ends before and after the file.
            padded = (b"" if first else b"\n") + block + (b"\n" if first + _BLOCK_BYTES >= end == len(mapped) else b"")
            inner = padded[1:-1]
            if quote not in inner:
                continue
            places = np.flatnonzero(np.frombuffer(inner, np.uint8) == quote[0]) + 1
            around = np.frombuffer(padded, np.uint8)
            for inside in (inside for inside in (0, 1) if fits[inside]):
                first_open = (count + inside) % 2
                opened = before_text[around[places[first_open::2] - 1]].all()
                closed = after_text[around[places[1 - first_open :: 2] + 1]].all()
                fits[inside] = bool(opened and closed)
            count += len(places)
    return Quotes(count, *fits)


def _of_bytes(some: bytes) -> NDArray[np.bool_]:
    """Whether each byte is one of these."""
    found = np.zeros(256, np.bool_)
    found[list(some)] = True
    return found
