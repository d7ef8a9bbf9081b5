"""Any law of the library, fitted to runs: parameters with intervals, predictions, allocation."""

import dataclasses
import functools

import numpy as np

from scaling.errors import UserError
from scaling.laws.allocation import FlopsRelation
from scaling.laws.fitting.point_fit import PointFit
from scaling.laws.forms.grammar import Form
from scaling.laws.holdout import Holdout
from scaling.laws.prediction import Prediction, new_run, predicted
from scaling.laws.table.checks import in_range
from scaling.laws.table.runs import RunSet
from scaling.laws.uncertainty.bootstrap import Bootstrap, clusters, interval
from scaling.laws.uncertainty.identifiability import Identifiability, identifiability
from scaling.laws.uncertainty.influence import RunInfluence, influence
from scaling.laws.uncertainty.model_error import NO_MODEL_ERROR, ModelError
from scaling.laws.uncertainty.noise_trend import NoiseTrend

_MOST_LEFT_OUT = 2000


@dataclasses.dataclass(frozen=True)
class LawFit:
    """A law, and what the bootstrap over runs says of it.

    draws: (replicates, p) natural coordinates. relation: C = k N^p D of the runs, None where they have
    no N, D or C. noise: standard deviation of one run's log about the law, over all runs; trend: of it
    along compute. seed_noise: what was given as its floor. holdout: rolling over compute, None where it
    was not asked for or there is no compute to roll over.
    """

    point: PointFit
    draws: np.ndarray
    bootstrap: Bootstrap
    level: float
    seed: int
    runs: RunSet
    relation: FlopsRelation | None
    noise: float
    trend: NoiseTrend
    seed_noise: float
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
        flops = self._flops(at)
        noise = self.noise if flops is None else self.noise_at(flops)
        new = new_run(draws, noise, self.degrees_of_freedom, *self.model_error(at), self.seed)
        return predicted(at, self.form.target, value, draws, new, self.level)

    def noise_at(self, flops: float) -> float:
        """Standard deviation of a run's log at some compute; beyond the runs as at the last of them."""
        return max(self.noise * float(self.trend.at(np.log(flops))), self.seed_noise)

    def _flops(self, at: dict[str, float]) -> float | None:
        """Compute of a run with given columns, None where they do not tell it."""
        if self.relation is None:
            return None
        if at.get("flops") is None and {"n_params", "n_tokens"} <= at.keys():
            return self.relation.flops(at["n_params"], at["n_tokens"])
        return at.get("flops")

    def model_error(self, at: dict[str, float]) -> tuple[ModelError, float]:
        """How far the law's form may be off, and e-folds of compute beyond the runs at given columns."""
        flops = self._flops(at)
        if self.holdout is None or flops is None:
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
            "noise": {"log_loss": self.noise, "degrees_of_freedom": self.degrees_of_freedom,
                      "per_efold": self.trend.per_efold},
            "bootstrap": self.bootstrap.to_json(),
            "exponents": self.exponents if self.allocates else None,
            "flops_relation": self.relation.to_json() if self.relation else None,
            "data_hash": self.runs.data_hash,
        }


def columns_of(form: Form, runs: RunSet) -> dict[str, np.ndarray]:
    """The form's columns from the runs, each (points,). Raises `UserError` if one is missing."""
    return {name: runs.column(name) for name in form.columns}
