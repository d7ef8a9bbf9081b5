"""Approach 1 of Hoffmann et al. 2022: the minimum over training curves."""

import dataclasses

import numpy as np

from scaling.laws.approaches.curves import Curves
from scaling.laws.approaches.frontier import PowerLawFit, fit_frontier
from scaling.laws.approaches.line import LineFit
from scaling.laws.approaches.optimum_lines import OptimumLines
from scaling.laws.fitting.point_fit import FitError
from scaling.laws.table.runs import RunSet
from scaling.laws.uncertainty.bootstrap import Bootstrap, case_weights

GRID = 1500  # values of C, as in the paper
MIN_STRETCHES = 3  # a line through two has nothing to check it
KNOWN_WEAKNESSES = (
    "a checkpoint inside a learning-rate decay lies above a run whose decay ends there, the more so"
    " the earlier: crossings of such curves are shifted; use runs of many lengths, or a constant rate",
    "the minimum of noisy curves is low: smooth training losses first, or give evaluation losses",
)


@dataclasses.dataclass(frozen=True)
class Stretch:
    """The compute over which one size is the best of all: from, to, and its middle.

    flops: geometric middle, where this size is taken for N*(C). n_tokens: of the winning curve,
    geometric mean over the stretch. loss: of the winning curve at the middle. points: of the grid.
    """

    n_params: float
    flops: float
    n_tokens: float
    loss: float
    flops_from: float
    flops_to: float
    points: int

    def to_json(self) -> dict:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class EnvelopeFit(OptimumLines):
    """The lower envelope of loss against C, and power laws N*(C), D*(C) through its stretches.

    kind: what a curve is, "run" or "size" (`curves.Curves`). used: share of the range of log C
    that lies in a stretch of known beginning and end. problems: what was left out and why.
    frontier: L*(C), or None.
    """

    stretches: tuple[Stretch, ...]
    problems: tuple[str, ...]
    kind: str
    n_curves: int
    used: float
    n_opt: LineFit
    d_opt: LineFit
    frontier: PowerLawFit | None
    bootstrap: Bootstrap
    level: float
    runs: RunSet
    law: str = "envelope"

    def lines(self) -> list[str]:
        """For people: the stretches, the exponents, what to beware of."""
        out = [f"approach 1: {self.n_curves} curves, one a {self.kind}; {len(self.stretches)} sizes are"
               f" the best one over a whole stretch, {self.used:.0%} of the range of C",
               "  best from        to           N            D            loss"]
        out += [f"  {s.flops_from:<12.3g} {s.flops_to:<12.3g} {s.n_params:<12.3g}"
                f" {s.n_tokens:<12.3g} {s.loss:.4f}" for s in self.stretches]
        for name, line in (("N*", self.n_opt), ("D*", self.d_opt)):
            low, high = line.to_json()["intervals"]["exponent"]
            out.append(f"{name} ~ C^{line.exponent:.3f} ({low:.3f} to {high:.3f} at {self.level:.0%})")
        return out + [f"  beware: {weakness}" for weakness in KNOWN_WEAKNESSES]

    def to_json(self) -> dict:
        return {
            "law": self.law,
            "curves": {"kind": self.kind, "count": self.n_curves, "used": self.used},
            "stretches": [s.to_json() for s in self.stretches],
            "problems": list(self.problems),
            "known_weaknesses": list(KNOWN_WEAKNESSES),
            "exponents": self.exponents,
            "n_opt": self.n_opt.to_json(),
            "d_opt": self.d_opt.to_json(),
            "frontier": self.frontier.to_json() if self.frontier else None,
            "level": self.level,
            "n_points": len(self.runs),
            "dropped": list(self.runs.dropped),
            "notes": list(self.runs.notes),
            "bootstrap": self.bootstrap.to_json(),
            "data_hash": self.runs.data_hash,
        }


