"""Tables of what the ranks hold in memory: frames, Arrow tables, arrays, tensors; each rank passes its own part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl
from numpy.typing import NDArray

from deeprc.communicator import Communicator, SoloCommunicator
from deeprc.errors import DataError
from deeprc.table.exchange.exchange import together
from deeprc.table.files.statistics import joined, of_frame
from deeprc.table.plan import nodes as plan
from deeprc.table.schema import as_data_error, checked
from deeprc.table.table import Table

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import torch


def from_polars(frame: pl.DataFrame | pl.LazyFrame | None, comm: Communicator | None = None) -> Table:
    """Make a table of the frames that the ranks hold: each passes its own part, rank 0's rows come first.

    Collective. A rank without rows may pass None, if another has the columns.

    Raises:
        DataError: the parts differ in columns or types, or hold Python objects; on all ranks alike.
    """
    comm = comm or SoloCommunicator()
    lazy = frame.lazy() if frame is not None else None
    _, facts = together(
        comm,
        "reading the columns of its frame",
        lambda: checked(lazy.collect_schema()) if lazy is not None else None,
        lambda schema: (None if schema is None else list(schema.items()), of_frame(frame)),
    )
    statistics = joined([part for _, part in facts])
    known = [(rank, schema) for rank, (schema, _) in enumerate(facts) if schema is not None]
    if not known:
        raise DataError("no rank passed a frame: from_polars needs one that says which columns there are")
    first_rank, first = known[0]
    for rank, schema in known:
        if schema != first:
            raise DataError(
                f"all parts of a table have the same columns: rank {first_rank} has {dict(first)}, rank {rank} has "
                f"{dict(schema)}. Select and cast before from_polars"
            )
    columns = pl.Schema(first)
    part = lazy if lazy is not None else pl.LazyFrame(schema=columns)
    return Table(plan.Source("FRAMES of all ranks", columns, lambda _: part, statistics=lambda: statistics), comm)


def from_arrow(table: pa.Table | pa.RecordBatch | None, comm: Communicator | None = None) -> Table:
    """As `from_polars`, of Arrow tables; Polars takes over their memory where its layout is the same."""
    return _converted(table, comm, "Arrow", lambda part: pl.DataFrame(pl.from_arrow(part)))


def from_pandas(frame: pd.DataFrame | None, comm: Communicator | None = None) -> Table:
    """As `from_polars`, of pandas frames; their index is left out, NaN become nulls, as in `polars.from_pandas`."""
    return _converted(frame, comm, "pandas", pl.from_pandas)


def from_numpy(
    data: Mapping[str, NDArray[Any]] | NDArray[Any] | None,
    comm: Communicator | None = None,
    *,
    schema: Sequence[str] | None = None,
) -> Table:
    """As `from_polars`, of NumPy arrays: one for each column, or one of (rows, columns) with the names as `schema`."""

    def convert(part: Any) -> pl.DataFrame:
        if isinstance(part, Mapping):
            return pl.DataFrame(dict(part))
        return pl.from_numpy(part, schema=None if schema is None else list(schema), orient="row")

    return _converted(data, comm, "NumPy", convert)


def from_torch(
    data: Mapping[str, torch.Tensor] | torch.Tensor | None,
    comm: Communicator | None = None,
    *,
    schema: Sequence[str] | None = None,
) -> Table:
    """As `from_numpy`, of PyTorch tensors, which leave their device and their gradients behind."""

    def array(tensor: Any) -> NDArray[Any]:
        result: NDArray[Any] = tensor.detach().cpu().numpy()
        return result

    if data is None:
        return from_numpy(None, comm, schema=schema)
    if isinstance(data, Mapping):
        return from_numpy({name: array(tensor) for name, tensor in data.items()}, comm, schema=schema)
    return from_numpy(array(data), comm, schema=schema)


def _converted(data: Any, comm: Communicator | None, what: str, convert: Callable[[Any], pl.DataFrame]) -> Table:
    comm = comm or SoloCommunicator()

    def part() -> pl.DataFrame | None:
        if data is None:
            return None
        try:
            with as_data_error(f"from {what}"):
                return convert(data)
        except (TypeError, ValueError) as error:
            raise error if isinstance(error, DataError) else DataError(f"from {what}: {error}") from error

    return from_polars(together(comm, f"converting from {what}", part, lambda _: None)[0], comm)
