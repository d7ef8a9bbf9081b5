"""The frontier L*(C) = E + a (C/C0)^-alpha through the minima of approaches 1 and 2."""

import dataclasses

import numpy as np

from scaling.laws.fitting.point_fit import PointFit, fit_form
from scaling.laws.forms.power import POWER_LAW
from scaling.laws.uncertainty.bootstrap import Bootstrap, interval


@dataclasses.dataclass(frozen=True)
class PowerLawFit:
    """E + a (x/x0)^-alpha, or a (x/x0)^-alpha. x0 is the geometric mean of the points' x.

    draws: (replicates, parameters) natural coordinates for x/x0.
    """

    point: PointFit
    x_name: str
    x: np.ndarray
    y: np.ndarray
    x0: float
    draws: np.ndarray
    bootstrap: Bootstrap
    level: float
    dropped: tuple[dict, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def params(self) -> dict[str, float]:
        return self.point.params

    @property
    def intervals(self) -> dict[str, list[float]]:
        form, natural = self.point.form, self.draws.copy()
        natural = form.values(natural)
        return {n: interval(natural[:, i], self.level) for i, n in enumerate(form.names)}

    def log_loss(self, x: float) -> tuple[float, np.ndarray]:
        """Log of the law at x, and of each replicate's law there, (replicates,)."""
        logs = {"x": np.log([float(x) / self.x0])}
        return float(self.point.log_loss(logs)[0]), self.point.form.log_loss(self.draws, logs)[:, 0]

    def loss(self, x: float) -> float:
        return float(np.exp(self.log_loss(x)[0]))

    def to_json(self) -> dict:
        return {
            "law": self.point.form.name,
            "source": self.point.form.source,
            "x": self.x_name,
            "x0": self.x0,
            "params": self.params,
            "intervals": self.intervals,
            "level": self.level,
            "objective": self.point.objective,
            "delta": self.point.delta if np.isfinite(self.point.delta) else None,
            "n_points": len(self.x),
            "dropped": list(self.dropped),
            "notes": list(self.notes),
            "receipt": self.point.receipt.to_json(),
            "bootstrap": self.bootstrap.to_json(),
        }


def fit_frontier(
    flops: np.ndarray, loss: np.ndarray, replicates: np.ndarray, level: float, seed: int
) -> PowerLawFit:
    """L*(C) with offset through the losses at the IsoFLOP minima, least squares of logs.

    flops, loss (budgets,); replicates (replicates, budgets) of the loss, from resampled runs.
    """
    x0 = float(np.exp(np.log(flops).mean()))
    point = fit_form(POWER_LAW, {"x": flops / x0}, loss, np.inf, seed=seed)
    theta, good = point.refit(np.log(replicates), np.ones((1, len(loss))))
    return PowerLawFit(point, "flops", flops, loss, x0, theta[good],
                       Bootstrap.of("L*(C)", "of the IsoFLOP minima", good, seed), level)
