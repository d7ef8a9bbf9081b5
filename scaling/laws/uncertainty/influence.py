"""Leave one run out: which runs a fit leans on, and which do not belong. Nothing is removed."""

import dataclasses
from collections.abc import Callable

import numpy as np

from scaling.laws.fitting.point_fit import PointFit
from scaling.laws.uncertainty.noise import measured_noise

_OUTLIER = 3.5  # robust standard deviations (Iglewicz and Hoaglin 1993)
_LEANS = 0.7  # standard errors that one moves: half of the wild bootstrap's variance is then that run's
_NUMBERS = 1 << 22


@dataclasses.dataclass(frozen=True)
class RunInfluence:
    """One run. residual: its mean residual, studentised by the noise and by leverage. shifts: by
    how many standard errors each parameter and target would move without the run (as DFBETAS of Belsley,
    Kuh and Welsch 1980, with the bootstrap's standard errors). refitted: whether the law can be fitted
    without it.
    """

    run_id: str
    residual: float
    shifts: dict[str, float]
    refitted: bool

    @property
    def outlier(self) -> bool:
        return abs(self.residual) > _OUTLIER

    @property
    def largest(self) -> tuple[str, float]:
        """Name and size of the largest shift."""
        return max(self.shifts.items(), key=lambda item: abs(item[1]), default=("", 0.0))

    @property
    def leant_on(self) -> bool:
        return not self.refitted or abs(self.largest[1]) > _LEANS

    @property
    def words(self) -> str:
        """Why it is flagged; empty where it is not."""
        said = []
        if self.outlier:
            side = "above" if self.residual > 0 else "below"
            said.append(f"{abs(self.residual):.1f} standard deviations {side} the law")
        if not self.refitted:
            said.append("without it the law cannot be fitted")
        elif self.leant_on:
            name, shift = self.largest
            said.append(f"without it {name} moves by {shift:+.1f} standard errors")
        return "; ".join(said)

    def to_json(self) -> dict:
        return {**dataclasses.asdict(self), "outlier": self.outlier, "words": self.words}


def influence(
    point: PointFit,
    draws: np.ndarray,
    run_of_row: np.ndarray,
    run_ids: tuple[str, ...],
    targets: dict[str, Callable[[np.ndarray], np.ndarray]] | None = None,
) -> tuple[RunInfluence, ...]:
    """Every run's influence, the largest shift first.

    draws: (replicates, p) natural coordinates of a bootstrap, for standard errors. run_of_row:
    (points,) a number per run from 0. run_ids: of the rows. targets: further quantities by name, each
    a function of natural coordinates (draws, p) -> (draws,), such as the log of N*(C) or of the loss
    at a target. Parameters that live in logs are compared there.
    """
    runs = int(run_of_row.max()) + 1
    names = {run_of_row[row]: run_id for row, run_id in enumerate(run_ids)}
    noise = measured_noise(point)
    residual = np.bincount(run_of_row, noise.standardised) / np.bincount(run_of_row)
    theta, good = [], []
    step = max(1, _NUMBERS // len(run_of_row))
    for begin in range(0, runs, step):
        left_out = np.arange(begin, min(begin + step, runs))
        some, fine = point.refit(point.problem.log_target, (run_of_row != left_out[:, None]) * 1.0)
        theta.append(some)
        good.append(fine)
    theta, good = np.concatenate(theta), np.concatenate(good)
    shifts = {}
    for i, parameter in enumerate(point.form.parameters):
        own = np.exp if parameter.kind == "constant" else lambda v: v  # a constant's log may run off
        shifts[parameter.name] = _shift(own(theta[:, i]), own(point.theta[i]), own(draws[:, i]))
    for name, target in (targets or {}).items():
        shifts[name] = _shift(target(theta), target(point.theta[None])[0], target(draws))
    found = [
        RunInfluence(names[run], float(residual[run]),
                     {name: float(shift[run]) if good[run] else 0.0 for name, shift in shifts.items()},
                     bool(good[run]))
        for run in range(runs)
    ]
    return tuple(sorted(found, key=lambda run: (run.refitted, -abs(run.largest[1]), run.run_id)))


def _shift(without: np.ndarray, value: float, draws: np.ndarray) -> np.ndarray:
    """(without - value) in standard errors, by the middle 68% of the draws: their tails may be long."""
    low, high = np.nanquantile(draws, [0.1587, 0.8413])
    return np.nan_to_num(without - value) / max((high - low) / 2, 1e-300)
