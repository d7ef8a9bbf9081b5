"""A law made straight about a point, under the Huber loss as it is: what a step of a costly law minimises.

Where delta is far below the residuals, the objective has a kink wherever a residual passes delta, and a
step of Newton's method is good for a kink or two. Here the kinks are kept, and only the law is expanded:
its residuals to first order, and the pull of its second order as it stands at the point. The kinks are
then gone through in NumPy, at a hundredth of the cost of an evaluation by JAX.
"""

import dataclasses

import numpy as np

from scaling.laws.fitting.objectives import Objective
from scaling.laws.fitting.problem import Problem

_LONGEST_STEP = 2.0  # in any centred coordinate: a factor of e^2 in a coefficient


@dataclasses.dataclass(frozen=True)
class Straightened:
    """sum_i w_i rho(r_i + J_i . step) + step . curvature . step / 2, for the solver, by step (problems, p).

    residual (problems, points), slopes (problems, points, p), curvature (problems, p, p). unit: what
    gradients are compared with, (problems or 1,). low, high: (problems, p) bounds of the step.
    """

    residual: np.ndarray
    slopes: np.ndarray
    curvature: np.ndarray
    weights: np.ndarray
    objective: Objective
    unit: np.ndarray
    roots: np.ndarray
    low: np.ndarray
    high: np.ndarray
    straightens = False  # it is straight

    @classmethod
    def of(
        cls, problem: Problem, theta: np.ndarray, gradient: np.ndarray, curvature: np.ndarray,
        residual: np.ndarray, slopes: np.ndarray, damping: np.ndarray,
    ) -> "Straightened":
        """About theta (problems, p). damping: (problems,) of the largest curvature that the weights of
        iterated least squares, w min(1, delta / |r|), give."""
        delta = problem.objective.delta
        weights = np.broadcast_to(problem.weights, residual.shape)
        least = weights * (delta / np.maximum(np.abs(residual), delta))
        largest = np.einsum("ri,rij,rij->rj", least, slopes, slopes).max(axis=-1)
        added = (damping * largest)[:, None, None] * np.eye(theta.shape[1])
        return cls(
            residual, slopes, curvature + added, weights, problem.objective,
            np.maximum(gradient, 1e-11 * problem.gradient_scale(np.ones(len(theta)))),
            np.zeros(theta.shape[1], bool),
            np.maximum(problem.low - theta, -_LONGEST_STEP),
            np.minimum(problem.high - theta, _LONGEST_STEP),
        )

    def take(self, problems: np.ndarray) -> "Straightened":
        names = ("residual", "slopes", "curvature", "weights", "unit", "low", "high")
        return dataclasses.replace(self, **{name: getattr(self, name)[problems] for name in names})

    def gradient_scale(self, value: np.ndarray) -> np.ndarray:
        return self.unit

    def expansion(self, step: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Value, gradient and Hessian."""
        residual = self.residual + (self.slopes @ step[:, :, None])[:, :, 0]
        loss, force, inside = self.objective.bent(residual, self.objective.delta)
        bent = (self.curvature @ step[:, :, None])[:, :, 0]
        turned = np.swapaxes(self.slopes, 1, 2)
        value = (self.weights * loss).sum(axis=-1) + 0.5 * (step * bent).sum(axis=-1)
        gradient = (turned @ (self.weights * force)[:, :, None])[:, :, 0] + bent
        hessian = turned @ ((self.weights * inside)[:, :, None] * self.slopes) + self.curvature
        return value, gradient, hessian
