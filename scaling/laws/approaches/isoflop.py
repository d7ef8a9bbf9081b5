"""Approach 2 of Hoffmann et al. 2022: a parabola of loss in log N per budget, then power laws."""

import dataclasses

import numpy as np

from scaling.laws.approaches.parabola import Parabola, fit_parabola
from scaling.laws.approaches.powerlaw import LineFit, PowerLawFit, fit_frontier
from scaling.laws.fitting.point_fit import FitError
from scaling.laws.runs import RunSet
from scaling.laws.uncertainty.bootstrap import Bootstrap, clusters, interval, residual_draws

MIN_BUDGETS_OF_FRONTIER = 3


@dataclasses.dataclass(frozen=True)
class IsoflopFit:
    """Minima per budget, N*(C) and D*(C) as lines in logs, L*(C) as a power law with offset.

    problems: why budgets were refused. frontier is None with fewer than 3 usable budgets.
    noise: run-to-run standard deviation of the log loss about the parabolas.
    """

    budgets: tuple[Parabola, ...]
    problems: tuple[str, ...]
    n_opt: LineFit
    d_opt: LineFit
    frontier: PowerLawFit | None
    noise: float
    degrees_of_freedom: int
    bootstrap: Bootstrap
    level: float
    runs: RunSet
    law: str = "isoflop"

    def optimal(self, flops: float) -> dict:
        """n_opt, d_opt at C with intervals, and L*(C) with its interval where there is one."""
        n, n_interval = self.n_opt.at(flops)
        d, d_interval = self.d_opt.at(flops)
        answer = {
            "flops": float(flops),
            "n_opt": n,
            "n_opt_interval": n_interval,
            "d_opt": d,
            "d_opt_interval": d_interval,
        }
        if self.frontier is not None:
            log_loss, draws = self.frontier.log_loss(flops)
            answer["loss"] = float(np.exp(log_loss))
            answer["interval"] = interval(np.exp(draws), self.level)
        return answer

    def off_optimum(self, n_params: float, flops: float) -> float:
        """Nats lost by training N instead of N*(C), by the parabolas' mean curvature."""
        curvature = float(np.mean([b.curvature for b in self.budgets]))
        return curvature * float(np.log(n_params / self.n_opt.at(flops)[0]) ** 2)

    def reaches(self, n_params: float, flops: float) -> bool:
        """Whether N lies as near to N*(C) as some size of a profile lies to its minimum."""
        sampled = max(float(np.abs(np.log(b.n_params / b.n_opt)).max()) for b in self.budgets)
        return abs(float(np.log(n_params / self.n_opt.at(flops)[0]))) <= sampled

    @property
    def exponents(self) -> dict:
        n, d = self.n_opt.to_json(), self.d_opt.to_json()
        return {
            "n_opt": n["params"]["exponent"],
            "n_opt_interval": n["intervals"]["exponent"],
            "d_opt": d["params"]["exponent"],
            "d_opt_interval": d["intervals"]["exponent"],
        }

    def to_json(self) -> dict:
        return {
            "law": self.law,
            "budgets": [b.to_json() for b in self.budgets],
            "problems": list(self.problems),
            "exponents": self.exponents,
            "n_opt": self.n_opt.to_json(),
            "d_opt": self.d_opt.to_json(),
            "frontier": self.frontier.to_json() if self.frontier else None,
            "level": self.level,
            "n_points": len(self.runs),
            "dropped": list(self.runs.dropped),
            "notes": list(self.runs.notes),
            "noise": {"log_loss": self.noise, "degrees_of_freedom": self.degrees_of_freedom},
            "bootstrap": self.bootstrap.to_json(),
            "data_hash": self.runs.data_hash,
        }


def fit_isoflop(
    runs: RunSet, level: float = 0.9, bootstrap: int = 1000, seed: int = 0, seed_noise: float = 0.0
) -> IsoflopFit:
    """Fits approach 2.

    A budget is refused, and listed, if it has fewer than 3 sizes, a concave parabola, or a
    minimum outside its sizes. Intervals come from a residual bootstrap with residuals pooled over
    budgets: sizes are designed, not drawn, and resampling the 5 or 6 runs of a budget leaves too
    often 3 of them or fewer. Replicates with a concave or edge parabola count as failed.
    Raises `FitError` with fewer than 2 usable budgets.
    """
    accepted, problems = [], []
    for group in range(runs.n_budgets):
        try:
            accepted.append((group, fit_parabola(runs, np.flatnonzero(runs.budgets == group))))
        except FitError as problem:
            problems.append(str(problem))
    if len(accepted) < 2:
        raise FitError(
            f"isoflop: {len(accepted)} of {runs.n_budgets} budgets usable, 2 needed"
            + (f": {'; '.join(problems[:4])}" if problems else "")
        )
    parabolas = [parabola for _, parabola in accepted]
    rows = np.concatenate([p.rows for p in parabolas])
    residuals = np.concatenate([p.residuals for p in parabolas])
    freedom = len(rows) - 3 * len(parabolas)
    if freedom < 1:
        raise FitError("isoflop: 3 sizes in every budget leave no noise to see; 4 are needed"
                       " in at least one")
    leverage = np.concatenate([p.leverage for p in parabolas])
    ids = clusters(tuple(runs.run_ids[i] for i in rows))
    noise_draws = residual_draws(residuals, leverage, freedom, ids, bootstrap, seed)
    begin, minima = 0, []
    for parabola in parabolas:
        part = noise_draws[:, begin : begin + len(parabola.rows)]
        minima.append(parabola.resampled_minima(part))
        begin += len(parabola.rows)
    good = np.all([m.good for m in minima], axis=0)
    record = Bootstrap.of("isoflop", "residuals pooled over budgets", good, seed)
    n_draws, d_draws, loss_draws = (
        np.stack([getattr(m, f)[good] for m in minima], axis=1) for f in ("n_opt", "d_opt", "loss")
    )
    flops = np.array([p.flops for p in parabolas])
    losses = np.array([p.loss_opt for p in parabolas])
    frontier = None
    if len(parabolas) < MIN_BUDGETS_OF_FRONTIER:
        problems.append(f"L*(C) with offset needs {MIN_BUDGETS_OF_FRONTIER} usable budgets,"
                        f" there are {len(parabolas)}")
    else:
        try:
            frontier = fit_frontier(flops, losses, loss_draws, level, seed)
        except FitError as problem:
            problems.append(f"L*(C): {problem}")
    return IsoflopFit(
        budgets=tuple(parabolas),
        problems=tuple(problems),
        n_opt=LineFit.of(flops, np.array([p.n_opt for p in parabolas]), n_draws, level),
        d_opt=LineFit.of(flops, np.array([p.d_opt for p in parabolas]), d_draws, level),
        frontier=frontier,
        noise=max(float(np.sqrt((residuals**2).sum() / freedom) / losses.mean()), seed_noise),
        degrees_of_freedom=freedom,
        bootstrap=record,
        level=level,
        runs=runs,
    )
