"""What runs say about a law: gradients of its log at points, and the covariance they leave it.

To first order a fit's covariance is noise^2 (sum_i w_i J_i J_i^T)^-1, with J_i the gradient of the log
of the law at point i by the natural coordinates. It does not depend on what is measured at the points,
which is what lets a design be judged before it is run (Fedorov 1972; Pukelsheim 1993).
"""

from collections.abc import Callable

import numpy as np
from scipy.special import ndtr, stdtrit

from scaling.errors import UserError
from scaling.laws.forms.grammar import Form, SumOfPowers
from scaling.laws.table.runs import RunSet

# Natural coordinates are logs, and exponents that multiply logs of up to 40: at this step the five-point
# rule is exact to seven digits, and an optimum found by search to 1e-7 still gives three.
_STEP = 1e-3
_UNSEEN = 1e-7  # rms share of the law below which a coefficient moves nothing
_SINGULAR = 1e-7  # ratio of singular values: a hundred times the square root of rounding


def gradient(function: Callable[[np.ndarray], np.ndarray], theta: np.ndarray) -> np.ndarray:
    """Of function (draws, p) -> (draws, ...) at theta (p,), by five-point differences: (..., p)."""
    steps = _STEP * np.eye(len(theta))
    moved = np.concatenate([theta + k * steps for k in (-2, -1, 1, 2)])
    far_below, below, above, far_above = np.split(function(moved), 4)
    return np.moveaxis((far_below - 8 * below + 8 * above - far_above) / (12 * _STEP), 0, -1)


def sensitivities(form: Form, theta: np.ndarray, columns: dict[str, np.ndarray]) -> np.ndarray:
    """Gradient of the law's log at points: theta (p,), columns (points,) -> (points, p).

    In closed form for a sum of powers: each term's share of the law times the gradient of its log.
    """
    if not isinstance(form, SumOfPowers):
        return gradient(lambda draws: form.log_value(draws, columns), theta)
    logs = {name: np.log(columns[name]) for name in form.columns}
    design, offset = form.design(logs, len(next(iter(logs.values()))))
    log_terms = design @ theta + offset
    shares = np.exp(log_terms - np.logaddexp.reduce(log_terms, axis=1, keepdims=True))
    return np.einsum("ik,ikj->ij", shares, design)


def covariance_root(rows: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """R (p, p) with R R^T = (sum_i w_i J_i J_i^T)^-1; rows J (points, p), weights (points,) or all 1.

    A coordinate that no row sees (the log of a coefficient that went to zero) is held: its row of R
    is zero. Raises `UserError` if the rest is not determined.
    """
    weights = np.ones(len(rows)) if weights is None else weights
    weighted = rows * np.sqrt(weights)[:, None]
    size = np.sqrt((weighted**2).sum(axis=0))
    free = size > _UNSEEN * np.sqrt(weights.sum())
    _, singular, turned = np.linalg.svd(weighted[:, free] / size[free], full_matrices=False)
    if len(rows) < free.sum() or singular[-1] <= _SINGULAR * singular[0]:
        raise UserError(f"{len(rows)} runs do not determine the law's {int(free.sum())} free parameters")
    root = np.zeros((len(free), len(free)))
    root[np.ix_(free, np.arange(free.sum()))] = (turned.T / singular) / size[free][:, None]
    return root


def row_weights(runs: RunSet) -> np.ndarray:
    """What each row is worth beside a new run, (rows,), from 1 for a run of one row.

    Checkpoints of a run count as one run together; a fit's weights, and the inverse squares of relative
    standard errors, count by how they stand to their mean (so that a new run is a typical one).
    """
    _, run, rows = np.unique(np.array(runs.run_ids), return_inverse=True, return_counts=True)
    weights = 1.0 / rows[run]
    if runs.weight is not None:
        weights = weights * runs.weight / runs.weight.mean()
    if runs.standard_error is not None:
        log_error = np.log(runs.standard_error / runs.loss)
        weights = weights * np.exp(2 * (log_error.mean() - log_error))
    return weights


def estimator_noise(deviation: float, delta: float) -> float:
    """The noise that a fit's covariance scales with, for normal noise of a standard deviation.

    For an M-estimator it is sqrt(E psi^2) / E psi' (Huber 1981, section 7.6). Least squares (delta = inf)
    passes the noise on as it is; the Huber loss, with delta far inside the noise, sqrt(pi / 2) of it.
    """
    if not np.isfinite(delta):
        return deviation
    c = delta / deviation
    inside = 2 * ndtr(c) - 1
    density = np.exp(-(c**2) / 2) / np.sqrt(2 * np.pi)
    psi_squared = inside - 2 * c * density + 2 * c**2 * ndtr(-c)
    return float(deviation * np.sqrt(psi_squared) / inside)


def quantile_of_t(level: float, degrees_of_freedom: int) -> float:
    """Half an interval at a level, in standard deviations."""
    return float(stdtrit(degrees_of_freedom, (1 + level) / 2))
