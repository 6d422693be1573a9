"""A frame as bytes and back: the Arrow streaming format.

Frames whose columns all have values of one width (numbers, booleans, dates, times, and texts of at most 12 bytes,
which Arrow keeps in their views) are written by pyarrow straight from Polars' memory into one buffer of the right size,
and read where they lie: one copy in all. Longer texts are written by Polars, which leaves out what other rows have of
them, and read by it, so that a few rows that are kept do not keep the whole buffer. So are lists, categories and the
like, whose every detail it knows.
"""

from __future__ import annotations

import io
from typing import Any

import polars as pl

from deeprc.communicator import Buffer

_ROWS_ONLY = "__rows__"
_WORTH_IT_BYTES = 1 << 16
_VIEWS = (pl.String, pl.Binary)
_FIXED = (
    *(pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64, pl.Float32, pl.Float64),
    *(pl.Boolean, pl.Date, pl.Datetime, pl.Duration, pl.Time),
    *_VIEWS,
)


def encode(frame: pl.DataFrame) -> Buffer:
    """The frame as an Arrow IPC stream; no bytes at all for no rows."""
    if frame.height == 0:
        return b""
    if frame.width == 0:
        # An Arrow stream without columns forgets how many rows it has.
        frame = pl.DataFrame({_ROWS_ONLY: pl.repeat(None, frame.height, dtype=pl.Null, eager=True)})
    if frame.estimated_size() > _WORTH_IT_BYTES and _has_fixed_widths(frame):
        rows = _as_arrow(frame)
        if not _has_long_texts(rows):
            return _written_at_once(rows)
    stream = frame.write_ipc_stream(None)
    assert stream is not None
    return stream.getbuffer()


def decode(buffer: memoryview, empty: pl.DataFrame) -> pl.DataFrame:
    """The frame that `encode` was given; `empty` has its columns and no rows.

    The frame may lie in the buffer, which then lives as long as it.
    """
    if not buffer.nbytes:
        return empty
    if buffer.nbytes > _WORTH_IT_BYTES and empty.width and _has_fixed_widths(empty):
        rows = _lying_in(buffer)
        if not _has_long_texts(rows):
            return pl.DataFrame(pl.from_arrow(rows, rechunk=False))
    frame = pl.read_ipc_stream(io.BytesIO(buffer))
    return pl.DataFrame(height=frame.height) if frame.columns == [_ROWS_ONLY] else frame


def _has_fixed_widths(frame: pl.DataFrame) -> bool:
    return all(isinstance(dtype, _FIXED) for dtype in frame.dtypes)


def _as_arrow(frame: pl.DataFrame) -> Any:
    if any(isinstance(column.dtype, _VIEWS) and 0 in column.chunk_lengths() for column in frame):
        frame = frame.rechunk()  # pyarrow takes an empty chunk of views that begins within a buffer for one cut off.
    return frame.to_arrow(compat_level=pl.CompatLevel.newest())


def _has_long_texts(rows: Any) -> bool:
    """Whether an Arrow table has texts outside of their views: buffers beyond those of validity and views."""
    import pyarrow as pa

    views = (pa.string_view(), pa.binary_view())
    columns = [column for column in rows.columns if column.type in views]
    return any(any(chunk.buffers()[2:]) for column in columns for chunk in column.chunks)


def _written_at_once(rows: Any) -> memoryview:
    import pyarrow as pa

    # Counts the bytes without copying any.
    counted = pa.MockOutputStream()
    _write(rows, counted)
    buffer = pa.allocate_buffer(counted.size())
    _write(rows, pa.FixedSizeBufferWriter(buffer))
    return memoryview(buffer)


def _write(rows: Any, sink: Any) -> None:
    import pyarrow as pa

    with pa.ipc.new_stream(sink, rows.schema) as writer:
        for batch in rows.to_batches():
            # Of an empty batch that begins within a buffer pyarrow 26 writes a length below zero.
            if batch.num_rows:
                writer.write_batch(batch)


def _lying_in(buffer: memoryview) -> Any:
    import pyarrow as pa

    return pa.ipc.open_stream(pa.py_buffer(buffer)).read_all()
