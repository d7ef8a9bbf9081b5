"""What a law says of a run that has not been trained: its value, and where a new run would land."""

import dataclasses

import numpy as np

from scaling.laws.uncertainty.bootstrap import interval

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


def noise_at(value: float, noise: float, measured: np.ndarray) -> float:
    """Run-to-run deviation of the log where the law's log is `value`, from that at the measured runs.

    Noise of equal size in nats at every loss. Runs further up are if anything quieter, so this errs
    on the wide side.
    """
    return noise * float(np.exp(np.log(measured).mean() - value))


def new_run(
    draws: np.ndarray, noise: float, degrees_of_freedom: int, model_error: float, seed: int
) -> np.ndarray:
    """Log values of new runs, (NOISE_DRAWS x replicates,), from the law's draws (replicates,).

    Noise is Student's t, because it was estimated from few residuals; model error is normal.
    """
    rng = np.random.default_rng([seed, 1])
    shape = (NOISE_DRAWS, len(draws))
    new = draws + noise * rng.standard_t(max(degrees_of_freedom, 1), shape)
    return (new + model_error * rng.standard_normal(shape)).ravel()


def new_run_interval(new: np.ndarray, replicates: int, level: float) -> tuple[float, float]:
    """Of new runs, at the plotting position of the replicates that they stem from: see `interval`.

    The many draws of noise about each replicate make it no surer where the law is.
    """
    tail = max(((1.0 - level) / 2 * (replicates + 1) - 1) / (replicates - 1), 0.0)
    low, high = np.quantile(new, [tail, 1.0 - tail])
    return float(low), float(high)


def predicted(
    at: dict[str, float], target: str, value: float, draws: np.ndarray, new: np.ndarray, level: float
) -> Prediction:
    """value, draws and new runs as logs."""
    return Prediction(
        at, target, float(np.exp(value)), tuple(interval(np.exp(draws), level)),
        new_run_interval(np.exp(new), len(draws), level),
    )
