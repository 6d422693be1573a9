"""Join: both sides meet by the hash of their keys, or a small right side goes to every rank."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from deeprc.table.exchange.exchange import concat, exchange, replicate, together
from deeprc.table.operators.buckets import bucket_count, joined, joined_buckets
from deeprc.table.operators.shuffle import shuffle, shuffle_into_buckets
from deeprc.table.operators.skew import (
    Spread,
    divide,
    find_heavy_keys,
    matched,
    preserved,
    sample_keys,
)
from deeprc.table.operators.whole import run_whole
from deeprc.table.plan.expressions import is_row_wise, plain_column, root_columns
from deeprc.table.plan.nodes import Join
from deeprc.table.plan.placement import Placement, key_columns, matching_keys
from deeprc.table.stage import Execution, Stage

BROADCAST_BYTES = 16 << 20  # A right side of at most this size on all ranks together goes to all of them.


def joins_locally(node: Join) -> bool:
    """Whether the keys of a row can be told from the row alone, on both sides."""
    sides = ((node.left_on, node.left.schema), (node.right_on, node.right.schema))
    return all(
        bool(root_columns(keys, schema)) and all(is_row_wise(key, schema) for key in keys) for keys, schema in sides
    )


def keeps_left(node: Join) -> bool:
    """Whether each row of the result is of a left row, so that the right side may be on every rank."""
    return node.how not in ("right", "full")


def run_join(node: Join, run: Execution) -> Stage:
    """Run on all ranks; rows are where the left keys hash to, or where the left rows were."""
    if node.how == "cross":
        return _cross(node, run)
    if not joins_locally(node):
        return run_whole(node, run)
    left, right = run.stage(node.left), run.stage(node.right)
    left_match = matching_keys(left.placement, node.left_on)
    right_match = matching_keys(right.placement, node.right_on)
    if left_match is not None and left_match == right_match:
        return Stage(node.apply(left.frame, right.frame), kept_placement(node, left_match))
    right_frame, sizes = run.measure(right.frame, node)
    if left_match is None and keeps_left(node) and sum(size for _, size in sizes) <= BROADCAST_BYTES:
        everywhere = replicate(
            _that_can_match(right_frame, node, node.right_on), run.comm, f"{node.label()} (right to all)"
        )
        return Stage(node.apply(left.frame, everywhere.lazy()), left.placement, left.streams)
    return _by_hash(node, left, right_frame, left_match, right_match, run)


def _cross(node: Join, run: Execution) -> Stage:
    """The smaller side goes to every rank."""
    left, right = run.stage(node.left), run.stage(node.right)
    left_rows, left_sizes = run.measure(left.frame, node)
    right_rows, right_sizes = run.measure(right.frame, node)
    if sum(size for _, size in right_sizes) <= sum(size for _, size in left_sizes):
        right_rows = replicate(right_rows, run.comm, f"{node.label()} (right to all)")
        return Stage(node.apply(left_rows.lazy(), right_rows.lazy()), left.placement)
    left_rows = replicate(left_rows, run.comm, f"{node.label()} (left to all)")
    return Stage(node.apply(left_rows.lazy(), right_rows.lazy()))


def _by_hash(
    node: Join,
    left: Stage,
    right: pl.DataFrame,
    left_match: tuple[int, ...] | None,
    right_match: tuple[int, ...] | None,
    run: Execution,
) -> Stage:
    """Move the sides that are not where the other's keys, or all keys, say."""
    chosen = left_match or right_match or tuple(range(len(node.left_on)))
    left_keys = [node.left_on[index] for index in chosen]
    right_keys = [node.right_on[index] for index in chosen]
    if left_match is None and chosen != right_match:
        return _both(node, [_left_rows(node, left, run), _right_rows(node, right)], run)
    left_frame = left.frame
    if left_match is None:
        left_frame = shuffle(_left_rows(node, left, run), left_keys, run, f"{node.label()} (left)").lazy()
    if chosen != right_match:
        right = shuffle(_right_rows(node, right), right_keys, run, f"{node.label()} (right)")
    return Stage(node.apply(left_frame, right.lazy()), kept_placement(node, chosen))


def _left_rows(node: Join, left: Stage, run: Execution) -> pl.DataFrame:
    rows = run.collect(left.frame, node)
    return _that_can_match(rows, node, node.left_on) if node.how in ("inner", "semi", "right") else rows


def _right_rows(node: Join, right: pl.DataFrame) -> pl.DataFrame:
    return _that_can_match(right, node, node.right_on) if keeps_left(node) else right


