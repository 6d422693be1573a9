"""The one place where TensorFlow and Keras are imported: quietly, and on the rank's threads."""

from __future__ import annotations

import os
from typing import Any

from deeprc.errors import MissingDependencyError

IMPORTS = ("tensorflow", "keras")
"""Modules worth loading before a rank that trains is forked. Importing them runs no operation."""

_ENVIRONMENT = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}


def load_keras() -> tuple[Any, Any]:
    """Import and return (tensorflow, keras).

    Raises:
        MissingDependencyError: one is not installed, or Keras runs on another backend in this process.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import keras
        import tensorflow as tf
    except ImportError as error:
        raise MissingDependencyError("the Keras models need TensorFlow: pip install 'deeprc[tensorflow]'") from error
    if keras.config.backend() != "tensorflow":
        raise MissingDependencyError(
            f"Keras runs on {keras.config.backend()!r} in this process, these models need 'tensorflow'; "
            "set KERAS_BACKEND=tensorflow before Keras is first imported"
        )
    _limit_threads(tf)
    return tf, keras


def _limit_threads(tf: Any) -> None:
    """Keep TensorFlow to the rank's threads (OMP_NUM_THREADS), so that ranks do not fight for cores."""
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if not threads.isdecimal():
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(int(threads))
        tf.config.threading.set_inter_op_parallelism_threads(int(threads))
    except RuntimeError:
        # TensorFlow has run in this process: its threads exist, and keep the number they were given then.
        return
