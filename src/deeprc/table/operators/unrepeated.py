"""Keys that are to be unique: looked at where their hash brings the equal ones together."""

from __future__ import annotations

import polars as pl

from deeprc.errors import DataError
from deeprc.table.operators.shuffle import shuffle
from deeprc.table.plan.placement import matching_keys
from deeprc.table.plan.row_nodes import Unrepeated
from deeprc.table.stage import Execution, Stage


def run_unrepeated(node: Unrepeated, run: Execution) -> Stage:
    """The rows stay where they are; their keys travel, unless equal ones are on one rank already.

    Raises:
        DataError: two rows have equal keys; on all ranks alike.
    """
    stage = run.stage(node.input)
    frame = run.collect(stage.frame, node)
    names = [f"__key{index}" for index in range(len(node.keys))]
    keys = frame.lazy().select(key.alias(name) for key, name in zip(node.keys, names, strict=True))
    own = run.collect(keys if node.nulls_equal else keys.drop_nulls(), node)
    if matching_keys(stage.placement, node.keys) is None:
        own = shuffle(own, [pl.col(name) for name in names], run, node.label())
    repeated = own.filter(own.is_duplicated()).head(1).rows()
    found = [row for rows in run.comm.all_gather(repeated) for row in rows]
    if found:
        said = ", ".join(f"{key} = {value!r}" for key, value in zip(node.keys, found[0], strict=True))
        raise DataError(
            f"join: the {node.side} table has several rows with {said}, which validate= rules out: "
            "look at them by filter, or keep one by unique(keys)"
        )
    return Stage(frame.lazy(), stage.placement)
