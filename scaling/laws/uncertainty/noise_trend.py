"""Whether the noise about a fit changes with compute, and by how much.

Small runs are often noisier than large ones. One deviation for all is then too wide for a forecast far up,
and a bootstrap by each run's own residual leans on the few noisy runs that happen to carry a parameter.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
from scipy.special import stdtrit  # scipy.stats takes a second to import

from scaling.laws.uncertainty.noise import Noise

_CHANCE = 0.05  # two-sided, of a trend this clear where there is none
_LEAST_RUNS = 8
_ROUNDS = 50
_STEEPEST = 3.0  # of the slope in a step, per e-fold
_LEAST = 1e-3  # of the mean size: residuals below it say nothing of the slope but rounding


@dataclasses.dataclass(frozen=True)
class NoiseTrend:
    """per_efold: slope of the log of the noise's deviation over the log of compute; 0 where no trend is
    clear. low, high: least and most log FLOPs of the runs. overall: log of the root mean square over the
    runs' rows of exp(per_efold * log FLOPs)."""

    per_efold: float
    low: float
    high: float
    overall: float

    def at(self, log_flops) -> np.ndarray:
        """The noise over that of all runs together, of any shape. Beyond the runs as at the last of them:
        noise that falls is not trusted to go on falling."""
        clipped = np.clip(log_flops, self.low, self.high)
        return np.exp(self.per_efold * clipped - self.overall) if self.per_efold else np.ones_like(clipped)

    def words(self) -> Iterator[str]:
        """What to say of a trend, if there is one."""
        if self.per_efold:
            least, most = 100 * self.at(np.array([self.low, self.high]))
            yield (f"run-to-run noise {'falls' if self.per_efold < 0 else 'grows'} with compute, from"
                   f" {least:.0f}% of its mean at {np.exp(self.low):.3g} FLOPs to {most:.0f}% at"
                   f" {np.exp(self.high):.3g}: intervals and forecasts count with that")

    def of_rows(self, log_flops: np.ndarray | None) -> np.ndarray | None:
        """`at` the runs' own rows, as `resample` takes it: None where there is no trend."""
        return self.at(log_flops) if self.per_efold else None


NO_TREND = NoiseTrend(0.0, 0.0, 0.0, 0.0)


def noise_trend(noise: Noise, run_of_row: np.ndarray, log_flops: np.ndarray | None) -> NoiseTrend:
    """From the residuals' sizes, corrected for leverage: their log is a line in the log of compute.

    log_flops: (points,), None where the runs have no compute. The line is a gamma regression of absolute
    residuals (Davidian and Carroll 1987, "Variance function estimation": nearly as efficient as the normal
    likelihood, and less moved by outliers), its slope's standard error the sandwich by run. A slope that
    is not significant is none.
    """
    if log_flops is None:
        return NO_TREND
    used = noise.unit > 0  # a row without weight says nothing of the noise
    size, log_flops = np.abs(noise.inflated(run_of_row) * noise.unit)[used], log_flops[used]
    run_of_row = np.unique(run_of_row[used], return_inverse=True)[1]
    runs = int(run_of_row.max()) + 1
    if runs < _LEAST_RUNS or np.ptp(log_flops) == 0 or not size.mean() > 0:
        return NO_TREND
    size = np.maximum(size / size.mean(), _LEAST)
    design = np.stack([np.ones_like(log_flops), log_flops - log_flops.mean()], axis=1)
    line = np.zeros(2)
    for _ in range(_ROUNDS):
        pull = size * np.exp(-design @ line)
        hessian = design.T @ (pull[:, None] * design)
        step = np.clip(np.linalg.solve(hessian, design.T @ (pull - 1)), -_STEEPEST, _STEEPEST)
        line = line + step
        if np.abs(step).max() < 1e-10:
            break
    scores = np.zeros((runs, 2))
    np.add.at(scores, run_of_row, design * (size * np.exp(-design @ line) - 1)[:, None])
    bread = np.linalg.inv(hessian)
    variance = (bread @ scores.T @ scores @ bread)[1, 1] * runs / (runs - 2)
    slope = float(line[1])
    if not np.isfinite(slope) or abs(slope) <= stdtrit(runs - 2, 1 - _CHANCE / 2) * np.sqrt(variance):
        return NO_TREND
    overall = 0.5 * float(np.log(np.mean(np.exp(2 * slope * (log_flops - log_flops.mean())))))
    return NoiseTrend(slope, float(log_flops.min()), float(log_flops.max()),
                      overall + slope * float(log_flops.mean()))
