"""Rolling hold-out: fit the smaller budgets, forecast the next one, compare with its runs."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np

from scaling.errors import UserError
from scaling.laws.table.budgets import compute_groups
from scaling.laws.table.runs import RunSet
from scaling.laws.uncertainty.model_error import FoldError, ModelError, model_error

LEAST_FOLDS = 2  # experiments/calibration: with these, coverage beyond the data is near nominal


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a law fitted to smaller budgets says of a larger one, against what was measured.

    log_errors: law minus measured log loss per held-out point, (points,).
    draws: the law's log loss at each by bootstrap, (replicates, points).
    noise: standard deviation of a held-out log loss from run to run.
    optimum_error: the law's log loss at the held-out budget's minimum, minus the parabola's; None
    where that budget has no parabola.
    """

    log_errors: np.ndarray
    draws: np.ndarray
    noise: float
    optimum_error: float | None


@dataclasses.dataclass(frozen=True)
class Fold:
    trained_up_to: float  # FLOPs
    forecast_flops: float
    measured: float  # geometric mean of the held-out losses, nats
    prediction: Prediction

    @property
    def e_folds(self) -> float:
        """How far beyond its data the law was asked, in e-folds of compute."""
        return float(np.log(self.forecast_flops / self.trained_up_to))

    def to_json(self) -> dict:
        errors = self.prediction.log_errors
        return {
            "trained_up_to_flops": self.trained_up_to,
            "forecast_flops": self.forecast_flops,
            "n_points": len(errors),
            "mean_error_percent": float(100 * errors.mean()),
            "rms_error_percent": float(100 * np.sqrt((errors**2).mean())),
            "rms_error_nats": float(self.measured * np.sqrt((errors**2).mean())),
            "optimum_error_percent": (
                None if self.prediction.optimum_error is None
                else 100 * self.prediction.optimum_error
            ),
        }


@dataclasses.dataclass(frozen=True)
class Holdout:
    """All folds of one law. refused: folds on which the law could not be fitted, and why."""

    folds: tuple[Fold, ...]
    refused: tuple[str, ...]

    @functools.cached_property
    def model_error(self) -> ModelError:
        """What the folds say of the law's form, see `uncertainty.model_error`."""
        return model_error([
            FoldError(f.prediction.log_errors, f.prediction.draws, f.prediction.noise, f.e_folds)
            for f in self.folds
        ])

    @property
    def caution(self) -> str | None:
        """What to say of intervals beyond the data where too few folds show how wrong the form is."""
        if len(self.folds) >= LEAST_FOLDS:
            return None
        folds = {0: "no fold", 1: "a single fold"}[len(self.folds)]
        return (f"the rolling hold-out has {folds}, so that intervals beyond the data know little of the"
                " law's own error: on published runs, 90% intervals of fits to 2 or 3 budgets hold 88% of"
                " the runs of the next budget and 70% of those further up")

    def to_json(self) -> dict:
        errors = [f.prediction.log_errors for f in self.folds]
        rms = float(np.sqrt(np.mean(np.concatenate(errors) ** 2))) if errors else None
        return {
            "folds": [f.to_json() for f in self.folds],
            "refused": list(self.refused),
            "rms_error_percent": None if rms is None else 100 * rms,
            "model_error_percent_per_efold": 100 * self.model_error.per_efold if errors else None,
        }


def rolling(
    runs: RunSet,
    forecast: Callable[[RunSet, RunSet], Prediction],
    least_groups: int,
) -> Holdout:
    """Folds that train on all groups below the k-th and forecast the k-th, k >= least_groups.

    Groups are those of `compute_groups`: the budgets, 8 at most. `forecast(train, held_out)` may raise
    `UserError`, which is listed.
    """
    groups = compute_groups(runs.budgets, runs.flops)
    folds, refused = [], []
    for k in range(least_groups, int(groups.max()) + 1):
        train, held_out = runs.take(groups < k), runs.take(groups == k)
        flops = float(np.exp(np.log(held_out.flops).mean()))
        try:
            prediction = forecast(train, held_out)
        except UserError as problem:
            refused.append(f"up to {train.flops.max():.3g} FLOPs: {problem}")
            continue
        measured = float(np.exp(np.log(held_out.loss).mean()))
        folds.append(Fold(_largest_budget(train, groups[groups < k]), flops, measured, prediction))
    return Holdout(tuple(folds), tuple(refused))


def _largest_budget(train: RunSet, groups: Sequence[int]) -> float:
    return float(np.exp(np.log(train.flops[np.asarray(groups) == max(groups)]).mean()))
