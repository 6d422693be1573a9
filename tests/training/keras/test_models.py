"""Keras models to and from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deeprc.errors import DataError
from deeprc.training.keras import load_model, save_model
from tests.training.keras.problem import network, series


def test_a_saved_model_predicts_the_same(tmp_path: Path) -> None:
    """Save and load give the same numbers, and leave no temporary file."""
    inputs, _ = series(5)
    model = network()
    path = save_model(model, tmp_path / "models" / "small.keras")
    np.testing.assert_array_equal(load_model(path)(inputs), model(inputs))
    assert [file.name for file in path.parent.iterdir()] == ["small.keras"]


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    """Absent, of another kind, or wrongly named: refused by the file's name."""
    with pytest.raises(DataError, match=r"absent\.keras"):
        load_model(tmp_path / "absent.keras")
    (tmp_path / "text.keras").write_text("no model")
    with pytest.raises(DataError, match=r"text\.keras"):
        load_model(tmp_path / "text.keras")
    with pytest.raises(DataError, match=r"ends in \.keras"):
        save_model(network(), tmp_path / "model.h5")
