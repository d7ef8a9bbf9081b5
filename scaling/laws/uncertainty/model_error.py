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
    def mean_variance(self) -> float:
        """Of the mean error if the form is right."""
        return float(self.draws.mean(axis=1).var() + self.noise**2 / len(self.errors))

    @property
    def mean_statistic(self) -> float:
        """Square of the mean error in standard deviations; chi-squared with 1 degree of freedom."""
        return float(self.errors.mean() ** 2 / self.mean_variance)

    @property
    def statistic(self) -> float:
        """Chow's predictive test: chi-squared with as many degrees of freedom as rows."""
        about = self.draws - self.draws.mean(axis=0)
        covariance = about.T @ about / len(about) + self.noise**2 * np.eye(len(self.errors))
        return float(self.errors @ np.linalg.lstsq(covariance, self.errors, rcond=None)[0])


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
    ways that cancel. What a significant one finds is what its squared errors exceed their variances by, in
    proportion to the distance: a wrong form errs more the further it is asked. The larger counts.

    Always adding the excess would widen the forecasts of a right form too, because the excess cannot be
    negative. experiments/calibration has the figures, and what no hold-out can see.
    """
    folds = [fold for fold in folds if fold.mean_variance > 0]
    distance = np.array([_asked(fold.distance) for fold in folds])
    found = [0.0]
    if folds and chdtrc(len(folds), sum(fold.mean_statistic for fold in folds)) <= _CHANCE:
        squares = np.array([fold.errors.mean() ** 2 for fold in folds])
        found.append(_slope_squared(squares, np.array([fold.mean_variance for fold in folds]), distance))
    n_rows = sum(len(fold.errors) for fold in folds)
    if folds and chdtrc(n_rows, sum(fold.statistic for fold in folds)) <= _CHANCE:
        squares = np.array([(fold.errors**2).mean() for fold in folds])
        variances = np.array([fold.variances.mean() for fold in folds])
        found.append(_slope_squared(squares, variances, distance))
    return ModelError(float(np.sqrt(max(found))), len(folds))


def _slope_squared(squares: np.ndarray, variances: np.ndarray, distance: np.ndarray) -> float:
    """Excess of squared errors over their variances per squared e-fold; each is (folds,). A fold's says the
    less the larger its variance is."""
    weights = (distance**2 / variances) ** 2
    return float(np.average((squares - variances) / distance**2, weights=weights))


def _asked(e_folds: float) -> float:
    return max(e_folds, _LEAST_DISTANCE)
