"""The noise about a fit: its residuals, corrected for what the fit took from them.

A Huber fit with a delta well below the noise is nearly a fit by absolute values: it passes through
about as many points as it has parameters. Their residuals are zero, the others too large, and a
bootstrap from them goes wrong by a third in either direction at 24 runs. So the noise is measured
about a *companion*: the same law on the same runs by Huber's proposal 2, smooth at the scale of
the noise (Huber and Ronchetti 2009, section 7.8). Where delta is already that wide, it is the fit itself.
"""

import dataclasses

import numpy as np

from scaling.laws.fitting.point_fit import PointFit
from scaling.laws.fitting.problem import Problem
from scaling.laws.fitting.solver import solve

_BEND = 1.345  # of the companion's Huber loss, in deviations: 95% efficient under normal noise
_EXPECTED = 0.7102  # mean of clip(z, -1.345, 1.345)^2 for a standard normal z
_ROUNDS = 4
_LEAST = 0.1  # of 1 - leverage: a point that the fit obeys entirely says nothing of its noise


@dataclasses.dataclass(frozen=True)
class Noise:
    """Residuals of the measurements about the companion fit.

    problem, theta: the companion, and its optimum in centred coordinates, (p,). residuals: measurement
    minus law, in nats where the objective is raw, else of logs, (points,). deviation: their robust
    standard deviation by degrees of freedom, divided by the relative standard errors where there are any.
    unit: (points,), sqrt(weight) / relative standard error. jacobian: of the law by the centred
    coordinates, times `unit`, (points, p). u: (points, rank) orthonormal basis of its columns, what the
    fit can absorb; its rows' squared lengths are the leverages.
    """

    problem: Problem
    theta: np.ndarray
    residuals: np.ndarray
    deviation: float
    unit: np.ndarray
    jacobian: np.ndarray
    u: np.ndarray

    @property
    def leverage(self) -> np.ndarray:
        return (self.u**2).sum(axis=1)

    @property
    def standardised(self) -> np.ndarray:
        """Residuals in deviations, by their own standard deviation under the fit, (points,)."""
        size = self.deviation * np.sqrt(np.maximum(1.0 - self.leverage, _LEAST))
        return np.divide(self.residuals * self.unit, size, where=size > 0, out=np.zeros_like(size))

    def inflated(self, run_of_row: np.ndarray, power: float = 1.0) -> np.ndarray:
        """(I - H_g)^-power r_g for the rows g of each run, H the fit's hat matrix, (points,).

        power 1 is the correction HC3 of MacKinnon and White 1985, by run CR3 of Bell and McCaffrey 2002:
        the residual that a run would have if the law were fitted without it. power 1/2 is HC2 and CR2:
        noise of the right variance on average.
        """
        scaled = self.residuals * self.unit
        alone = np.bincount(run_of_row)[run_of_row] == 1
        out = scaled.copy()
        out[alone] /= np.maximum(1.0 - self.leverage[alone], _LEAST) ** power
        order = np.argsort(run_of_row[~alone], kind="stable")
        rows = np.flatnonzero(~alone)[order]
        for part in np.split(rows, np.flatnonzero(np.diff(run_of_row[rows])) + 1):
            held, axes = np.linalg.eigh(self.u[part].T @ self.u[part])
            gain = np.maximum(1.0 - held, _LEAST) ** -power - 1.0
            along = axes.T @ (self.u[part].T @ scaled[part])
            safe = np.maximum(held, 1e-12)
            out[part] += self.u[part] @ (axes @ (gain / safe * along * (held > 1e-12)))
        return np.divide(out, self.unit, where=self.unit > 0, out=self.residuals.copy())


def measured_noise(point: PointFit) -> Noise:
    """The noise about a fit, by its companion."""
    problem, loss = point.problem, point.loss
    weights, target = problem.weights[0], problem.log_target[0]
    used = weights > 0
    freedom = max(int(used.sum()) - len(point.theta), 1)
    theta = point.centring.to_centred(point.theta)

    def residuals(at: np.ndarray) -> np.ndarray:
        law = problem.log_value(at[None])[0]
        return np.exp(target) - np.exp(law) if loss.raw else target - law

    found, sigma = residuals(theta), None
    for _ in range(_ROUNDS):
        z = np.abs(found / problem.scale)[used]
        if sigma is None:
            sigma = float(np.median(z)) / 0.6745 * np.sqrt(len(z) / freedom)
        else:
            sigma = _proposal_2(z, sigma, freedom)
        if not _BEND * sigma > loss.delta:
            break
        companion = point.problem.with_delta(_BEND * sigma)
        solution = solve(companion, theta[None], first_delta=0.03)
        if not solution.converged[0]:
            break
        problem, theta = companion, solution.theta[0]
        found = residuals(theta)
    unit = np.broadcast_to(np.sqrt(weights) / problem.scale, target.shape)
    jacobian = np.nan_to_num(problem.jacobian(theta)) * unit[:, None]
    if loss.raw:
        jacobian = jacobian * np.exp(problem.log_value(theta[None])[0])[:, None]
    left, singular, _ = np.linalg.svd(jacobian, full_matrices=False)
    u = left[:, singular > 1e-10 * singular[0]]
    deviation = _proposal_2(np.abs(found / problem.scale)[used], sigma, freedom)
    return Noise(problem, theta, found, deviation, unit, jacobian, u)


def _proposal_2(z: np.ndarray, sigma: float, freedom: int) -> float:
    """A step of the scale of Huber's proposal 2, from absolute residuals (points,)."""
    bent = np.minimum(z, _BEND * sigma)
    return float(np.sqrt((bent**2).sum() / (freedom * _EXPECTED)))
