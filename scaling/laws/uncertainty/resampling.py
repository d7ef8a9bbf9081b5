"""Draws of a law's parameters: refitted to noise or runs drawn again, or from the posterior."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from scaling.config import did_you_mean
from scaling.errors import UserError
from scaling.laws.fitting.point_fit import PointFit
from scaling.laws.uncertainty.bootstrap import Bootstrap, case_weights, residual_draws
from scaling.laws.uncertainty.noise import Noise, measured_noise
from scaling.laws.uncertainty.posterior import POSTERIOR_BY, Posterior, posterior

METHODS = {  # bootstraps
    "wild": "wild by run: each run keeps its own residual (HC3), with a random sign",
    "cases": "cases by run: runs drawn with replacement",
    "residual": "residuals pooled over runs (HC2), Student's t",
}
# Of a nominal 90%, in percent: least, mean and greatest share of 500 sweeps (posterior: 200) whose
# interval held the truth, over settings and quantities of experiments/calibration (a test compares).
COVERAGE = {"wild": (86, 91, 96), "cases": (87, 93, 99), "residual": (80, 90, 96),
            "posterior": (80, 83, 86)}
DEFAULT = "wild"
POSTERIOR = "posterior"
ALL_METHODS = (*METHODS, POSTERIOR)
_NUMBERS = 1 << 22  # replicates x points refitted at once


@dataclasses.dataclass(frozen=True)
class Resamples:
    """theta: (replicates, p) natural coordinates. good: (replicates,) which converged to a law that falls.
    """

    theta: np.ndarray
    good: np.ndarray
    method: str
    seed: int

    @property
    def draws(self) -> np.ndarray:
        """The good ones, (good replicates, p)."""
        return self.theta[self.good]

    def record(self, law: str) -> Bootstrap:
        """How they were made. Raises `UserError` if under half of them determine the law."""
        return Bootstrap.of(law, METHODS[self.method], self.good, self.seed)


def coverage_line(method: str) -> str:
    """What a method's intervals are worth, in words; `method` as `Bootstrap.method` tells it."""
    known = {**METHODS, POSTERIOR: POSTERIOR_BY}
    name = next((name for name, told in known.items() if method.startswith(told)), None)
    if name is None:
        return "how often such intervals hold the truth has not been measured"
    least, mean, most = COVERAGE[name]
    line = f"a nominal 90% held the truth in {mean}% of synthetic sweeps ({least} to {most}% by setting)"
    return line + (": too narrow in some" if least < 87 else "")


def resample(
    point: PointFit,
    run_of_row: np.ndarray,
    method: str = DEFAULT,
    replicates: int = 1000,
    seed: int = 0,
    seed_noise: float = 0.0,
    relative_noise: np.ndarray | None = None,
    noise: Noise | None = None,
) -> Resamples | Posterior:
    """Draws of the parameters by one of `ALL_METHODS`, the same for the same seed. Rows of one run stay
    together.

    run_of_row: (points,) a number per run from 0, see `bootstrap.clusters`. seed_noise: a floor for
    run-to-run noise, standard deviation of the log, for `wild` and `residual` (`cases` cannot know it).
    relative_noise: (points,) each row's noise over that of all together where that is known to change with
    compute (`noise_trend`), for `wild`. noise: of the fit, if it is at hand.

    wild: the law's own values plus each run's residual with a random sign (Liu 1988; by cluster,
        Cameron, Gelbach and Miller 2008; that signs suit absolute values, Feng, He and Hu 2011). Noise may
        differ from run to run. Residuals are those of `noise.Noise`, inflated by the leverage of their run.
        With `relative_noise` each run draws the residual of any run, at its own scale: where a parameter
        hangs on a few noisy runs, their own residuals say too little of how noisy they are.
    cases: weights by how often each run is drawn (Efron 1979).
    residual: every run draws one of the residuals of all, so noise is taken to be the same everywhere.
    posterior: no refits but `replicates` samples of the posterior, which knows no floor of the noise.

    Raises `UserError` for a method that does not exist, or noise of random sign where the objective is
    not symmetric.
    """
    if method == POSTERIOR:
        return posterior(point, run_of_row, replicates, seed)
    if method not in METHODS:
        raise UserError(f"no method {method!r}{did_you_mean(method, ALL_METHODS)}")
    n = len(point.log_residuals)
    if method == "cases":
        data = ((point.problem.log_target, weights)
                for weights in _blocks(case_weights(run_of_row, replicates, seed)))
    else:
        if point.loss.over != 1.0:
            raise UserError(f"bootstrap {method!r}: the objective {point.loss.name} expects noise to one"
                            " side; use cases")
        noise = noise or measured_noise(point)
        if method == "wild":
            added = _signed(point, noise, run_of_row, replicates, seed, seed_noise, relative_noise)
        else:
            added = _pooled(point, noise, run_of_row, replicates, seed, seed_noise)
        data = ((_measured(point, part), np.ones((1, n))) for part in added)
    theta, good = zip(*(point.refit(*part) for part in data))
    return Resamples(np.concatenate(theta), np.concatenate(good), method, seed)


