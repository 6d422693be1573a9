"""Operators on rows by where they stand: slices, numbers, samples, and the ranks that rows are on."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from itertools import accumulate, pairwise

import polars as pl

from deeprc.errors import DataError
from deeprc.table.exchange.exchange import concat, exchange, gather, together
from deeprc.table.operators.shuffle import ROW_NUMBER, numbered, shuffle
from deeprc.table.operators.sort import sort_rows
from deeprc.table.operators.whole import even_counts, run_whole
from deeprc.table.plan.expressions import is_row_wise, reads_by_selector, tree
from deeprc.table.plan.placement import key_columns, matching_keys
from deeprc.table.plan.row_nodes import (
    Concat,
    MapPart,
    Permute,
    Repartition,
    Reverse,
    RowIndex,
    Sample,
    ShuffleByKey,
    Slice,
    TopK,
)
from deeprc.table.stage import Execution, Stage, compute

_HASH = "__hash__"


def run_concat(node: Concat, run: Execution) -> Stage:
    """Rows stay where they are, unless the tables' order is asked for."""
    if not node.in_order:
        return Stage(node.apply(*(run.stage(table).frame for table in node.tables)))
    parts = [run.measure(run.stage(table).frame, node) for table in node.tables]
    heights = [[rows for rows, _ in facts] for _, facts in parts]
    totals = [sum(rows) for rows in heights]
    sizes = even_counts(sum(totals), run.comm.size)
    pieces = []
    for index, (part, _) in enumerate(parts):
        before = sum(totals[:index]) + sum(heights[index][: run.comm.rank])
        pieces.append(exchange(_by_position(part, before, sizes), run.comm, node.label()))
    return Stage(concat(pieces).lazy())


def run_slice(node: Slice, run: Execution) -> Stage:
    """Each rank keeps what of the slice it holds."""
    stage = run.stage(node.input)
    frame, facts = run.measure(stage.frame, node)
    total = sum(rows for rows, _ in facts)
    before = sum(rows for rows, _ in facts[: run.comm.rank])
    first = node.offset if node.offset >= 0 else total + node.offset
    # An offset before the first row takes from the length, as in Polars.
    last = total if node.length is None else min(total, first + node.length)
    start = min(max(first - before, 0), frame.height)
    end = min(max(last - before, start), frame.height)
    return Stage(frame.slice(start, end - start).lazy(), stage.placement)


def run_reverse(node: Reverse, run: Execution) -> Stage:
    """Each rank's rows, the last first, to the rank that is as far from the other end."""
    rows = run.collect(run.stage(node.input).frame, node)
    # By their numbers: to reverse arrays of texts is more than Polars can.
    part = rows[pl.int_range(rows.height - 1, -1, -1, eager=True)] if rows.width else rows
    opposite = run.comm.size - 1 - run.comm.rank
    parts = [part if rank == opposite else part.clear() for rank in range(run.comm.size)]
    return Stage(exchange(parts, run.comm, node.label()).lazy())


def run_top_k(node: TopK, run: Execution) -> Stage:
    """Each rank's best to rank 0, which chooses among them."""
    schema = node.input.schema
    if any(not is_row_wise(key, schema) or reads_by_selector(tree(key)) for key in node.by):
        return run_whole(node, run)
    best = run.collect(node.apply(run.stage(node.input).frame), node)
    return Stage(node.apply(gather(best, run.comm, node.label()).lazy()))


def run_row_index(node: RowIndex, run: Execution) -> Stage:
    """Numbers begin after those of the ranks before."""
    stage = run.stage(node.input)
    frame, facts = run.measure(stage.frame, node)
    before = sum(rows for rows, _ in facts[: run.comm.rank])
    index = pl.int_range(
        node.offset + before, node.offset + before + frame.height, dtype=pl.get_index_type(), eager=True
    )
    return Stage(frame.insert_column(0, index.alias(node.name)).lazy(), stage.placement)


def run_map_part(node: MapPart, run: Execution) -> Stage:
    """The function on what each rank has.

    Raises:
        DataError: its result has other columns than were said; on all ranks alike.
    """
    part = run.collect(run.stage(node.input).frame, node)

    def mapped() -> pl.DataFrame:
        result = node.function(part)
        if not isinstance(result, pl.DataFrame):
            raise DataError(f"{node.label()} gave a {type(result).__name__}, not a polars.DataFrame")
        if result.schema != node.columns:
            raise DataError(
                f"{node.label()} gave the columns {dict(result.schema)}, not {dict(node.columns)}: "
                "say with schema= which it gives"
            )
        return result

    return Stage(together(run.comm, f"computing {node.label()}", mapped, lambda _: None)[0].lazy())


def run_shuffle(node: ShuffleByKey, run: Execution) -> Stage:
    """Rows of equal keys meet on one rank."""
    stage = run.stage(node.input)
    if run.comm.size == 1 or matching_keys(stage.placement, node.keys) is not None:
        return stage
    arrived = shuffle(run.collect(stage.frame, node), node.keys, run, node.label())
    return Stage(arrived.lazy(), key_columns(node.keys))


