"""How well a simulated hydrograph follows the observed one.

Every metric takes two vectors of one length, observed and simulated discharge of the same days and unit, and
leaves out the days on which either is missing (NaN).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from deeprc.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

PEAK_QUANTILE = 0.98


@dataclass(frozen=True)
class KGE:
    """Kling-Gupta efficiency and its three components (Gupta et al. 2009, doi:10.1016/j.jhydrol.2009.08.003).

    `correlation` is Pearson's r, `variability` the ratio of standard deviations and `bias` the ratio of
    means, each simulated over observed; all four are 1 for a perfect simulation.
    """

    value: float
    correlation: float
    variability: float
    bias: float


def nse(observed: ArrayLike, simulated: ArrayLike) -> float:
    """Nash-Sutcliffe efficiency (1970): 1 is perfect, 0 is no better than the mean of what was observed.

    NaN where it is not defined: fewer than two days, or an observed discharge that never changes.
    """
    obs, sim = _paired(observed, simulated)
    if not _varies(obs):
        return float("nan")
    return 1.0 - float(np.sum((sim - obs) ** 2) / np.sum((obs - obs.mean()) ** 2))


def kge(observed: ArrayLike, simulated: ArrayLike) -> KGE:
    """Kling-Gupta efficiency: 1 minus the distance of (r, alpha, beta) from (1, 1, 1).

    A constant simulation has no correlation, and an efficiency of NaN with it.
    """
    obs, sim = _paired(observed, simulated)
    if not _varies(obs) or obs.mean() == 0:
        return KGE(*[float("nan")] * 4)
    correlation = float(np.corrcoef(obs, sim)[0, 1]) if _varies(sim) else float("nan")
    variability = float(sim.std() / obs.std())
    bias = float(sim.mean() / obs.mean())
    distance = np.sqrt((correlation - 1) ** 2 + (variability - 1) ** 2 + (bias - 1) ** 2)
    return KGE(1.0 - float(distance), correlation, variability, bias)


def peak_error(observed: ArrayLike, simulated: ArrayLike, quantile: float = PEAK_QUANTILE) -> float:
    """Mean relative error of the highest flows: the mean of |simulated - observed| / observed.

    The highest flows are the days on which the observed discharge reaches its `quantile` (0.98: the highest
    2 %). 0 is perfect; NaN where no day has a positive observed discharge.
    """
    obs, sim = _paired(observed, simulated)
    if not obs.size:
        return float("nan")
    high = (obs >= np.quantile(obs, quantile)) & (obs > 0)
    return float(np.mean(np.abs(sim[high] - obs[high]) / obs[high])) if high.any() else float("nan")


def _varies(values: NDArray[np.float64]) -> bool:
    """Rounding alone must not pass for variance: the spread has to show against the size of the values."""
    return bool(values.size > 1 and np.ptp(values) > 1e-12 * np.abs(values).max())


def _paired(observed: ArrayLike, simulated: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both vectors as float64, without the days on which either is missing."""
    obs = np.asarray(observed, dtype=np.float64)
    sim = np.asarray(simulated, dtype=np.float64)
    if obs.shape != sim.shape or obs.ndim != 1:
        raise DataError(
            f"observed and simulated discharge must be vectors of one length, got shapes {obs.shape} and "
            f"{sim.shape}; align them by date first"
        )
    known = ~(np.isnan(obs) | np.isnan(sim))
    return obs[known], sim[known]
