"""What a law says of a run that has not been trained: its value, and where a new run would land."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from scaling.laws.uncertainty.bootstrap import interval
from scaling.laws.uncertainty.model_error import ModelError

NOISE_DRAWS = 20  # of a new run, per bootstrap replicate


@dataclasses.dataclass(frozen=True)
class Prediction:
    """At given columns. interval: of the law's value (uncertain parameters). predictive_interval: of a new
    run (parameters, run-to-run noise, and model error where the law is asked beyond its runs)."""

    at: dict[str, float]
    target: str
    value: float
    interval: tuple[float, float]
    predictive_interval: tuple[float, float]

    def to_json(self) -> dict:
        return {
            **self.at,
            self.target: self.value,
            "interval": list(self.interval),
            "predictive_interval": list(self.predictive_interval),
        }


def new_run(
    draws: np.ndarray, noise: float, degrees_of_freedom: int, model_error: ModelError, e_folds: float,
    seed: int | Sequence[int],
) -> np.ndarray:
    """Log values of new runs, (NOISE_DRAWS x replicates,), from the law's draws (replicates,).

    noise: standard deviation of a run's log loss, the same at every loss. e_folds: of compute beyond the
    runs. Noise and model error are Student's t, because they were estimated from few residuals and folds.
    """
    rng = np.random.default_rng([seed, 1] if isinstance(seed, int) else seed)
    shape = (NOISE_DRAWS, len(draws))
    new = draws + noise * rng.standard_t(max(degrees_of_freedom, 1), shape)
    return (new + model_error.at(e_folds) * rng.standard_t(max(model_error.folds, 1), shape)).ravel()


def new_run_interval(new: np.ndarray, replicates: int, level: float) -> tuple[float, float]:
    """Of new runs, given as logs, at the plotting position of the replicates that they stem from: see
    `interval`.

    The many draws of noise about each replicate make it no surer where the law is.
    """
    tail = max(((1.0 - level) / 2 * (replicates + 1) - 1) / (replicates - 1), 0.0)
    low, high = np.exp(np.quantile(new, [tail, 1.0 - tail]))
    return float(low), float(high)


def predicted(
    at: dict[str, float], target: str, value: float, draws: np.ndarray, new: np.ndarray, level: float
) -> Prediction:
    """value, draws and new runs as logs."""
    return Prediction(
        at, target, float(np.exp(value)), tuple(interval(np.exp(draws), level)),
        new_run_interval(new, len(draws), level),
    )
