"""Metrics against hand-computed values and the properties that define them."""

from __future__ import annotations

import functools
import importlib.util
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from deeprc.errors import DataError
from deeprc.workloads.hydrology.metrics import kge, nse, peak_error

flows = arrays(np.float64, st.integers(3, 40), elements=st.floats(0.01, 1000))


def test_by_hand() -> None:
    """Observed 1 2 3 6, simulated 2 2 2 4: squared errors 6, spread 14, means 3 and 2.5, and so on."""
    observed, simulated = [1.0, 2.0, 3.0, 6.0], [2.0, 2.0, 2.0, 4.0]
    assert nse(observed, simulated) == pytest.approx(1 - 6 / 14)
    score = kge(observed, simulated)
    correlation = 6 / math.sqrt(14 * 3)
    variability = math.sqrt(3 / 14)
    assert score.correlation == pytest.approx(correlation)
    assert score.variability == pytest.approx(variability)
    assert score.bias == pytest.approx(2.5 / 3)
    distance = math.sqrt((correlation - 1) ** 2 + (variability - 1) ** 2 + (2.5 / 3 - 1) ** 2)
    assert score.value == pytest.approx(1 - distance)
    assert peak_error(observed, simulated) == pytest.approx(2 / 6)
    assert peak_error(observed, simulated, quantile=0.5) == pytest.approx((1 / 3 + 2 / 6) / 2)


@settings(deadline=None)
@given(flows, flows)
def test_as_spotpy_computes_them(observed: np.ndarray, simulated: np.ndarray) -> None:
    """NSE and KGE agree with an independent implementation."""
    length = min(len(observed), len(simulated))
    observed, simulated = observed[:length], simulated[:length]
    assume(np.ptp(observed) > 1e-2 and np.ptp(simulated) > 1e-2)
    reference = _spotpy_metrics()
    assert nse(observed, simulated) == pytest.approx(reference.nashsutcliffe(observed, simulated), rel=1e-6)
    expected = reference.kge(observed, simulated, return_all=True)
    score = kge(observed, simulated)
    assert (score.value, score.correlation, score.variability, score.bias) == pytest.approx(expected, rel=1e-6)


@functools.cache
def _spotpy_metrics() -> ModuleType:
    """spotpy's file of metrics, without the rest of spotpy."""
    package = importlib.util.find_spec("spotpy")
    assert package is not None and package.submodule_search_locations
    path = Path(package.submodule_search_locations[0]) / "objectivefunctions.py"
    spec = importlib.util.spec_from_file_location("spotpy_metrics", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@settings(deadline=None)
@given(flows)
def test_a_perfect_simulation(observed: np.ndarray) -> None:
    """NSE, KGE and its components are 1, the peak error 0."""
    assume(np.ptp(observed) > 1e-3)
    score = kge(observed, observed)
    assert nse(observed, observed) == 1
    assert [score.value, score.correlation, score.variability, score.bias] == pytest.approx([1, 1, 1, 1])
    assert peak_error(observed, observed) == 0


@settings(deadline=None)
@given(flows)
def test_the_mean_of_what_was_observed(observed: np.ndarray) -> None:
    """It has an NSE of 0, no variability, no bias, and no correlation."""
    assume(np.ptp(observed) > 1e-3)
    simulated = np.full_like(observed, observed.mean())
    score = kge(observed, simulated)
    assert nse(observed, simulated) == pytest.approx(0, abs=1e-9)
    assert math.isnan(score.correlation)
    assert math.isnan(score.value)
    assert score.variability == pytest.approx(0, abs=1e-9)
    assert score.bias == pytest.approx(1)


@settings(deadline=None)
@given(flows, st.floats(0.1, 10))
def test_a_simulation_that_is_too_high_by_a_factor(observed: np.ndarray, factor: float) -> None:
    """Bias and variability are the factor, the correlation is 1, the peak error |factor - 1|."""
    assume(np.ptp(observed) > 1e-3)
    score = kge(observed, factor * observed)
    assert score.correlation == pytest.approx(1)
    assert score.variability == pytest.approx(factor)
    assert score.bias == pytest.approx(factor)
    assert score.value == pytest.approx(1 - math.sqrt(2) * abs(factor - 1), abs=1e-6)
    assert peak_error(observed, factor * observed) == pytest.approx(abs(factor - 1), abs=1e-9)


@settings(deadline=None)
@given(flows, st.integers(0, 2), st.booleans())
def test_days_with_a_gap_are_left_out(observed: np.ndarray, at: int, in_simulated: bool) -> None:
    """A NaN on either side takes that day out of every metric, and only that day."""
    assume(np.ptp(np.delete(observed, at)) > 1e-3)
    simulated = observed[::-1].copy()
    expected = np.delete(observed, at), np.delete(simulated, at)
    (simulated if in_simulated else observed)[at] = np.nan
    assert nse(observed, simulated) == nse(*expected)
    assert peak_error(observed, simulated) == peak_error(*expected)
    assert kge(observed, simulated).bias == kge(*expected).bias
    np.testing.assert_equal(kge(observed, simulated).value, kge(*expected).value)


def test_where_nothing_can_be_said() -> None:
    """No day, one day, a river that never changes, or vectors of unlike length."""
    for observed in ([], [1.0], [2.0, 2.0, 2.0], [np.nan, np.nan]):
        assert math.isnan(nse(observed, observed))
        assert math.isnan(kge(observed, observed).value)
    assert math.isnan(peak_error([0.0, 0.0], [1.0, 1.0]))
    with pytest.raises(DataError, match="one length"):
        nse([1.0, 2.0], [1.0])
