"""Many small fitting problems that share a form and its columns, for the solver."""

import dataclasses
import functools

import numpy as np

from scaling.laws.fitting.objectives import Objective


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
    """sum_i w_i rho(law_i, measurement_i) in centred coordinates.

    log_target, weights: (problems or 1, points). scale: (points,) or 1.0, relative standard errors.
    low, high: (problems or 1, p) bounds. roots: (p,) which parameters stand as square roots.
    """

    log_target: np.ndarray
    weights: np.ndarray
    scale: np.ndarray | float
    objective: Objective
    roots: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def log_value(self, theta: np.ndarray) -> np.ndarray:
        """Log of the law, (problems, points)."""
        raise NotImplementedError

    def derivatives(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Value (problems,), gradient (problems, p), Hessian (problems, p, p)."""
        raise NotImplementedError

    def jacobian(self, theta: np.ndarray) -> np.ndarray:
        """Of the law's log by the centred coordinates, one theta (p,) -> (points, p)."""
        raise NotImplementedError

    def take(self, problems: np.ndarray) -> "Problem":
        """The same for a subset of the problems."""
        pick = lambda a: a if len(a) == 1 else a[problems]  # noqa: E731
        part = dataclasses.replace(
            self, log_target=pick(self.log_target), weights=pick(self.weights),
            low=pick(self.low), high=pick(self.high),
        )
        part.__dict__["_units"] = tuple(pick(a) for a in self._units)
        return part

    def part(self, points: np.ndarray) -> "Problem":
        """The same on some of the points."""
        scale = self.scale if isinstance(self.scale, float) else self.scale[points]
        return dataclasses.replace(
            self, log_target=self.log_target[:, points], weights=self.weights[:, points], scale=scale,
            **self._columns_at(points),
        )

    def _columns_at(self, points: np.ndarray) -> dict:
        """What else a kind of problem holds by point, at these points."""
        raise NotImplementedError

    def nearer(self, starts: np.ndarray) -> np.ndarray:
        """Starts of one problem (starts, p) brought nearer to the measurements, if that is cheap."""
        return starts

    def with_delta(self, delta: float) -> "Problem":
        return dataclasses.replace(self, objective=dataclasses.replace(self.objective, delta=delta))

    def value(self, theta: np.ndarray) -> np.ndarray:
        loss, _, _ = self.objective.pulls(
            self.log_value(theta), self.log_target, self.scale, self.objective.delta
        )
        return (self.weights * loss).sum(axis=-1)

    def gradient_scale(self, value: np.ndarray) -> np.ndarray:
        """What a gradient is compared with: (delta, or the residuals' rms) x sum of weights.

        value: of the objective, (problems,); returns (problems or 1,). A gradient divided by it does
        not change when losses, weights or delta are rescaled, so that "at the optimum" means the same
        for every data set. (SciPy's `ftol` does not have this property, and stops early on objectives
        as small as these.)
        """
        unit, total = self._units
        if np.isfinite(self.objective.delta):
            return self.objective.delta * total * unit
        with np.errstate(invalid="ignore", divide="ignore"):
            rms = np.sqrt(2 * value / total)
        return np.maximum(rms, 1e-6) * total * unit

    @functools.cached_property
    def _units(self) -> tuple[np.ndarray, np.ndarray]:
        """Size of a derivative of a residual, and the sum of weights, (problems or 1,) each."""
        raw = np.exp(self.log_target).mean(axis=-1) if self.objective.raw else np.ones(1)
        return raw / np.mean(self.scale), self.weights.sum(axis=-1)