def _blocks(draws: np.ndarray) -> Iterator[np.ndarray]:
    step = max(1, _NUMBERS // draws.shape[1])
    return (draws[begin : begin + step] for begin in range(0, len(draws), step))


def _missing_noise(point: PointFit, seed_noise: float) -> np.ndarray:
    """Deviation to add in quadrature so that the noise reaches its floor, (points,)."""
    seen = point.residual_deviation or 0.0
    lacking = np.sqrt(max(seed_noise**2 - seen**2, 0.0))
    law = np.exp(point.problem.log_target[0] + point.log_residuals)
    return lacking * (law if point.loss.raw else np.ones(len(law)))


def _signed(
    point, noise: Noise, run_of_row, replicates, seed, seed_noise, relative: np.ndarray | None
) -> Iterator[np.ndarray]:
    own, missing = noise.inflated(run_of_row), _missing_noise(point, seed_noise)
    pool = None if relative is None else (np.abs(own * noise.unit) / relative)[noise.unit > 0]
    rng = np.random.default_rng(seed)
    runs, step = int(run_of_row.max()) + 1, max(1, _NUMBERS // len(own))
    for begin in range(0, replicates, step):
        shape = (min(step, replicates - begin), runs)
        signs = (1.0 - 2.0 * rng.integers(2, size=shape))[:, run_of_row]
        size = own
        if pool is not None:
            drawn = pool[rng.integers(len(pool), size=shape)][:, run_of_row] * relative
            size = np.divide(drawn, noise.unit, where=noise.unit > 0, out=np.zeros_like(drawn))
        yield signs * np.copysign(np.hypot(size, missing), size)


def _pooled(point, noise: Noise, run_of_row, replicates, seed, seed_noise) -> Iterator[np.ndarray]:
    own = noise.inflated(run_of_row, power=0.5) * noise.unit
    lacking = np.sqrt(np.mean((_missing_noise(point, seed_noise) * noise.unit) ** 2))
    spread = float(np.sqrt(np.mean((own - own.mean()) ** 2)))
    if lacking > 0:
        own = (own - own.mean()) * (np.hypot(spread, lacking) / spread) if spread > 0 else (
            lacking * np.where(np.arange(len(own)) % 2, 1.0, -1.0))
    none = np.zeros_like(own)  # the leverage is already in
    drawn = residual_draws(own, none, max(point.degrees_of_freedom, 1), run_of_row, replicates, seed)
    return _blocks(np.divide(drawn, noise.unit, where=noise.unit > 0, out=np.zeros_like(drawn)))


def _measured(point: PointFit, noise: np.ndarray) -> np.ndarray:
    """Logs of the law's values with noise added, (replicates, points)."""
    law = point.problem.log_target[0] + point.log_residuals
    if not point.loss.raw:
        return law + noise
    value = np.exp(law)
    return np.log(np.maximum(value + noise, 1e-3 * value))
