"""A frame as bytes and back: the Arrow streaming format.

Frames whose columns all have values of one width (numbers, booleans, dates and times) are written by pyarrow
straight from Polars' memory into one buffer of the right size, and read where they lie: one copy in all. Texts,
lists, categories and the like are written and read by Polars, which knows their every detail.
"""

from __future__ import annotations

import io
from typing import Any

import polars as pl

from deeprc.communicator import Buffer

_ROWS_ONLY = "__rows__"
_WORTH_IT_BYTES = 1 << 16
_FIXED = (
    *(pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64, pl.Float32, pl.Float64),
    *(pl.Boolean, pl.Date, pl.Datetime, pl.Duration, pl.Time),
)


def encode(frame: pl.DataFrame) -> Buffer:
    """The frame as an Arrow IPC stream; no bytes at all for no rows."""
    if frame.height == 0:
        return b""
    if frame.width == 0:
        # An Arrow stream without columns forgets how many rows it has.
        frame = pl.DataFrame({_ROWS_ONLY: pl.repeat(None, frame.height, dtype=pl.Null, eager=True)})
    if frame.estimated_size() > _WORTH_IT_BYTES and _has_fixed_widths(frame):
        return _written_at_once(frame)
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
        return _lying_in(buffer)
    frame = pl.read_ipc_stream(io.BytesIO(buffer))
    return pl.DataFrame(height=frame.height) if frame.columns == [_ROWS_ONLY] else frame


def _has_fixed_widths(frame: pl.DataFrame) -> bool:
    return all(isinstance(dtype, _FIXED) for dtype in frame.dtypes)


def _written_at_once(frame: pl.DataFrame) -> memoryview:
    import pyarrow as pa

    rows: Any = frame.to_arrow(compat_level=pl.CompatLevel.newest())
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


def _lying_in(buffer: memoryview) -> pl.DataFrame:
    import pyarrow as pa

    frame = pl.from_arrow(pa.ipc.open_stream(pa.py_buffer(buffer)).read_all(), rechunk=False)
    assert isinstance(frame, pl.DataFrame)
    return frame
