"""How often predictive intervals hold the runs beyond a fit, on runs as they are: nobody knows the truth.

The runs are put into groups by compute. The law is fitted to the smallest groups and asked for every
run of the larger ones; then the next group joins the fit, and so on.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

from scaling.errors import UserError
from scaling.laws.fitting.point_fit import PointFit, fit_form
from scaling.laws.forms.chinchilla import CHINCHILLA
from scaling.laws.prediction import new_run
from scaling.laws.table.budgets import budgets_by_gaps, compute_groups
from scaling.laws.uncertainty.bootstrap import interval
from scaling.laws.uncertainty.model_error import NO_MODEL_ERROR, FoldError, ModelError, model_error
from scaling.laws.uncertainty.noise import measured_noise
from scaling.laws.uncertainty.noise_trend import NoiseTrend, noise_trend
from scaling.laws.uncertainty.resampling import DEFAULT, resample

_STARTS = 32


@dataclasses.dataclass(frozen=True)
class Runs:
    """Each (rows,). run_of_row: a number per run from 0."""

    n_params: np.ndarray
    n_tokens: np.ndarray
    loss: np.ndarray
    flops: np.ndarray
    run_of_row: np.ndarray

    def take(self, rows: np.ndarray) -> "Runs":
        some = {field.name: getattr(self, field.name)[rows] for field in dataclasses.fields(self)}
        some["run_of_row"] = np.unique(some["run_of_row"], return_inverse=True)[1]
        return Runs(**some)


@dataclasses.dataclass(frozen=True)
class Asked:
    """One held-out row. adjacent: of the group next to the fit's largest. groups: in the fit. inside: by
    the law's uncertainty and noise. inside_with_model_error: also with the model error that the fit's own
    rolling hold-out shows. half_width, half_width_with: of the intervals, in logs."""

    adjacent: bool
    groups: int
    e_folds: float
    inside: bool
    inside_with_model_error: bool
    half_width: float
    half_width_with: float


@dataclasses.dataclass(frozen=True)
class _Fold:
    """The law fitted to the groups below `begin`, asked for the rows of one group. law: (rows,) and
    resampled: (replicates, rows), logs; e_folds: (rows,) of compute beyond the fit's rows. trend: of the
    noise about the fit."""

    begin: int
    group: int
    point: PointFit
    train: Runs
    held_out: Runs
    law: np.ndarray
    resampled: np.ndarray
    e_folds: np.ndarray
    trend: NoiseTrend

    @property
    def noise(self) -> float:
        """Standard deviation of one held-out log loss: beyond the fit's runs, as at the largest of them."""
        return self.point.residual_deviation * float(self.trend.at(np.log(self.train.flops).max()))

    @property
    def measured(self) -> np.ndarray:
        return np.log(self.held_out.loss)

    @property
    def adjacent(self) -> bool:
        return self.group == self.begin

    @property
    def error(self) -> FoldError:
        return FoldError(self.law - self.measured, self.resampled, self.noise, float(self.e_folds.mean()))


def _folds(
    runs: Runs, delta: float, method: str, replicates: int, seed: int, least_groups: int
) -> Iterator[_Fold]:
    groups = compute_groups(budgets_by_gaps(runs.flops), runs.flops)
    for begin in range(least_groups, int(groups.max()) + 1):
        train = runs.take(groups < begin)
        try:
            point, draws, trend = _fitted(train, delta, method, replicates, seed)
        except UserError:
            continue
        for group in range(begin, int(groups.max()) + 1):
            held_out = runs.take(groups == group)
            e_folds = np.log(held_out.flops) - np.log(train.flops).max()
            if e_folds.mean() > 0:
                logs = {"n_params": np.log(held_out.n_params), "n_tokens": np.log(held_out.n_tokens)}
                yield _Fold(begin, group, point, train, held_out, point.log_loss(logs),
                            point.form.log_loss(draws, logs), e_folds, trend)


def fold_errors(
    runs: Runs, delta: float = 1e-3, method: str = DEFAULT, replicates: int = 100, seed: int = 0,
    least_groups: int = 2,
) -> list[FoldError]:
    """Of every fit to the smaller groups of compute, against the next group."""
    folds = _folds(runs, delta, method, replicates, seed, least_groups)
    return [fold.error for fold in folds if fold.adjacent]


def rolling_coverage(
    runs: Runs, delta: float = 1e-3, method: str = DEFAULT, replicates: int = 199, level: float = 0.9,
    seed: int = 0, least_groups: int = 2,
) -> list[Asked]:
    """Every held-out row of every fold. Folds that cannot be fitted are left out.

    The model error of a fit comes from folds within its own runs alone, as it would have on the day.
    """
    folds = list(_folds(runs, delta, method, replicates, seed, least_groups))
    asked = []
    for fold in folds:
        known = model_error([f.error for f in folds if f.adjacent and f.group < fold.begin])
        for i, measured in enumerate(fold.measured):
            asked.append(_asked(fold, i, known, measured, level, [seed, fold.begin, fold.group, i]))
    return asked


def _fitted(train: Runs, delta: float, method: str, replicates: int, seed: int):
    """The point fit, its draws, the trend of its noise; raises `UserError` where the runs do not determine
    them."""
    columns = {"n_params": train.n_params, "n_tokens": train.n_tokens}
    point = fit_form(CHINCHILLA, columns, train.loss, delta, _STARTS, seed)
    if point.degrees_of_freedom < 1:
        raise UserError("too few runs")
    noise, log_flops = measured_noise(point), np.log(train.flops)
    trend = noise_trend(noise, train.run_of_row, log_flops)
    resamples = resample(point, train.run_of_row, method, replicates, seed, noise=noise,
                         relative_noise=trend.of_rows(log_flops))
    resamples.record(CHINCHILLA.name)
    return point, resamples.draws, trend


def _asked(
    fold: _Fold, row: int, known: ModelError, measured: float, level: float, seed: list[int]
) -> Asked:
    e_folds = float(fold.e_folds[row])
    ends = []
    for error in (NO_MODEL_ERROR, known):
        new = new_run(fold.resampled[:, row], fold.noise, fold.point.degrees_of_freedom, error, e_folds,
                      seed)
        ends.append(interval(new, level))
    (low, high), (lower, higher) = ends
    return Asked(fold.adjacent, fold.begin, e_folds, bool(low <= measured <= high),
                 bool(lower <= measured <= higher), (high - low) / 2, (higher - lower) / 2)
