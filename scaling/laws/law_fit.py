"""Any law of the library, fitted to runs: parameters with intervals, predictions, allocation."""

import dataclasses
import functools

import numpy as np

from scaling.errors import UserError
from scaling.laws.allocation import FlopsRelation
from scaling.laws.approaches.parabola import fit_parabola
from scaling.laws.fitting.point_fit import STARTS, FitError, PointFit, fit_form
from scaling.laws.forms.grammar import Form, SumOfPowers
from scaling.laws.holdout import Holdout, rolling
from scaling.laws.holdout import Prediction as HeldOut
from scaling.laws.prediction import Prediction, new_run, predicted
from scaling.laws.table.checks import in_range
from scaling.laws.table.runs import RunSet
from scaling.laws.uncertainty.bootstrap import Bootstrap, clusters, interval
from scaling.laws.uncertainty.identifiability import Identifiability, identifiability
from scaling.laws.uncertainty.influence import RunInfluence, influence
from scaling.laws.uncertainty.model_error import NO_MODEL_ERROR, ModelError
from scaling.laws.uncertainty.resampling import DEFAULT, resample

# Starts and replicates of a fold's fit; those of a law that is no sum of powers cost a hundred times more.
_FOLD_OF_SUM = (32, 100)
_FOLD_OF_SMOOTH = (8, 40)
_MOST_LEFT_OUT = 2000


@dataclasses.dataclass(frozen=True)
class LawFit:
    """A law, and what the bootstrap over runs says of it.

    draws: (replicates, p) natural coordinates. relation: C = k N^p D of the runs, None where they have
    no N, D or C. noise: standard deviation of one run's log about the law. holdout: rolling over
    compute, None where it was not asked for or there is no compute to roll over.
    """

    point: PointFit
    draws: np.ndarray
    bootstrap: Bootstrap
    level: float
    seed: int
    runs: RunSet
    relation: FlopsRelation | None
    noise: float
    holdout: Holdout | None
    notes: tuple[str, ...]

    @property
    def form(self) -> Form:
        return self.point.form

    @property
    def law(self) -> str:
        return self.form.name

    @property
    def params(self) -> dict[str, float]:
        return self.point.params

    @property
    def intervals(self) -> dict[str, list[float]]:
        values = self.form.values(self.draws)
        return {name: interval(values[:, i], self.level) for i, name in enumerate(self.form.names)}

    @functools.cached_property
    def identifiability(self) -> dict[str, Identifiability]:
        """How well these runs determine each parameter: profile likelihood and bootstrap together."""
        return identifiability(self.point, self.draws, clusters(self.runs.run_ids), self.level)

    @functools.cached_property
    def influence(self) -> tuple[RunInfluence, ...]:
        """What leaving out each run would change; flags outliers, removes nothing. Empty with more than
        2,000 runs, of which none can move the law by itself."""
        if len(set(self.runs.run_ids)) > _MOST_LEFT_OUT:
            return ()
        return influence(self.point, self.draws, clusters(self.runs.run_ids), self.runs.run_ids)

    def review(self) -> dict:
        """What a reviewer would ask beyond `to_json`, which takes refits: `identifiability` by parameter,
        and under `influence` the runs that stand out or that the law leans on."""
        return {
            "identifiability": {k: v.to_json() for k, v in self.identifiability.items()},
            "influence": [r.to_json() for r in self.influence if r.words],
        }

    @property
    def degrees_of_freedom(self) -> int:
        return self.point.degrees_of_freedom

    def log_value(self, at: dict[str, float]) -> tuple[float, np.ndarray]:
        """Log of the law at one point, and of each replicate's law there, (replicates,)."""
        missing = [name for name in self.form.columns if name not in at]
        if missing:
            raise UserError(f"{self.law}: a prediction needs {', '.join(missing)}; its columns:"
                            f" {', '.join(self.form.columns)}")
        columns = {name: np.array([float(at[name])]) for name in self.form.columns}
        both = self.form.log_value(np.concatenate([self.point.theta[None], self.draws]), columns)[:, 0]
        if not np.isfinite(both[0]):
            raise UserError(f"{self.law}: no value at "
                            + ", ".join(f"{k} = {v:g}" for k, v in at.items()))
        return float(both[0]), both[1:][np.isfinite(both[1:])]

    def log_loss(self, n_params: float, n_tokens: float) -> tuple[float, np.ndarray]:
        """`log_value` of a law of N and D."""
        return self.log_value({"n_params": n_params, "n_tokens": n_tokens})

    def loss(self, n_params: float, n_tokens: float) -> float:
        """Nats per token at (N, D)."""
        return float(np.exp(self.log_loss(n_params, n_tokens)[0]))

    def predict(self, at: dict[str, float]) -> Prediction:
        """The law at given columns, with intervals; beyond the runs' compute with the model error that
        the rolling hold-out shows. Raises `UserError` if a column of the law is missing."""
        for name, value in at.items():
            if not in_range(name, value):
                raise UserError(f"{name} = {value:g}: expected a positive number")
        value, draws = self.log_value(at)
        new = new_run(draws, self.noise, self.degrees_of_freedom, *self.model_error(at), self.seed)
        return predicted(at, self.form.target, value, draws, new, self.level)

    def model_error(self, at: dict[str, float]) -> tuple[ModelError, float]:
        """How far the law's form may be off, and e-folds of compute beyond the runs at given columns."""
        if self.holdout is None or self.relation is None:
            return NO_MODEL_ERROR, 0.0
        flops = at.get("flops")
        if flops is None and {"n_params", "n_tokens"} <= at.keys():
            flops = self.relation.flops(at["n_params"], at["n_tokens"])
        if flops is None:
            return NO_MODEL_ERROR, 0.0
        return self.holdout.model_error, float(np.log(flops / self.runs.flops.max()))

    def optimal(self, flops: float) -> dict:
        """n_opt, d_opt at C with intervals, the loss there and its interval."""
        n_opt, d_opt = (float(v) for v in self._allocation(self.point.theta, flops))
        n_draws, d_draws = self._allocation(self.draws, flops)
        log_loss, draws = self.log_loss(n_opt, d_opt)
        return {
            "flops": float(flops),
            "n_opt": n_opt,
            "n_opt_interval": interval(n_draws, self.level),
            "d_opt": d_opt,
            "d_opt_interval": interval(d_draws, self.level),
            "loss": float(np.exp(log_loss)),
            "interval": interval(np.exp(draws), self.level),
        }

    @property
    def allocates(self) -> bool:
        """Whether the law knows a compute-optimal N and D."""
        return self.form.allocation is not None and self.relation is not None

    def _allocation(self, theta: np.ndarray, flops: float):
        if not self.allocates:
            raise UserError(f"{self.law}: no compute-optimal N and D: no law of n_params and n_tokens")
        return self.form.allocation(theta, flops, self.relation)

    @property
    def exponents(self) -> dict:
        """Exponents of N*(C), D*(C) at the runs' largest C, under their FLOPs convention."""
        at = float(self.runs.flops.max())
        answer = {}
        for name, which in (("n_opt", 0), ("d_opt", 1)):
            slope = lambda theta: np.log(  # noqa: E731
                self._allocation(theta, at * 1.1)[which] / self._allocation(theta, at)[which]
            ) / np.log(1.1)
            answer[name] = float(slope(self.point.theta))
            answer[f"{name}_interval"] = interval(slope(self.draws), self.level)
        return answer

    def to_json(self) -> dict:
        loss = self.point.loss
        return {
            "law": self.law,
            "formula": self.form.formula,
            "source": self.form.source,
            "params": self.params,
            "intervals": self.intervals,
            "level": self.level,
            "objective": self.point.objective,
            "objective_name": loss.name,
            "delta": loss.delta if np.isfinite(loss.delta) else None,
            "n_points": len(self.runs),
            "dropped": list(self.runs.dropped),
            "notes": [*self.runs.notes, *self.notes],
            "receipt": self.point.receipt.to_json(),
            "holdout": None if self.holdout is None else self.holdout.to_json(),
            "noise": {"log_loss": self.noise, "degrees_of_freedom": self.degrees_of_freedom},
            "bootstrap": self.bootstrap.to_json(),
            "exponents": self.exponents if self.allocates else None,
            "flops_relation": self.relation.to_json() if self.relation else None,
            "data_hash": self.runs.data_hash,
        }


