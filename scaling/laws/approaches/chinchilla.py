"""Approach 3 of Hoffmann et al. 2022: L(N, D) = E + A / N^alpha + B / D^beta, on all runs."""

import dataclasses

import numpy as np

from scaling.laws.allocation import FlopsRelation, exponents, optimal
from scaling.laws.fitting.point_fit import FitError, PointFit, fit_form
from scaling.laws.forms.chinchilla import CHINCHILLA
from scaling.laws.runs import RunSet
from scaling.laws.uncertainty.bootstrap import Bootstrap, case_weights, clusters, interval


@dataclasses.dataclass(frozen=True)
class ChinchillaFit:
    """The law, and what the bootstrap over runs says of it.

    draws: (replicates, 5) natural coordinates [log E, log A, log B, alpha, beta].
    noise: standard deviation of one run's log loss about the law, and its degrees of freedom.
    """

    point: PointFit
    draws: np.ndarray
    bootstrap: Bootstrap
    level: float
    runs: RunSet
    relation: FlopsRelation
    noise: float
    law: str = "chinchilla"

    @property
    def params(self) -> dict[str, float]:
        return self.point.params

    @property
    def intervals(self) -> dict[str, list[float]]:
        natural = self.draws.copy()
        natural[:, :3] = np.exp(natural[:, :3])
        return {
            name: interval(natural[:, i], self.level)
            for i, name in enumerate(self.point.form.names)
        }

    @property
    def degrees_of_freedom(self) -> int:
        return self.point.degrees_of_freedom

    def log_loss(self, n_params, n_tokens) -> tuple[float, np.ndarray]:
        """Log of the law at (N, D), and of each replicate's law there, (replicates,)."""
        logs = {"n_params": np.log([float(n_params)]), "n_tokens": np.log([float(n_tokens)])}
        return float(self.point.log_loss(logs)[0]), self.point.form.log_loss(self.draws, logs)[:, 0]

    def loss(self, n_params, n_tokens) -> float:
        """Nats per token at (N, D)."""
        return float(np.exp(self.log_loss(n_params, n_tokens)[0]))

    def optimal(self, flops: float) -> dict:
        """n_opt, d_opt at C with intervals, the loss there and its interval."""
        n_opt, d_opt = (float(v) for v in optimal(self.point.theta, flops, self.relation))
        n_draws, d_draws = optimal(self.draws, flops, self.relation)
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
    def exponents(self) -> dict:
        """Exponents of N*(C), D*(C) under the runs' FLOPs convention, with intervals."""
        n, d = exponents(self.point.theta, self.relation)
        n_draws, d_draws = exponents(self.draws, self.relation)
        return {
            "n_opt": float(n),
            "n_opt_interval": interval(n_draws, self.level),
            "d_opt": float(d),
            "d_opt_interval": interval(d_draws, self.level),
        }

    def to_json(self) -> dict:
        return {
            "law": self.law,
            "source": self.point.form.source,
            "params": self.params,
            "intervals": self.intervals,
            "level": self.level,
            "objective": self.point.objective,
            "delta": self.point.delta,
            "n_points": len(self.runs),
            "dropped": list(self.runs.dropped),
            "notes": list(self.runs.notes),
            "receipt": self.point.receipt.to_json(),
            "noise": {"log_loss": self.noise, "degrees_of_freedom": self.degrees_of_freedom},
            "bootstrap": self.bootstrap.to_json(),
            "exponents": self.exponents,
            "flops_relation": self.relation.to_json(),
            "data_hash": self.runs.data_hash,
        }


def fit_chinchilla(
    runs: RunSet,
    level: float = 0.9,
    bootstrap: int = 1000,
    seed: int = 0,
    delta: float = 1e-3,
    starts: int = 64,
    seed_noise: float = 0.0,
) -> ChinchillaFit:
    """Fits approach 3; intervals by a case bootstrap over runs (rows of one run stay together).

    delta: of the Huber loss, in log loss. seed_noise: a floor for run-to-run noise, as standard
    deviation of the log loss. Raises `FitError` if the runs do not determine the law.
    """
    columns = {"n_params": runs.n_params, "n_tokens": runs.n_tokens}
    point = fit_form(CHINCHILLA, columns, runs.loss, delta, starts, seed)
    if point.degrees_of_freedom < 1:
        raise FitError(f"chinchilla: {len(runs)} points for 5 parameters leave no noise to see")
    weights = case_weights(clusters(runs.run_ids), bootstrap, seed)
    theta, good = point.refit(np.log(runs.loss)[None], weights)
    record = Bootstrap.of("chinchilla", "cases by run", good, seed)
    return ChinchillaFit(
        point=point,
        draws=theta[good],
        bootstrap=record,
        level=level,
        runs=runs,
        relation=FlopsRelation.of(runs.n_params, runs.n_tokens, runs.flops),
        noise=max(point.residual_deviation or 0.0, seed_noise),
    )
