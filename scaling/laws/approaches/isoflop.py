"""Approach 2 of Hoffmann et al. 2022: a parabola of loss in log N per budget, then power laws."""

import dataclasses

import numpy as np

from scaling.laws.approaches.budgets import budgets_within
from scaling.laws.approaches.frontier import PowerLawFit, fit_frontier
from scaling.laws.approaches.line import LineFit
from scaling.laws.approaches.optimum_lines import OptimumLines
from scaling.laws.approaches.parabola import Parabola, fit_parabola
from scaling.laws.fitting.point_fit import FitError
from scaling.laws.table.runs import RunSet
from scaling.laws.uncertainty.bootstrap import Bootstrap, clusters, residual_draws

MIN_BUDGETS_OF_FRONTIER = 3
_CHAIN = 1.25  # a planned sweep misses its budget by a few percent
_CHAINED_TOLERANCE = 0.1
_MOST_CHAINED = 5000
KNOWN_NOISE = 1_000_000  # degrees of freedom of a noise that is given: normal, not Student's t


@dataclasses.dataclass(frozen=True)
class IsoflopFit(OptimumLines):
    """Minima per budget, N*(C) and D*(C) as lines in logs, L*(C) as a power law with offset.

    problems: why budgets were refused. frontier is None with fewer than 3 usable budgets.
    noise: run-to-run standard deviation of the log loss about the parabolas, with its degrees of
    freedom (KNOWN_NOISE where it was given and not measured).
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

    def off_optimum(self, n_params: float, flops: float) -> float:
        """Nats lost by training N instead of N*(C), by the parabolas' mean curvature."""
        curvature = float(np.mean([b.curvature for b in self.budgets]))
        return curvature * float(np.log(n_params / self.n_opt.at(flops)[0]) ** 2)

    def reaches(self, n_params: float, flops: float) -> bool:
        """Whether N lies as near to N*(C) as some size of a profile lies to its minimum."""
        sampled = max(float(np.abs(np.log(b.n_params / b.n_opt)).max()) for b in self.budgets)
        return abs(float(np.log(n_params / self.n_opt.at(flops)[0]))) <= sampled

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
    runs: RunSet,
    level: float = 0.9,
    bootstrap: int = 1000,
    seed: int = 0,
    seed_noise: float = 0.0,
    tolerance: float | None = None,
) -> IsoflopFit:
    """Fits approach 2.

    tolerance: a number groups runs whose FLOPs differ by less than it (`budgets_within`). None takes
    the table's own budgets, unless runs between them chain several into one, as in digitised tables:
    a budget that spans more than 25% of compute; then it is 0.1, and `problems` says so.

    A budget is refused, and listed, if it has fewer than 3 sizes, a concave parabola, or a
    minimum outside its sizes. Intervals come from a residual bootstrap with residuals pooled over
    budgets: sizes are designed, not drawn, and resampling the 5 or 6 runs of a budget leaves too
    often 3 of them or fewer. A replicate refuses budgets by the same rules, and counts as failed
    with fewer than 2. With 3 sizes in every budget there are no residuals: `seed_noise`, the
    run-to-run standard deviation of the log loss, then stands for them, as normal noise.

    Parabolas are biased on any law that is not one; `bias.bias_of` says by how much.
    Raises `FitError` with fewer than 2 usable budgets, or without noise to see.
    """
    regrouped = tolerance is None and _chained(runs)
    if regrouped:
        tolerance = _CHAINED_TOLERANCE
    if tolerance is not None:
        runs = dataclasses.replace(runs, budgets=budgets_within(runs.flops, tolerance))
    parabolas, problems = usable_parabolas(runs)
    if regrouped:
        problems.append("no gaps in compute between budgets: runs within"
                        f" {_CHAINED_TOLERANCE:.0%} of each other make one")
    outside = int((runs.budgets < 0).sum())
    if outside:
        problems.append(f"{outside} of {len(runs)} runs share a budget (within {tolerance:.3g}) with"
                        " fewer than 3 others")
    draws, noise, freedom = _noise(parabolas, runs, bootstrap, seed, seed_noise)
    ends = np.cumsum([len(p.rows) for p in parabolas])[:-1]
    minima = [p.resampled_minima(part)
              for p, part in zip(parabolas, np.split(draws, ends, axis=1))]
    n_draws, d_draws, loss_draws, usable = (
        np.stack([getattr(m, f) for m in minima], axis=1) for f in ("n_opt", "d_opt", "loss", "good")
    )
    flops = np.array([p.flops for p in parabolas])
    losses = np.array([p.loss_opt for p in parabolas])
    n_opt, good = _line(flops, np.array([p.n_opt for p in parabolas]), n_draws, usable, level)
    d_opt, _ = _line(flops, np.array([p.d_opt for p in parabolas]), d_draws, usable, level)
    record = Bootstrap.of("isoflop", "residuals pooled over budgets", good, seed)
    frontier = None
    if len(parabolas) < MIN_BUDGETS_OF_FRONTIER:
        problems.append(f"L*(C) with offset needs {MIN_BUDGETS_OF_FRONTIER} usable budgets,"
                        f" there are {len(parabolas)}")
    else:
        try:
            frontier = fit_frontier(flops, losses, loss_draws[good], level, seed)
        except FitError as problem:
            problems.append(f"L*(C): {problem}")
    return IsoflopFit(
        budgets=tuple(parabolas),
        problems=tuple(problems),
        n_opt=n_opt,
        d_opt=d_opt,
        frontier=frontier,
        noise=noise,
        degrees_of_freedom=freedom,
        bootstrap=record,
        level=level,
        runs=runs,
    )


