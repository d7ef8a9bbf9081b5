"""How far the form of a law may be off beyond its runs, from how it fared within them."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.special import chdtrc  # scipy.stats takes a second to import

_CHANCE = 0.3  # of errors this large if the form were right, above which none is added
_LEAST_DISTANCE = 0.2  # e-folds: runs only just beyond the fit's still test the form at other N / D


@dataclasses.dataclass(frozen=True)
class FoldError:
    """A law fitted to smaller compute, asked for the runs of the next larger.

    errors: law's minus measured log loss, (rows,). draws: the law's log loss there by bootstrap,
    (replicates, rows). noise: standard deviation of one measured log loss. distance: mean e-folds of
    compute beyond the law's runs.
    """

    errors: np.ndarray
    draws: np.ndarray
    noise: float
    distance: float

    @property
    def variances(self) -> np.ndarray:
        """Of each error if the form is right, (rows,)."""
        return self.draws.var(axis=0) + self.noise**2

    @property
    def mean_statistic(self) -> float:
        """Square of the mean error in standard deviations; chi-squared with 1 degree of freedom."""
        variance = self.draws.mean(axis=1).var() + self.noise**2 / len(self.errors)
        return float(self.errors.mean() ** 2 / variance) if variance > 0 else 0.0

    @property
    def statistic(self) -> float:
        """Chow's predictive test: chi-squared with as many degrees of freedom as rows."""
        about = self.draws - self.draws.mean(axis=0)
        covariance = about.T @ about / len(about) + self.noise**2 * np.eye(len(self.errors))
        return float(self.errors @ np.linalg.lstsq(covariance, self.errors, rcond=None)[0])

    @property
    def slope_squared(self) -> float:
        """What the squared errors exceed their variances by, per squared e-fold."""
        return float((self.errors**2 - self.variances).mean()) / _asked(self.distance) ** 2

    @property
    def precision(self) -> float:
        """Weight of `slope_squared`: it is the less certain the larger the variances are."""
        return float((_asked(self.distance) ** 2 / self.variances.mean()) ** 2)


@dataclasses.dataclass(frozen=True)
class ModelError:
    """per_efold: standard deviation of the log that the form is off per e-fold of compute beyond the runs.
    folds: that it was measured on; with few, a forecast's tails are those of Student's t."""

    per_efold: float
    folds: int

    def at(self, e_folds: float) -> float:
        """Standard deviation of the log, `e_folds` of compute beyond the runs; 0 within them."""
        return self.per_efold * _asked(e_folds) if e_folds > 0 else 0.0


NO_MODEL_ERROR = ModelError(0.0, 0)


def model_error(folds: Sequence[FoldError]) -> ModelError:
    """Zero where the folds' errors are no larger than the law's own uncertainty and noise give by chance.

    Two tests, of the folds' mean errors and of every run's (Chow 1960, "Tests of equality between sets of
    coefficients"): a form may be off at every size in the same way, or at sizes far from the optimum in
    ways that cancel. Where either is significant, what the squared errors exceed their variances by, in
    proportion to the distance: a wrong form errs more the further it is asked.

    Always adding the excess would widen the forecasts of a right form too, because the excess cannot be
    negative. experiments/calibration has the figures, and what no hold-out can see.
    """
    folds = [fold for fold in folds if fold.variances.mean() > 0]
    if not folds:
        return NO_MODEL_ERROR
    means = chdtrc(len(folds), sum(fold.mean_statistic for fold in folds))
    rows = chdtrc(sum(len(fold.errors) for fold in folds), sum(fold.statistic for fold in folds))
    if min(means, rows) > _CHANCE:
        return ModelError(0.0, len(folds))
    squared = np.average([fold.slope_squared for fold in folds], weights=[fold.precision for fold in folds])
    return ModelError(float(np.sqrt(max(0.0, squared))), len(folds))


def _asked(e_folds: float) -> float:
    return max(e_folds, _LEAST_DISTANCE)
