"""Every law at once: approaches 1, 2 and 3 on one table, with their rolling hold-outs."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd

from scaling.config import did_you_mean
from scaling.errors import UserError
from scaling.laws.allocation import FlopsRelation
from scaling.laws.approaches.bias import BiasMeter, bias_of
from scaling.laws.approaches.envelope import EnvelopeFit, fit_envelope
from scaling.laws.approaches.isoflop import MIN_BUDGETS_OF_FRONTIER, IsoflopFit, fit_isoflop
from scaling.laws.approaches.parabola import fit_parabola
from scaling.laws.fitting.point_fit import FitError
from scaling.laws.forms import FORMS
from scaling.laws.forms.chinchilla import CHINCHILLA
from scaling.laws.holdout import Holdout, Prediction, rolling
from scaling.laws.law_fit import LawFit
from scaling.laws.law_fitting import fit_law
from scaling.laws.table.runs import RunSet, usable_runs

APPROACHES: dict[str, Callable] = {"envelope": fit_envelope, "isoflop": fit_isoflop}
LAWS: tuple[str, ...] = (*FORMS, *APPROACHES)
_HOLDOUT_REPLICATES = 100


@dataclasses.dataclass(frozen=True)
class LawFits:
    """Approaches 1 and 2 and a parametric law on the same runs; None where refused, with the reason in
    `problems` (approach 1 wants loss curves; where there are none it is left out in silence).

    chinchilla: approach 3, or another law of N and D. holdouts: by law name. level: of every interval.
    """

    runs: RunSet
    envelope: EnvelopeFit | None
    isoflop: IsoflopFit | None
    chinchilla: LawFit | None
    holdouts: dict[str, Holdout]
    problems: tuple[str, ...]
    level: float
    seed: int
    relation: FlopsRelation

    @property
    def largest_flops(self) -> float:
        """Of the runs in the fit: where extrapolation starts."""
        return float(self.runs.flops.max())

    def bias_meter(self, factor: float = 10.0) -> BiasMeter | None:
        """Approach 2's expected error on this very grid, at `factor` times the largest budget; None
        without both approach 2 and a Chinchilla law to measure it by."""
        if self.isoflop is None or self.chinchilla is None or self.chinchilla.law != "chinchilla":
            return None
        return bias_of(self.isoflop, self.chinchilla.point.theta, factor * self.largest_flops)

    def to_json(self) -> dict:
        """Approach 3's own keys (`law`, `params`, ...) where it was fitted, and every law under `laws`."""
        own = self.chinchilla.to_json() if self.chinchilla is not None else {}
        laws = {law.law: law.to_json() for law in all_laws(self)}
        for name, holdout in self.holdouts.items():
            laws[name]["holdout"] = holdout.to_json()
        bias = self.bias_meter()
        return {
            **own,
            "laws": laws,
            "bias_of_approach_2": bias.to_json() if bias else None,
            "problems": list(self.problems),
            "n_points": len(self.runs),
            "dropped": list(self.runs.dropped),
            "notes": list(self.runs.notes),
            "level": self.level,
            "seed": self.seed,
            "flops_relation": self.relation.to_json(),
            "data_hash": self.runs.data_hash,
            "fitted_run_ids": sorted(set(self.runs.run_ids)),
        }


def all_laws(fits: LawFits) -> list[EnvelopeFit | IsoflopFit | LawFit]:
    """The laws that could be fitted, in the order of the approaches."""
    return [law for law in (fits.envelope, fits.isoflop, fits.chinchilla) if law is not None]


def of_one(law: LawFit) -> LawFits:
    """A law of N and D alone, as `forecast` takes it. Raises `UserError` for any other law."""
    if not law.allocates or law.holdout is None:
        raise UserError(f"{law.law}: a forecast needs a law of n_params and n_tokens")
    return LawFits(law.runs, None, None, law, {law.law: law.holdout}, law.notes, law.level, law.seed,
                   law.relation)


def fit(law: str, runs: pd.DataFrame | RunSet, **options) -> LawFit | IsoflopFit | EnvelopeFit:
    """Fits one law by name (see `LAWS`) to a table of runs.

    options: of `law_fitting.fit_law` for a law of the library, of `fit_envelope` and `fit_isoflop` for
    approaches 1 and 2.
    """
    _check_options(**options)
    if law in APPROACHES:
        return APPROACHES[law](_checked(runs), **options)
    if law not in FORMS:
        raise UserError(f"no law {law!r}{did_you_mean(law, LAWS)}")
    form = FORMS[law]
    return fit_law(form, _checked(runs, form.columns, form.target), **options)