def _chained(runs: RunSet) -> bool:
    if len(runs) > _MOST_CHAINED:  # that many runs are no IsoFLOP sweep, and pairs of them no small matter
        return False
    logs = np.log(runs.flops)
    return any(np.ptp(logs[runs.budgets == g]) > np.log(_CHAIN) for g in range(runs.n_budgets))


def usable_parabolas(runs: RunSet) -> tuple[list[Parabola], list[str]]:
    """The budgets' curves, and why the others were refused. Raises `FitError` with fewer than 2."""
    parabolas, problems = [], []
    for group in range(runs.n_budgets):
        try:
            parabolas.append(fit_parabola(runs, np.flatnonzero(runs.budgets == group)))
        except FitError as problem:
            problems.append(str(problem))
    if len(parabolas) < 2:
        raise FitError(
            f"isoflop: {len(parabolas)} of {runs.n_budgets} budgets usable, 2 needed"
            + (f": {'; '.join(problems[:4])}" if problems else "")
        )
    return parabolas, problems


def _noise(
    parabolas: list[Parabola], runs: RunSet, bootstrap: int, seed: int, seed_noise: float
) -> tuple[np.ndarray, float, int]:
    """Noise to add to the parabolas (replicates, points) in nats, its size, its freedom."""
    rows = np.concatenate([p.rows for p in parabolas])
    ids = clusters(tuple(runs.run_ids[i] for i in rows))
    freedom = len(rows) - 3 * len(parabolas)
    if freedom < 1:
        if seed_noise <= 0:
            raise FitError("isoflop: 3 sizes in every budget leave no noise to see; 4 are needed"
                           " in at least one")
        normal = np.random.default_rng(seed).normal(size=(bootstrap, int(ids.max()) + 1))
        return normal[:, ids] * seed_noise * runs.loss[rows], seed_noise, KNOWN_NOISE
    residuals = np.concatenate([p.residuals for p in parabolas])
    leverage = np.concatenate([p.leverage for p in parabolas])
    draws = residual_draws(residuals, leverage, freedom, ids, bootstrap, seed)
    mean_loss = np.mean([p.loss_opt for p in parabolas])
    deviation = float(np.sqrt((residuals**2).sum() / freedom) / mean_loss)
    return draws, max(deviation, seed_noise), freedom


def _line(
    flops: np.ndarray, best: np.ndarray, replicates: np.ndarray, usable: np.ndarray, level: float
) -> tuple[LineFit, np.ndarray]:
    """The line through the minima, and which replicates have one.

    best (budgets,); replicates, usable (replicates, budgets): a replicate refuses a budget as the
    fit itself would, and draws its line through the others, at least two.
    """
    x = np.log(flops)
    x0 = x.mean()
    y = np.log(np.concatenate([best[None], replicates]))
    w = np.concatenate([np.ones((1, len(x))), usable])
    total = np.maximum(w.sum(axis=1), 1)
    mean = w @ x / total
    centred = w * (x - mean[:, None])
    spread = (centred * (x - mean[:, None])).sum(axis=1)
    good = (w.sum(axis=1) >= 2) & (spread > 0)
    slope = (centred * y).sum(axis=1) / np.where(good, spread, 1.0)
    value = (w * y).sum(axis=1) / total + slope * (x0 - mean)
    draws = np.stack([value, slope], axis=1)[1:][good[1:]]
    return LineFit(float(np.exp(x0)), float(value[0]), float(slope[0]), draws, level), good[1:]