def columns_of(form: Form, runs: RunSet) -> dict[str, np.ndarray]:
    """The form's columns from the runs, each (points,). Raises `UserError` if one is missing."""
    return {name: runs.column(name) for name in form.columns}


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
    point = fit_form(
        form, columns_of(form, runs), runs.loss, delta, starts, seed,
        objective=objective or form.objective, weights=runs.weight,
        standard_error=runs.standard_error,
    )
    if point.degrees_of_freedom < 1:
        raise FitError(f"{form.name}: {len(runs)} points for {len(form.names)} parameters leave no"
                       " noise to see")
    if method is None:
        method = DEFAULT if point.loss.over == 1.0 else "cases"
    resamples = resample(point, clusters(runs.run_ids), method, bootstrap, seed, seed_noise)
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
        holdout=folds,
        notes=(*_notes(point, runs), *([folds.caution] if folds and folds.caution else [])),
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
    starts, replicates = _FOLD_OF_SUM if isinstance(form, SumOfPowers) else _FOLD_OF_SMOOTH

    def forecast(train: RunSet, held_out: RunSet) -> HeldOut:
        law = fit_law(form, train, level, replicates, seed, delta, objective, starts, seed_noise,
                      holdout=False)
        columns = columns_of(form, held_out)
        both = form.log_value(np.concatenate([law.point.theta[None], law.draws]), columns)
        errors = both[0] - np.log(held_out.loss)
        if not np.isfinite(errors).all():
            raise FitError(f"{form.name}: no value at the held-out runs")
        draws = both[1:][np.isfinite(both[1:]).all(axis=1)]
        return HeldOut(errors, draws, law.noise, _error_at_minimum(law, held_out))

    return rolling(runs, forecast, least_groups=2)


def _error_at_minimum(law: LawFit, held_out: RunSet) -> float | None:
    """The law's log loss at the minimum of the held-out budget's parabola, minus the parabola's."""
    if set(law.form.columns) != {"n_params", "n_tokens"}:
        return None
    try:
        curve = fit_parabola(held_out, np.arange(len(held_out)))
    except FitError:
        return None
    return law.log_loss(curve.n_opt, curve.d_opt)[0] - float(np.log(curve.loss_opt))
