"""Fits a law of the library to runs: point fit, resamples, rolling hold-out."""


import numpy as np

from scaling.laws.allocation import FlopsRelation
from scaling.laws.approaches.parabola import fit_parabola
from scaling.laws.fitting.point_fit import STARTS, FitError, PointFit, fit_form
from scaling.laws.forms.grammar import Form, SumOfPowers
from scaling.laws.holdout import Holdout, rolling
from scaling.laws.holdout import Prediction as HeldOut
from scaling.laws.law_fit import LawFit, columns_of
from scaling.laws.table.runs import RunSet
from scaling.laws.uncertainty.bootstrap import clusters
from scaling.laws.uncertainty.noise import measured_noise
from scaling.laws.uncertainty.noise_trend import noise_trend
from scaling.laws.uncertainty.resampling import DEFAULT, resample

# Starts and replicates of a fold's fit; those of a law that is no sum of powers cost a hundred times more.
_FOLD_OF_SUM = (32, 100)
_FOLD_OF_SMOOTH = (8, 40)


def fit_law(
    form: Form,
    runs: RunSet,
    level: float = 0.9,
    bootstrap: int = 1000,
    seed: int = 0,
    delta: float = 1e-3,
    objective: str | None = None,
    starts: int = STARTS,
    seed_noise: float = 0.0,
    holdout: bool = True,
    method: str | None = None,
) -> LawFit:
    """Fits a form; intervals by a bootstrap over runs (rows of one run stay together).

    objective: see `fitting.objectives`; the form's own by default. delta: of the Huber objectives.
    seed_noise: a floor for run-to-run noise, as standard deviation of the log. method: of the
    bootstrap, see `uncertainty.resampling`; by default the one whose coverage is closest to nominal.
    Raises `FitError` if the runs do not determine the law, `UserError` if a column is missing.
    """
    point = fit_point(form, runs, seed, delta, objective, starts)
    if point.degrees_of_freedom < 1:
        raise FitError(f"{form.name}: {len(runs)} points for {len(form.names)} parameters leave no"
                       " noise to see")
    if method is None:
        method = DEFAULT if point.loss.over == 1.0 else "cases"
    of_run, noise = clusters(runs.run_ids), measured_noise(point)
    log_flops = None if runs.flops is None else np.log(runs.flops)
    trend = noise_trend(noise, of_run, log_flops)
    resamples = resample(point, of_run, method, bootstrap, seed, seed_noise, trend.of_rows(log_flops),
                         noise)
    record = resamples.record(form.name)
    has_flops = runs.flops is not None and runs.n_params is not None and runs.n_tokens is not None
    folds = None
    if holdout and runs.flops is not None:
        folds = law_holdout(form, runs, level, seed, delta, objective, seed_noise)
    return LawFit(
        point=point,
        draws=resamples.draws,
        bootstrap=record,
        level=level,
        seed=seed,
        runs=runs,
        relation=FlopsRelation.of(runs.n_params, runs.n_tokens, runs.flops) if has_flops else None,
        noise=max(point.residual_deviation or 0.0, seed_noise),
        trend=trend,
        seed_noise=seed_noise,
        holdout=folds,
        notes=(*_notes(point, runs), *trend.words(), *([folds.caution] if folds and folds.caution else [])),
    )


def fit_point(
    form: Form, runs: RunSet, seed: int = 0, delta: float = 1e-3, objective: str | None = None,
    starts: int = STARTS,
) -> PointFit:
    """The optimum alone; see `fit_law`."""
    return fit_form(
        form, columns_of(form, runs), runs.loss, delta, starts, seed,
        objective=objective or form.objective, weights=runs.weight, standard_error=runs.standard_error,
    )


def _notes(point: PointFit, runs: RunSet):
    for name in point.receipt.at_bound:
        parameter = point.form.parameters[point.form.names.index(name)]
        gone = "is zero" if parameter.kind == "constant" else "has no effect" if (
            parameter.kind == "coefficient") else "is at its bound"
        yield f"{name} {gone} at the optimum ({point.params[name]:.4g})"
    if len(point.receipt.minima) > 1:
        second = point.receipt.minima[1]
        excess = 100 * (second["objective"] / point.objective - 1)
        yield (f"{len(point.receipt.minima)} distinct minima; the second is {excess:.2g}% above: "
               + ", ".join(f"{k} {v:.4g}" for k, v in second["params"].items()))
    if (point.receipt.conditioning or np.inf) > 1e8:
        yield "ill-conditioned: some parameters trade against each other on these runs"
    if runs.n_budgets == 1 and {"n_params", "n_tokens"} <= set(point.form.columns):
        yield ("one budget only: N and D move together in these runs, so that only the form of the law"
               " tells their parts apart")


def law_holdout(
    form: Form, runs: RunSet, level: float, seed: int, delta: float, objective: str | None,
    seed_noise: float,
) -> Holdout:
    """The law on the smaller budgets against every run of the next."""
    starts, replicates = _of_fold(form)

    def forecast(train: RunSet, held_out: RunSet) -> HeldOut:
        law = fit_law(form, train, level, replicates, seed, delta, objective, starts, seed_noise,
                      holdout=False)
        errors, draws = _held_out(form, np.concatenate([law.point.theta[None], law.draws]), held_out)
        noise = law.noise_at(float(train.flops.max()))
        return HeldOut(errors, draws, noise, _error_at_minimum(law, held_out))

    return rolling(runs, forecast, least_groups=2)


def point_holdout(form: Form, runs: RunSet, seed: int, delta: float, objective: str | None) -> Holdout:
    """`law_holdout` without intervals: the errors of its point fits alone."""
    def forecast(train: RunSet, held_out: RunSet) -> HeldOut:
        point = fit_point(form, train, seed, delta, objective, _of_fold(form)[0])
        return HeldOut(*_held_out(form, point.theta[None], held_out), noise=0.0, optimum_error=None)

    return rolling(runs, forecast, least_groups=2)


def _held_out(form: Form, theta: np.ndarray, held_out: RunSet) -> tuple[np.ndarray, np.ndarray]:
    """Errors of the law of the first row of theta (rows, p), and values by those of the others that have
    one everywhere. Raises `FitError` where the first has none."""
    values = form.log_value(theta, columns_of(form, held_out))
    errors = values[0] - np.log(held_out.loss)
    if not np.isfinite(errors).all():
        raise FitError(f"{form.name}: no value at the held-out runs")
    return errors, values[1:][np.isfinite(values[1:]).all(axis=1)]


def _of_fold(form: Form) -> tuple[int, int]:
    return _FOLD_OF_SUM if isinstance(form, SumOfPowers) else _FOLD_OF_SMOOTH


def _error_at_minimum(law: LawFit, held_out: RunSet) -> float | None:
    """The law's log loss at the minimum of the held-out budget's parabola, minus the parabola's."""
    if set(law.form.columns) != {"n_params", "n_tokens"}:
        return None
    try:
        curve = fit_parabola(held_out, np.arange(len(held_out)))
    except FitError:
        return None
    return law.log_loss(curve.n_opt, curve.d_opt)[0] - float(np.log(curve.loss_opt))
