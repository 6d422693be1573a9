"""Heavy keys of a join: found by samples of all ranks; one side's rows of such a key go to all ranks in turn.

The hash of a key that many rows have would bring them all to one rank. So for a heavy key the side with more of
them is spread, row by row, and the other side's rows of that key go to every rank: each pair still meets once.
Rows with a null in their key match nothing (unless nulls are equal) and stay where they are, if they are many.

Source: DeWitt, Naughton, Schneider and Seshadri, Practical skew handling in parallel joins, VLDB 1992.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from deeprc.communicator import Communicator
from deeprc.table.exchange.partition import key_hashes, split
from deeprc.table.operators.skew_warning import Shares, warn_of_heavy_keys
from deeprc.table.plan.expressions import plain_column
from deeprc.table.plan.nodes import Join

LEAST_ROWS = 100_000  # Of both sides, on all ranks together: fewer are joined before skew costs anything.
_SAMPLES_PER_RANK = 1024
_LEAST_SEEN = 8
_SEED = 0


@dataclass(frozen=True)
class Sample:
    """Hashes of some of a rank's rows, of those whose keys have no null; `nulls` is the share of the others.

    `keys` are the keys that these hashes are of, which no other rank needs.
    """

    hashes: list[int]
    rows: int
    nulls: float
    keys: pl.DataFrame | None = None


@dataclass(frozen=True)
class Spread:
    """Hashes of the keys whose left rows are spread, and of those whose right rows are; whether nulls are many."""

    left: frozenset[int] = frozenset()
    right: frozenset[int] = frozenset()
    many_nulls: bool = False

    def __bool__(self) -> bool:
        return bool(self.left or self.right or self.many_nulls)


def sample_keys(frame: pl.DataFrame, keys: Sequence[pl.Expr], node: Join) -> Sample:
    """Random rows of this rank's part: evenly spaced ones may hit one key again and again where keys come in turn."""
    chosen = frame.sample(min(frame.height, _SAMPLES_PER_RANK), seed=_SEED)
    nulls = null_keys(chosen, keys, node)
    known = chosen.filter(~nulls)
    values = known.select(*keys)
    return Sample(key_hashes(known, keys).to_list(), frame.height, int(nulls.sum()) / max(1, chosen.height), values)


def null_keys(frame: pl.DataFrame, keys: Sequence[pl.Expr], node: Join) -> pl.Series:
    """Which rows have a key that matches nothing because it, or a part of it, is null."""
    if node.nulls_equal or not frame.height:
        return pl.repeat(False, frame.height, dtype=pl.Boolean, eager=True)
    names = [plain_column(key) for key in keys]
    if all(name is not None and not frame[name].null_count() for name in names):
        return pl.repeat(False, frame.height, dtype=pl.Boolean, eager=True)
    return frame.select(pl.any_horizontal(key.is_null() for key in keys)).to_series()


def find_heavy_keys(left: Sample, right: Sample, node: Join, comm: Communicator, *, warns: bool = True) -> Spread:
    """Which keys to spread; the same on all ranks, of which one `warns` of them. Collective."""
    samples = comm.all_gather((replace(left, keys=None), replace(right, keys=None)))
    lefts, rights = [pair[0] for pair in samples], [pair[1] for pair in samples]
    left_rows, right_rows = sum(part.rows for part in lefts), sum(part.rows for part in rights)
    if comm.size == 1 or left_rows + right_rows < LEAST_ROWS:
        return Spread()
    of_left, of_right = _weights(lefts), _weights(rights)
    spread_left, spread_right = set(), set()
    for key in {*_heavy(of_left, left_rows, comm.size), *_heavy(of_right, right_rows, comm.size)}:
        if node.how in ("semi", "anti") or of_left[key] >= of_right[key]:
            if of_left[key]:
                spread_left.add(key)
        else:
            spread_right.add(key)
    if warns and (spread_left or spread_right):
        shares = {
            key: Shares(of_left[key] / max(1, left_rows), of_right[key] / max(1, right_rows))
            for key in spread_left | spread_right
        }
        warn_of_heavy_keys(shares, (left, right), node, comm)
    return Spread(
        frozenset(spread_left),
        frozenset(spread_right),
        _null_rows(lefts) + _null_rows(rights) > (left_rows + right_rows) / (2 * comm.size),
    )


def _weights(samples: Sequence[Sample]) -> Counter[int]:
    """About how many rows each sampled key has; none that was seen too seldom to tell."""
    weights: Counter[int] = Counter()
    seen: Counter[int] = Counter()
    for sample in samples:
        seen.update(sample.hashes)
        for key in sample.hashes:
            weights[key] += int(sample.rows * (1 - sample.nulls) / len(sample.hashes))
    return Counter({key: weight for key, weight in weights.items() if seen[key] >= _LEAST_SEEN})


def _heavy(weights: Counter[int], rows: int, size: int) -> list[int]:
    return [key for key, weight in weights.items() if weight > rows / (2 * size)]


def _null_rows(samples: Sequence[Sample]) -> float:
    return sum(sample.rows * sample.nulls for sample in samples)


@dataclass(frozen=True)
class Divided:
    """A side's rows for each rank, and those for all ranks."""

    parts: list[pl.DataFrame]
    everywhere: pl.DataFrame


def divide(
    frame: pl.DataFrame,
    keys: Sequence[pl.Expr],
    node: Join,
    spread: frozenset[int],
    copied: frozenset[int],
    comm: Communicator,
) -> Divided:
    """By hash; `spread` keys to all ranks in turn, `copied` ones to all of them; rows that match nothing stay."""
    hashes = key_hashes(frame, keys)
    everywhere = hashes.is_in(as_series(copied))
    ranks = pl.when(pl.col("hash").is_in(as_series(spread))).then(pl.col("row")).otherwise(pl.col("hash")) % comm.size
    own = pl.lit(comm.rank, dtype=pl.UInt64)
    columns = pl.DataFrame({"hash": hashes, "null": null_keys(frame, keys, node)}).with_row_index("row")
    targets = columns.select(pl.when("null").then(own).otherwise(ranks.cast(pl.UInt64)).alias("rank")).to_series()
    return Divided(split(frame.filter(~everywhere), targets.filter(~everywhere), comm.size), frame.filter(everywhere))


def as_series(keys: frozenset[int]) -> pl.Series:
    """Hashes, to look others up in."""
    return pl.Series(sorted(keys), dtype=pl.UInt64)


def matched(frame: pl.LazyFrame, other: pl.LazyFrame, node: Join, *, left: bool) -> pl.LazyFrame:
    """Of the rows that went to all ranks, those that have a match here: a row without one is not to appear often."""
    mine, theirs = (node.left_on, node.right_on) if left else (node.right_on, node.left_on)
    return frame.join(other, left_on=list(mine), right_on=list(theirs), how="semi", nulls_equal=node.nulls_equal)


def preserved(node: Join, *, left: bool) -> bool:
    """Whether a row of the side appears in the result though nothing matches it."""
    return node.how in (("left", "full", "semi", "anti") if left else ("right", "full"))
