"""What a fit minimises: a sum over points of a loss of the residual between law and measurement.

Residuals are of logs (law's log minus measurement's log) or raw (law minus measurement, in the
target's own units). With per-point standard errors they are divided by (error / geometric mean of the
errors), so that delta keeps its unit at the typical point.
"""

import dataclasses

import numpy as np

from scaling.config import did_you_mean
from scaling.errors import UserError


@dataclasses.dataclass(frozen=True)
class Objective:
    """huber_delta(r) = r^2 / 2 inside |r| <= delta, delta (|r| - delta / 2) beyond; inf: squares.

    over: factor on the loss where the law lies above the measurement (1 is symmetric).
    """

    name: str
    raw: bool
    delta: float
    over: float = 1.0

    def pulls(self, log_value, log_target, scale, delta, xp=np):
        """Loss per point and its first and second derivative by the law's log, each (..., points).

        On the kinks |r| = delta the second derivative is that of the quadratic side (a semismooth
        Newton method needs no more).
        """
        value = xp.exp(log_value) if self.raw else 1.0
        residual = value - xp.exp(log_target) if self.raw else log_value - log_target
        residual = residual / scale
        clipped = xp.clip(residual, -delta, delta)
        factor = 1.0 if self.over == 1.0 else xp.where(residual > 0, self.over, 1.0)
        slope = value / scale  # of the residual by the law's log
        pull = factor * clipped * slope
        bend = factor * (xp.abs(residual) <= delta) * slope**2
        return factor * clipped * (residual - clipped / 2), pull, bend + pull if self.raw else bend

    def typical(self, log_target: np.ndarray) -> float:
        """Unit of residuals: 1 for logs, the typical measurement for raw ones."""
        return float(np.exp(np.mean(log_target))) if self.raw else 1.0


NAMES = ("huber_log", "huber_raw", "log_squares", "squares", "asymmetric")


def objective(name: str, delta: float = 1e-3) -> Objective:
    """By name. `squares` are raw; `asymmetric` is Kyo and Takano's: raw absolute errors, ten times as
    dear where the law lies above the measurement, here rounded off within delta: a law of the floor."""
    if name not in NAMES:
        raise UserError(f"no objective {name!r}{did_you_mean(name, NAMES)}")
    if not delta > 0:
        raise UserError(f"delta = {delta!r}: expected a number above 0")
    return {
        "huber_log": Objective(name, raw=False, delta=delta),
        "huber_raw": Objective(name, raw=True, delta=delta),
        "log_squares": Objective(name, raw=False, delta=np.inf),
        "squares": Objective(name, raw=True, delta=np.inf),
        "asymmetric": Objective(name, raw=True, delta=delta, over=10.0),
    }[name]
