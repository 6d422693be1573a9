"""The warning that a join has keys which many rows share: what it costs is not for the optimiser alone to know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

from deeprc import journal
from deeprc.communicator import Communicator
from deeprc.table.plan.nodes import Join

if TYPE_CHECKING:
    from deeprc.table.operators.skew import Sample

_LONGEST_KEY = 80
# A task has a communicator of its own, so what it has been told of is forgotten with it.
_told: WeakKeyDictionary[Communicator, set[str]] = WeakKeyDictionary()


class Shares(NamedTuple):
    """Which part of a side's rows has a key."""

    left: float
    right: float


def warn_of_heavy_keys(
    shares: Mapping[int, Shares],
    samples: tuple[Sample, Sample],
    node: Join,
    comm: Communicator,
    *,
    counted: bool = False,
) -> None:
    """Rank 0 tells of the heaviest key, by its hash, once in a task. Collective.

    Args:
        shares: the same on all ranks.
        samples: this rank's, of the left and of the right side; one rank at least has seen the key.
        counted: the shares are of all rows, not of the samples.
    """
    heaviest = max(sorted(shares), key=lambda key: max(shares[key]))
    names = comm.all_gather(next((name for sample in samples if (name := _name(heaviest, sample))), None))
    name = next((name for name in names if name is not None), "unknown")
    told = _told.setdefault(comm, set())
    if comm.rank or f"{node.label()} {name}" in told:
        return
    told.add(f"{node.label()} {name}")
    journal.record("warning", message=_message(node, name, shares[heaviest], len(shares) - 1, counted=counted))


def _name(key: int, sample: Sample) -> str | None:
    """The values of the key, where this rank has seen it."""
    if key not in sample.hashes or sample.keys is None:
        return None
    row = sample.keys[sample.hashes.index(key)]
    text = ", ".join(f"{column}={value!r}" for column, value in row.row(0, named=True).items())
    return text if len(text) <= _LONGEST_KEY else f"{text[:_LONGEST_KEY]}..."


def _message(node: Join, name: str, shares: Shares, others: int, *, counted: bool) -> str:
    parts = [
        f"{part:.0%} of the {side} rows" for part, side in zip(shares, Shares._fields, strict=True) if part >= 0.005
    ]
    more = f" ({others} more key{'s' * (others > 1)} of this kind)" if others else ""
    about = "" if counted else "about "
    return (
        f"{node.label()}: the key {name} has {about}{' and '.join(parts)}{more}; such rows are spread over all ranks, "
        "not sent to one"
    )