def _both(node: Join, sides: list[pl.DataFrame], run: Execution) -> Stage:
    """Both sides move: by hash, heavy keys spread over all ranks. Takes the sides out of the list: each is freed
    when it has been sent."""
    (lefts, rights), rows = together(
        run.comm,
        f"computing the keys of {node.label()}",
        lambda: (sample_keys(sides[0], node.left_on, node), sample_keys(sides[1], node.right_on, node)),
        lambda samples: (samples[0].rows, samples[1].rows),
    )
    spread = find_heavy_keys(lefts, rights, node, run.comm)
    names = f"{node.label()} (left)", f"{node.label()} (right)"
    if spread:
        return _spread(node, sides, spread, names, run)
    placement = kept_placement(node, range(len(node.left_on)))
    fewer = min(sum(of_side) // run.comm.size for of_side in zip(*rows, strict=True))
    count = bucket_count([node.left.schema, node.right.schema], fewer)
    if count:
        return Stage(_in_buckets(node, sides, rows, count, names, run), placement)
    left = shuffle(sides.pop(0), node.left_on, run, names[0]).lazy()
    right = shuffle(sides.pop(0), node.right_on, run, names[1]).lazy()
    return Stage(node.apply(left, right), placement)


def _in_buckets(
    node: Join,
    sides: list[pl.DataFrame],
    rows: Sequence[tuple[int, int]],
    count: int,
    names: tuple[str, str],
    run: Execution,
) -> pl.LazyFrame:
    """By hash in rounds, what arrives straight into the buckets of this rank.

    Args:
        rows: of the left and of the right side, on each rank.
    """
    buckets = []
    for keys, of_side, name in zip((node.left_on, node.right_on), zip(*rows, strict=True), names, strict=True):
        buckets.append(shuffle_into_buckets(sides.pop(0), keys, of_side, count, run, name))
    return joined_buckets(node, *buckets)


def _spread(
    node: Join,
    sides: list[pl.DataFrame],
    spread: Spread,
    names: tuple[str, str],
    run: Execution,
) -> Stage:
    """As by hash, but for heavy keys: see `skew`."""
    lefts, _ = together(
        run.comm,
        f"computing the keys of {names[0]}",
        lambda: divide(sides.pop(0), node.left_on, node, spread.left, spread.right, run.comm),
        lambda _: None,
    )
    rights, _ = together(
        run.comm,
        f"computing the keys of {names[1]}",
        lambda: divide(sides.pop(0), node.right_on, node, spread.right, spread.left, run.comm),
        lambda _: None,
    )
    left, right = exchange(lefts.parts, run.comm, names[0]), exchange(rights.parts, run.comm, names[1])
    if spread.right:
        copies = replicate(lefts.everywhere, run.comm, f"{names[0]}, rows of heavy keys to all").lazy()
        if preserved(node, left=True):
            copies = matched(copies, right.lazy(), node, left=True)
        left = concat([left, run.collect(copies, node)])
    if spread.left:
        copies = replicate(rights.everywhere, run.comm, f"{names[1]}, rows of heavy keys to all").lazy()
        if preserved(node, left=False):
            copies = matched(copies, left.lazy(), node, left=False)
        right = concat([right, run.collect(copies, node)])
    return Stage(joined(node, [left, right]))


def kept_placement(node: Join, chosen: Sequence[int]) -> Placement:
    """Where the result of a join is whose rows are where the chosen ones of their keys hash to."""
    left, right = (key_columns([keys[index] for index in chosen]) for keys in (node.left_on, node.right_on))
    placement = left
    if node.how == "full" and not node.coalesce:
        return None  # Rows without a left one have no left keys.
    if node.how == "right":
        gone = () if node.coalesce is False else key_columns(node.left_on) or ()
        others = set(node.left.schema) - set(gone)
        placement = right and tuple(name + node.suffix if name in others else name for name in right)
    return placement if placement is not None and set(placement) <= set(node.schema) else None


def _that_can_match(frame: pl.DataFrame, node: Join, keys: Sequence[pl.Expr]) -> pl.DataFrame:
    """A null matches nothing: such rows need not travel, nor crowd the one rank that null hashes to."""
    if node.nulls_equal:
        return frame
    names = [plain_column(key) for key in keys]
    with_nulls = [name for name in names if name is not None and frame[name].null_count()]
    return frame.drop_nulls(with_nulls) if with_nulls else frame
