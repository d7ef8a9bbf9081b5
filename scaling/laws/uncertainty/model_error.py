"""How far the form of a law may be off beyond its runs, from how it fared within them."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.special import chdtrc  # scipy.stats takes a second to import

_CHANCE = 0.5  # of errors this large if the form were right, above which none is added


@dataclasses.dataclass(frozen=True)
class FoldError:
    """A law fitted to smaller compute, asked for runs of larger compute.

    error: law's minus measured log loss, mean over the runs asked for. variance: of that mean if the form
    is right: the law's own uncertainty by bootstrap, plus run-to-run noise. distance: e-folds of
    compute beyond the law's runs. adjacent: the runs are those of the next larger group.
    """

    error: float
    variance: float
    distance: float
    adjacent: bool


def error_per_efold(folds: Sequence[FoldError]) -> float:
    """Standard deviation of log loss that the form is off, per e-fold of compute beyond the runs.

    Zero where the adjacent folds' errors are no larger than the law's own uncertainty gives by chance (a
    chi-squared test; adjacent folds share no held-out run). Else what the errors of all folds exceed
    it by, in proportion to the distance: a wrong form errs more the further it is asked. An error^2
    estimates variance + (slope x distance)^2, the less certainly the larger the variance is.

    Where the form is right, always adding the excess makes forecasts cover 92 to 96% instead of 90, because
    it cannot be negative; the test halves that. Where the form is wrong it hardly matters.
    experiments/calibration has the figures, and what no hold-out can see.
    """
    near = [fold for fold in folds if fold.adjacent]
    if not near:
        return 0.0
    squared = sum(fold.error**2 / fold.variance for fold in near)
    if chdtrc(len(near), squared) > _CHANCE:
        return 0.0
    error, variance, distance = (
        np.array([getattr(fold, name) for fold in folds]) for name in ("error", "variance", "distance")
    )
    weight = (distance**2 / variance) ** 2
    slope_squared = (weight * (error**2 - variance) / distance**2).sum() / weight.sum()
    return float(np.sqrt(max(0.0, slope_squared)))
