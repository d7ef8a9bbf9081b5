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

_BEND = 1.345  # of the companion's Huber loss, in deviations: 95% efficient under normal noise
_EXPECTED = 0.7102  # mean of clip(z, -1.345, 1.345)^2 for a standard normal z
_ROUNDS = 4
_LEAST = 0.1  # of 1 - leverage: a point that the fit obeys entirely says nothing of its noise


@dataclasses.dataclass(frozen=True)
class Noise:
    """Residuals of the measurements about the companion fit, in nats where the objective is raw, else of
    logs.

    residuals: measurement minus law, (points,). u: (points, rank) orthonormal basis of what the fit can
    absorb, in residuals times `unit`; its rows' squared lengths are the leverages. unit: (points,),
    sqrt(weight) / standard error.
    """

    residuals: np.ndarray
    u: np.ndarray
    unit: np.ndarray

    @property
    def leverage(self) -> np.ndarray:
        return (self.u**2).sum(axis=1)

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
    unit = np.sqrt(weights) / problem.scale
    used = weights > 0
    freedom = max(int(used.sum()) - len(point.theta), 1)
    theta = point.centring.to_centred(point.theta)

    def residuals(at: np.ndarray) -> np.ndarray:
        law = problem.log_value(at[None])[0]
        return np.exp(target) - np.exp(law) if loss.raw else target - law

    found = residuals(theta)
    sigma = None
    for _ in range(_ROUNDS):
        z = np.abs(found / problem.scale)[used]
        if sigma is None:
            sigma = float(np.median(z)) / 0.6745 * np.sqrt(len(z) / freedom)
        else:
            bent = np.minimum(z, _BEND * sigma)
            sigma = float(np.sqrt((bent**2).sum() / (freedom * _EXPECTED)))
        if not _BEND * sigma > loss.delta:
            break
        companion = dataclasses.replace(point, problem=problem.with_delta(_BEND * sigma))
        refitted, good = companion.refit(problem.log_target, np.ones((1, len(target))))
        if not good[0]:
            break
        theta = point.centring.to_centred(refitted[0])
        found = residuals(theta)
    jacobian = problem.jacobian(theta) * unit[:, None]
    if loss.raw:
        jacobian = jacobian * np.exp(problem.log_value(theta[None])[0])[:, None]
    left, singular, _ = np.linalg.svd(np.nan_to_num(jacobian), full_matrices=False)
    return Noise(found, left[:, singular > 1e-10 * singular[0]], np.broadcast_to(unit, target.shape))
