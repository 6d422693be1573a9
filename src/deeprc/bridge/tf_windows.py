"""Windows for TensorFlow. Imported when first used, since it imports tensorflow."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

from deeprc.bridge.arrays import needs

with needs("tensorflow"):
    import tensorflow as tf

if TYPE_CHECKING:
    from deeprc.bridge.windows import Batch, Windows


def window_dataset(windows: Windows, batch_size_global: int, seed: int | None, drop_last: bool) -> tf.data.Dataset:
    epochs = itertools.count()

    def one_pass() -> Iterator[Batch]:
        return windows.batches(batch_size_global, seed=seed, epoch=next(epochs), drop_last=drop_last)

    signature = (
        tf.TensorSpec((None, *windows.input_shape), windows.spec.dtype),
        tf.TensorSpec((None, *windows.target_shape), windows.spec.dtype),
    )
    batches = tf.data.Dataset.from_generator(one_pass, output_signature=signature)
    count = windows.num_batches(batch_size_global, drop_last=drop_last)
    return batches.apply(tf.data.experimental.assert_cardinality(count)).prefetch(1)