def run_repartition(node: Repartition, run: Execution) -> Stage:
    """Rows move to neighbours, in order.

    Raises:
        DataError: the sizes do not add up to the number of rows; on all ranks alike.
    """
    part, facts = run.measure(run.stage(node.input).frame, node)
    heights = [rows for rows, _ in facts]
    sizes = node.sizes or even_counts(sum(heights), run.comm.size)
    if sum(sizes) != sum(heights):
        raise DataError(f"repartition to {list(sizes)}: these are {sum(sizes)} rows, the table has {sum(heights)}")
    return Stage(aligned(part, heights, sizes, run, node.label()).lazy())


def aligned(
    part: pl.DataFrame, heights: Sequence[int], sizes: Sequence[int], run: Execution, operator: str
) -> pl.DataFrame:
    """This rank's `sizes[rank]` rows of a table of which each rank holds `heights[rank]`, in order. Collective."""
    if list(heights) == list(sizes):
        return part
    return exchange(_by_position(part, sum(heights[: run.comm.rank]), sizes), run.comm, operator)


def _by_position(part: pl.DataFrame, before: int, sizes: Sequence[int]) -> list[pl.DataFrame]:
    """The rows for each rank, where the first row is number `before` and ranks hold consecutive rows."""
    edges = [min(max(edge - before, 0), part.height) for edge in accumulate(sizes, initial=0)]
    return [part.slice(start, end - start) for start, end in pairwise(edges)]


def run_sample(node: Sample, run: Execution) -> Stage:
    """The rows with the smallest hashes of their numbers: which these are, no number of ranks changes.

    Raises:
        DataError: more rows are asked for than there are; on all ranks alike.
    """
    stage = run.stage(node.input)
    if node.with_replacement:
        return _drawn(stage, node, run)
    rows, total = _hashed(stage, node, node.seed, run)
    n = int(total * node.fraction) if node.fraction is not None else node.n or 0
    if n > total:
        raise DataError(f"sample of {n} rows: the table has {total}. Ask for at most so many, or for a fraction")
    low, high = 0, 2**64 - 1
    while low < high:  # the smallest bound that at least n hashes do not exceed
        middle = (low + high) // 2
        if sum(run.comm.all_gather(_count(rows, middle))) >= n:
            high = middle
        else:
            low = middle + 1
    below = rows[_HASH] <= low
    # Hashes may be equal: of those on the bound the first ones are taken.
    tied = (rows[_HASH] == low).fill_null(False)
    facts = run.comm.all_gather((int((below & ~tied).sum()), int(tied.sum())))
    wanted = max(0, n - sum(sure for sure, _ in facts) - sum(ties for _, ties in facts[: run.comm.rank]))
    kept = rows.filter((below & ~tied) | (tied & (tied.cast(pl.Int64).cum_sum() <= wanted)))
    return Stage(kept.lazy().drop(_HASH, ROW_NUMBER), stage.placement)


def _drawn(stage: Stage, node: Sample, run: Execution) -> Stage:
    """Draw i is the row whose number a hash of i gives: each rank makes its share of draws, and sends them there."""
    frame, facts = run.measure(stage.frame, node)
    edges = list(accumulate((rows for rows, _ in facts), initial=0))
    total, rank = edges[-1], run.comm.rank
    n = int(total * node.fraction) if node.fraction is not None else node.n or 0
    if n and not total:
        raise DataError(f"sample of {n} rows: the table has none")
    seed = run.comm.broadcast(secrets.randbits(63) if node.seed is None else node.seed)
    draws = pl.int_range(n * rank // run.comm.size, n * (rank + 1) // run.comm.size, dtype=pl.Int64, eager=True)
    rows = (draws.hash(seed) % max(total, 1)).cast(pl.Int64).sort().alias(ROW_NUMBER).to_frame()
    cuts = rows[ROW_NUMBER].search_sorted(pl.Series(edges, dtype=pl.Int64)).to_list()
    asked = exchange([rows[start:end] for start, end in pairwise(cuts)], run.comm, node.label())
    return Stage(frame[(asked[ROW_NUMBER] - edges[rank]).sort()].lazy(), stage.placement)


def _count(rows: pl.DataFrame, bound: int) -> int:
    return int((rows[_HASH] <= bound).sum())


def run_permute(node: Permute, run: Execution) -> Stage:
    """Sorted by the hashes of the rows' numbers."""
    rows, _ = _hashed(run.stage(node.input), node, node.seed, run)
    keys = [pl.col(_HASH), pl.col(ROW_NUMBER)]
    ordered = sort_rows(rows.lazy(), keys, [False] * 2, [False] * 2, run, node.label())
    return Stage(ordered.lazy().drop(_HASH, ROW_NUMBER))


def _hashed(stage: Stage, node: Sample | Permute, seed: int | None, run: Execution) -> tuple[pl.DataFrame, int]:
    """The rows with their numbers and the hashes of these, and how many rows all ranks have."""
    frame, facts = run.measure(stage.frame, node)
    heights = [rows for rows, _ in facts]
    chosen = run.comm.broadcast(secrets.randbits(63) if seed is None else seed)
    rows = numbered(frame, heights, run.comm.rank)
    return compute(rows.lazy().with_columns(pl.col(ROW_NUMBER).hash(chosen).alias(_HASH))), sum(heights)
