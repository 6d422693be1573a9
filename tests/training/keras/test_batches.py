"""Global batches: the same samples for any number of ranks."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from deeprc.training.keras import Batches

sizes = st.integers(1, 5)


@settings(deadline=None)
@given(samples=st.integers(1, 60), batch_size=st.integers(1, 20), size=sizes, epoch=st.integers(0, 3))
def test_ranks_together_see_what_one_rank_sees(samples: int, batch_size: int, size: int, epoch: int) -> None:
    """Step by step, the shares put together are the one-rank batch, and differ by one sample at most."""
    numbers = np.arange(samples)
    batches = Batches.of(numbers, numbers * 10, batch_size, seed=3)
    alone = list(batches.share(epoch, 0, 1))
    shares = [list(batches.share(epoch, rank, size)) for rank in range(size)]
    assert {len(share) for share in shares} == {len(alone)}
    for step, (inputs, targets) in enumerate(alone):
        parts = [share[step] for share in shares]
        assert np.concatenate([part[0] for part in parts]).tolist() == inputs.tolist()
        assert np.concatenate([part[1] for part in parts]).tolist() == targets.tolist()
        lengths = [len(part[0]) for part in parts]
        assert max(lengths) - min(lengths) <= 1


@settings(deadline=None)
@given(samples=st.integers(1, 60), batch_size=st.integers(1, 20))
def test_an_epoch_holds_every_sample_once(samples: int, batch_size: int) -> None:
    """No sample is dropped or repeated, shuffled or not."""
    for seed in (None, 7):
        batches = Batches.of(np.arange(samples), np.arange(samples), batch_size, seed)
        seen = np.concatenate([inputs for inputs, _ in batches.share(1, 0, 1)])
        assert sorted(seen) == list(range(samples))
        if seed is None:
            assert seen.tolist() == list(range(samples))


def test_epochs_differ_and_seeds_repeat() -> None:
    """Each epoch has its own order, and the same seed gives the same order again."""
    batches = Batches.of(np.arange(50), np.arange(50), 50, seed=1)
    again = Batches.of(np.arange(50), np.arange(50), 50, seed=1)
    first, second = (next(batches.share(epoch, 0, 1))[0].tolist() for epoch in (0, 1))
    assert first != second
    assert next(again.share(1, 0, 1))[0].tolist() == second