def fit_envelope(
    runs: RunSet, level: float = 0.9, bootstrap: int = 1000, seed: int = 0, points: int = GRID
) -> EnvelopeFit:
    """Fits approach 1.

    A curve is a run with several rows (checkpoints of one run_id). In a table whose runs have one
    row each, a curve is one N with its runs of different lengths, which is free of the first
    weakness below. On `points` values of C, evenly spaced in log C, the lowest curve wins; curves
    are interpolated linearly in logs and never extrapolated.

    Departures from the paper, which regresses log N of the winner on log C over the grid:

    1. A size counts only if its stretch begins and ends where its curve crosses another's. The
       first and the last size win for as long as there is data, and flatten the law; a lead that
       changes because a run ends follows the schedule and not the optimum.
    2. Log N of the winner is a staircase, and a line through all its points is too flat (by
       1 - 1/m^2 for m equal steps). Here each step enters once, at its middle, weighted by its
       length.
    3. Sizes are chosen; the compute at which each is best is what was measured. So log C is
       regressed on log N, and the line inverted, which noise flattens less.

    Intervals come from resampling whole curves, so that checkpoints are never taken for
    independent runs. They include the luck of the ladder (which sizes were tried).

    `KNOWN_WEAKNESSES` are in `to_json`. Noise that exceeds the differences between neighbouring
    sizes still flattens the exponent: with a fine ladder approaches 2 and 3 are better.

    Raises `FitError` without curves, without sizes that overlap, or with fewer than 3 whole
    stretches.
    """
    curves = Curves.of(runs, points)
    winner = curves.lowest(np.ones((1, len(curves)), bool))
    steps = _steps(curves, winner)
    stretches = _stretches(curves, winner[0], steps)
    if len(stretches) < MIN_STRETCHES:
        raise FitError(
            f"envelope: {len(stretches)} of {len(curves.sizes)} sizes take and lose the lead inside"
            f" the data, {MIN_STRETCHES} needed: train small models for longer, or more sizes"
        )
    lines, _ = _lines(curves, steps)
    drawn = case_weights(np.arange(len(curves)), bootstrap, seed) > 0
    winners = curves.lowest(drawn)
    draws, good = _lines(curves, _steps(curves, winners))
    record = Bootstrap.of("envelope", f"whole curves, one a {curves.kind}", good, seed)
    x0 = float(np.exp(curves.log_flops.mean()))
    n_opt, d_opt = (LineFit(x0, *map(float, lines[0, i]), draws[good, i], level) for i in (0, 1))
    used = sum(s.points for s in stretches) / points
    problems = [f"{1 - used:.0%} of the range of C left out: its best size has no beginning or no"
                " end there"]
    frontier = None
    try:
        frontier = _frontier(curves, stretches, winners[good], level, seed)
    except FitError as problem:
        problems.append(f"L*(C): {problem}")
    return EnvelopeFit(stretches, tuple(problems), curves.kind, len(curves), used, n_opt, d_opt,
                       frontier, record, level, runs)


def _steps(curves: Curves, winner: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points won by each size, and means of log C and log D over them; each (replicates, sizes).

    A size with a step of unknown length (one that does not begin and end by a crossing) has no
    points.
    """
    shape = len(winner), len(curves.sizes)
    size = curves.size[winner]
    key = np.arange(shape[0])[:, None] * shape[1] + size
    grid = np.arange(winner.shape[1])

    def per_size(key, value):
        value = np.broadcast_to(value, key.shape)
        return np.bincount(key.ravel(), value.ravel(), shape[0] * shape[1]).reshape(shape)

    won = winner >= 0
    count = per_size(key, won)
    x = per_size(key, won * curves.log_flops) / np.maximum(count, 1)
    log_d = per_size(key, won * curves.log_tokens[winner, grid]) / np.maximum(count, 1)
    torn = (size[:, 1:] != size[:, :-1]) & ~curves.crossings(winner)
    torn |= won[:, 1:] != won[:, :-1]
    ends = np.ones((shape[0], 1), bool)
    cut = per_size(key, np.hstack([ends, torn]) | np.hstack([torn, ends]))
    return np.where(cut > 0, 0, count), x, log_d


def _lines(curves: Curves, steps: tuple[np.ndarray, np.ndarray, np.ndarray]):
    """N*(C) and D*(C) as lines: (replicates, 2, 2) [log at the grid's middle, slope]; which exist.

    log C and log D are regressed on log N, and C eliminated.
    """
    count, x, log_d = steps
    log_n = np.log(curves.sizes)
    total = np.maximum(count.sum(axis=1), 1)
    mean = count @ log_n / total
    centred = log_n - mean[:, None]
    spread = (count * centred**2).sum(axis=1)
    good = (count > 0).sum(axis=1) >= 2
    spread = np.where(good, spread, 1.0)
    (c, c_slope), (d, d_slope) = (
        ((count * y).sum(axis=1) / total, (count * centred * y).sum(axis=1) / spread)
        for y in (x, log_d)
    )
    good &= c_slope > 0
    slope = 1 / np.where(good, c_slope, 1.0)
    step = curves.log_flops.mean() - c
    lines = [[mean + slope * step, slope], [d + d_slope * slope * step, d_slope * slope]]
    return np.moveaxis(np.array(lines), 2, 0), good


def _stretches(curves: Curves, winner: np.ndarray, steps) -> tuple[Stretch, ...]:
    count, x, log_d = (v[0] for v in steps)
    stretches = []
    for s in np.flatnonzero(count):
        won = np.flatnonzero(curves.size[winner] == s)
        middle = won[np.argmin(np.abs(curves.log_flops[won] - x[s]))]
        stretches.append(Stretch(
            n_params=float(curves.sizes[s]),
            flops=float(np.exp(x[s])),
            n_tokens=float(np.exp(log_d[s])),
            loss=float(np.exp(curves.log_loss[winner[middle], middle])),
            flops_from=float(np.exp(curves.log_flops[won[0]])),
            flops_to=float(np.exp(curves.log_flops[won[-1]])),
            points=int(count[s]),
        ))
    return tuple(stretches)


def _frontier(
    curves: Curves, stretches: tuple[Stretch, ...], winners: np.ndarray, level: float, seed: int
) -> PowerLawFit:
    """L*(C) through the envelope at the middles of its stretches, where N is N*(C)."""
    flops = np.array([s.flops for s in stretches])
    at = np.abs(curves.log_flops - np.log(flops)[:, None]).argmin(axis=1)
    reached = (winners[:, at] >= 0).all(axis=1)
    losses = np.exp(curves.log_loss[winners[reached][:, at], at])
    return fit_frontier(flops, np.array([s.loss for s in stretches]), losses, level, seed)
