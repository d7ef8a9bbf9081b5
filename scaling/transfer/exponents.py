"""Exponents of the best learning rate along each axis, by weighted least squares with scatter.

The optimum of setting i is  x_i = a + sum_k b_k log2(size_ik / base_k) + u_i + e_i, with e_i its known
standard error and u_i a deviation of its own, whose variance is estimated from what the errors leave
unexplained (DerSimonian & Laird 1986, moments). Intervals use Student's t: with few settings the
scatter is poorly known.
"""

import dataclasses

import numpy as np
from scipy.special import stdtrit  # scipy.stats takes a second to import


@dataclasses.dataclass(frozen=True)
class Line:
    """coefficients [p] and their covariance [p, p], octaves; scatter: standard deviation of u_i.

    degrees_of_freedom: for Student's t (1e9 where the errors alone explain the residuals).
    """

    coefficients: np.ndarray
    covariance: np.ndarray
    scatter: float
    degrees_of_freedom: float
    residuals: np.ndarray

    def interval(self, row: np.ndarray, level: float) -> tuple[float, float]:
        """Of row @ coefficients."""
        center = float(row @ self.coefficients)
        half = self.quantile(level) * float(np.sqrt(row @ self.covariance @ row))
        return center - half, center + half

    def quantile(self, level: float) -> float:
        return float(stdtrit(self.degrees_of_freedom, (1 + level) / 2))


def fit_line(rows: np.ndarray, optima: np.ndarray, errors: np.ndarray) -> Line:
    """rows: [n, p], a column of ones first; optima, errors: [n], octaves. Needs n >= p."""
    errors = np.maximum(errors, 1e-6)
    beta, residuals, covariance = _weighted(rows, optima, 1 / errors**2)
    free = len(optima) - rows.shape[1]
    if free == 0:
        return Line(beta, covariance, 0.0, 1e9, residuals)
    weights = 1 / errors**2
    squares = float((weights * residuals**2).sum())
    hat = np.trace(covariance @ (rows.T * weights**2) @ rows)
    variance = max(0.0, (squares - free) / (weights.sum() - hat))
    beta, residuals, covariance = _weighted(rows, optima, 1 / (errors**2 + variance))
    share = variance / (variance + float(np.mean(errors**2)))
    freedom = min(1e9, free / share**2) if share > 0 else 1e9
    return Line(beta, covariance, variance**0.5, freedom, residuals)


def _weighted(rows: np.ndarray, y: np.ndarray, weights: np.ndarray):
    covariance = np.linalg.inv((rows.T * weights) @ rows)
    beta = covariance @ (rows.T @ (weights * y))
    return beta, y - rows @ beta, covariance