def _check_options(
    level: float = 0.9, bootstrap: int = 1000, seed: int = 0, delta: float = 1e-3, **_
) -> None:
    if not 0 < level < 1:
        raise UserError(f"level = {level!r}: expected a number between 0 and 1")
    if bootstrap < 10:
        raise UserError(f"bootstrap = {bootstrap!r}: expected at least 10 replicates")
    if seed < 0:
        raise UserError(f"seed = {seed!r}: expected an integer of at least 0")
    if not delta > 0:  # inf is least squares
        raise UserError(f"delta = {delta!r}: expected a number above 0")


def _checked(runs: pd.DataFrame | RunSet, *needed) -> RunSet:
    return runs if isinstance(runs, RunSet) else usable_runs(runs, "runs", *needed)


def fit_all(
    runs: pd.DataFrame | RunSet,
    level: float = 0.9,
    bootstrap: int = 1000,
    seed: int = 0,
    delta: float = 1e-3,
    objective: str = "huber_log",
    seed_noise: float | None = None,
    method: str | None = None,
) -> LawFits:
    """Approaches 1, 2 and 3 with intervals at `level` and rolling hold-outs.

    seed_noise: run-to-run standard deviation of the loss in nats, a floor for the noise that the
    fits see; None takes it from runs that repeat one (N, D), if there are any. delta: of the
    Huber loss in approach 3; method: of its bootstrap. Raises `UserError` if no approach can be
    fitted.
    """
    _check_options(level=level, bootstrap=bootstrap, seed=seed, delta=delta)
    table = _checked(runs)
    noise = repeat_noise(table) if seed_noise is None else seed_noise / float(table.loss.mean())
    shared = dict(level=level, bootstrap=bootstrap, seed=seed, seed_noise=noise)
    envelope = isoflop = chinchilla = None
    problems, holdouts = [], {}
    if len(set(table.run_ids)) < len(table):
        try:
            envelope = fit_envelope(table, level, bootstrap, seed)
        except UserError as problem:
            problems.append(str(problem))
    try:
        isoflop = fit_isoflop(table, **shared)
        problems += isoflop.problems
        holdouts["isoflop"] = isoflop_holdout(table, level, seed, noise)
    except UserError as problem:
        problems.append(str(problem))
    try:
        chinchilla = fit_law(CHINCHILLA, table, delta=delta, objective=objective, method=method, **shared)
        holdouts["chinchilla"] = chinchilla.holdout
    except UserError as problem:
        problems.append(str(problem))
    if envelope is None and isoflop is None and chinchilla is None:
        raise FitError("no law fits these runs: " + "; ".join(problems))
    relation = FlopsRelation.of(table.n_params, table.n_tokens, table.flops)
    return LawFits(table, envelope, isoflop, chinchilla, holdouts, tuple(problems), level, seed, relation)


def repeat_noise(runs: RunSet) -> float:
    """Standard deviation of log loss among runs with the same N and D; 0 without any repeats."""
    pairs = np.stack([runs.n_params, runs.n_tokens], axis=1)
    group = np.unique(pairs, axis=0, return_inverse=True)[1].ravel()
    freedom = len(runs) - len(np.unique(group))
    if freedom < 1:
        return 0.0
    logs = np.log(runs.loss)
    means = (np.bincount(group, logs) / np.bincount(group))[group]
    return float(np.sqrt(((logs - means) ** 2).sum() / freedom))


def isoflop_holdout(runs: RunSet, level: float, seed: int, seed_noise: float) -> Holdout:
    """L*(C) of the smaller budgets against the minimum of the next one's parabola."""

    def forecast(train: RunSet, held_out: RunSet) -> Prediction:
        law = fit_isoflop(train, level, _HOLDOUT_REPLICATES, seed, seed_noise)
        if law.frontier is None:
            raise FitError("; ".join(law.problems))
        curve = fit_parabola(held_out, np.arange(len(held_out)))
        value, draws = law.frontier.log_loss(curve.flops)
        error = value - np.log(curve.loss_opt)
        noise = law.noise * np.sqrt(curve.minimum_leverage)
        return Prediction(np.array([error]), draws[:, None], float(noise), float(error))

    return rolling(runs, forecast, least_groups=MIN_BUDGETS_OF_FRONTIER)
