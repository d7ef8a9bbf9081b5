"""Bias meter of approach 2: its error on *this* grid of sizes, without any noise, if a law holds.

A loss along a budget is not a parabola in log N. With t = ln(N / N*) and C = k N^p D, the Chinchilla
law along a budget is, up to a constant and a factor,

    f(t) = exp(-alpha t) / alpha + exp(q t) / q,    q = p beta,

so the vertex of the least-squares parabola depends on alpha, q and the grid in t alone. Centred
grids shift it by about (alpha - q) m4 / (6 m2), the grid's even moments: nothing if alpha = q, the
same at every budget otherwise (exponents are right, N* and D* are not), and quadratic in the
width. A grid off the centre shifts it for any law, and a drift of the centre bends the exponents.
The size of these errors was shown by Open Athena, "Problems with Chinchilla Approach 2" (2026);
the 58% by which approach 2 exceeds approach 3 on Llama 3's points is hardly one of them (the tests
replicate it, and find less than 1% of bias on that grid). Noise adds a bias of its own, of second
order in its size over the curvature, which is not metered.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from scaling.laws.allocation import SIX_N_D, FlopsRelation, exponents, optimal
from scaling.laws.approaches.frontier import fit_frontier
from scaling.laws.approaches.isoflop import MIN_BUDGETS_OF_FRONTIER, IsoflopFit
from scaling.laws.approaches.line import LineFit
from scaling.laws.approaches.parabola import Parabola, parabola_through
from scaling.laws.fitting.point_fit import FitError

TOLERANCE = 1.0  # percent of D*, for the advice on width
RECENTRE = 1.25  # a grid nearer than this factor to N* needs no advice
WIDEST = 64.0  # half-width, as a factor, up to which the advice looks


@dataclasses.dataclass(frozen=True)
class BudgetBias:
    """One budget of the grid. n_law: the law's N*, where its sizes should be centred.

    centre, half_width: the sizes run from centre / half_width to centre * half_width.
    n_bias, loss_bias: of the parabola's minimum, percent of the law's N* and L*; None where
    approach 2 would refuse the budget, with the reason in problem.
    """

    flops: float
    sizes: int
    n_law: float
    centre: float
    half_width: float
    n_bias: float | None
    loss_bias: float | None
    problem: str | None

    @property
    def off_centre(self) -> float:
        """centre / N*: 2 means that the sizes lie a factor of 2 above the optimum."""
        return self.centre / self.n_law

    def to_json(self) -> dict:
        return {**dataclasses.asdict(self), "off_centre": self.off_centre}


@dataclasses.dataclass(frozen=True)
class BiasMeter:
    """What approach 2 gets wrong by itself, at the budgets and extrapolated to `flops`.

    n_bias, d_bias, loss_bias: percent of the law's N*, D*, L* at `flops`; loss_bias is None with
    fewer than 3 usable budgets. n_exponent_bias, d_exponent_bias: approach 2 less law.
    excess_loss: nats lost by training the N* that approach 2 names instead of the law's.
    width_limit: half-width, as a factor, under which |bias of D*| stays below 1% once every
    budget is centred; None if it does at any width up to 64. (Narrow grids are noisy: a bias well
    inside the interval of d_gap is not worth a narrower one.)
    n_gap, d_gap: how far the fit to the measured losses is from the law at `flops`, percent, and
    its interval at `level`; None where only a grid was given. The part of a gap that the bias does
    not explain is noise, or a law that does not hold.
    """

    flops: float
    budgets: tuple[BudgetBias, ...]
    n_bias: float
    d_bias: float
    loss_bias: float | None
    n_exponent_bias: float
    d_exponent_bias: float
    excess_loss: float
    width_limit: float | None
    n_gap: tuple[float, float, float] | None = None
    d_gap: tuple[float, float, float] | None = None
    level: float | None = None

    @property
    def to_recentre(self) -> tuple[BudgetBias, ...]:
        """Budgets whose sizes lie further than a factor of 1.25 from the optimum."""
        return tuple(b for b in self.budgets if abs(np.log(b.off_centre)) > np.log(RECENTRE))

    def lines(self) -> list[str]:
        """For people, a table and the advice."""
        out = ["bias of approach 2 on this grid if the law holds, without noise",
               "  budget     sizes  centre / N*  half-width  bias of N*  of L*"]
        for b in self.budgets:
            found = ("refused" if b.n_bias is None
                     else f"{b.n_bias:+9.2f}%  {b.loss_bias:+.3f}%")
            out.append(f"  {b.flops:<10.3g} {b.sizes:5d}  {b.off_centre:11.2f}"
                       f"  {b.half_width:9.2f}x  {found}")
        loss = "" if self.loss_bias is None else f", L* {self.loss_bias:+.2f}%"
        out.append(f"at {self.flops:.3g} FLOPs: N* {self.n_bias:+.2f}%, D* {self.d_bias:+.2f}%{loss};"
                   f" exponents {self.n_exponent_bias:+.4f}, {self.d_exponent_bias:+.4f};"
                   f" training its N* costs {self.excess_loss:.2g} nats")
        if self.d_gap is not None:
            gap, low, high = self.d_gap
            out.append(f"  as measured its D* is {gap:+.1f}% from the law's ({low:+.1f}% to"
                       f" {high:+.1f}% at {self.level:.0%}); the grid explains {self.d_bias:+.2f}%")
        for b in self.to_recentre:
            side, factor = ("below", b.off_centre) if b.off_centre > 1 else ("above", 1 / b.off_centre)
            out.append(f"  {b.flops:.3g} FLOPs: centre the sizes at N = {b.n_law:.3g}, a factor of"
                       f" {factor:.2f} {side}")
        out.append(f"  centred sizes keep the bias of D* below {TOLERANCE:.0f}% "
                   + (f"at any half-width up to {WIDEST:.0f}x" if self.width_limit is None
                      else f"within {self.width_limit:.2f}x either side"))
        return out

    def to_json(self) -> dict:
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {**fields, "budgets": [b.to_json() for b in self.budgets],
                "recentre": [{"flops": b.flops, "n_params": b.n_law, "factor": 1 / b.off_centre}
                             for b in self.to_recentre]}


def bias_of(
    fit: IsoflopFit, theta: np.ndarray, at_flops: float, relation: FlopsRelation | None = None
) -> BiasMeter:
    """The bias of an IsoFLOP fit on its own grid, and its gap to the law at a target C.

    theta: (5,) natural coordinates [log E, log A, log B, alpha, beta] of a Chinchilla law, such as
    approach 3's. relation: of C to N and D; None takes the runs' own. Only budgets that the fit
    used are metered. Raises `FitError` as `bias_on` does.
    """
    runs = fit.runs
    if relation is None:
        relation = FlopsRelation.of(runs.n_params, runs.n_tokens, runs.flops)
    grid = [(runs.flops[b.rows], b.n_params) for b in fit.budgets]
    meter = bias_on(grid, theta, at_flops, relation)
    gaps = []
    for line, law in zip((fit.n_opt, fit.d_opt), optimal(theta, at_flops, relation)):
        value, (low, high) = line.at(at_flops)
        gaps.append(tuple(_percent(v, law) for v in (value, low, high)))
    return dataclasses.replace(meter, n_gap=gaps[0], d_gap=gaps[1], level=fit.level)


def bias_on(
    grid: Sequence[tuple[float | np.ndarray, np.ndarray]],
    theta: np.ndarray,
    at_flops: float,
    relation: FlopsRelation = SIX_N_D,
) -> BiasMeter:
    """The bias on a grid, which may be a plan: per budget its FLOPs, and its sizes (sizes,).

    FLOPs may differ from run to run (a budget's runs seldom agree to the digit); tokens follow
    from them by the relation. Raises `FitError` if even without noise fewer than 2 budgets have a
    minimum inside their sizes.
    """
    rows, curves = [], []
    for flops, n in grid:
        flops = np.broadcast_to(np.asarray(flops, float), np.shape(n))
        row, curve = _meter(np.asarray(n, float), flops, theta, relation)
        rows.append(row)
        curves += [curve] if curve else []
    if len(curves) < 2:
        raise FitError(f"bias meter: {len(curves)} of {len(rows)} budgets have a minimum inside their"
                       " sizes under this law, 2 needed: "
                       + "; ".join(r.problem for r in rows if r.problem)[:400])
    flops = np.array([c.flops for c in curves])
    n_line, d_line = (
        LineFit.of(flops, np.array([getattr(c, name) for c in curves]), np.empty((0, len(curves))), 0.9)
        for name in ("n_opt", "d_opt")
    )
    n_law, d_law = (float(v) for v in optimal(theta, at_flops, relation))
    best = _loss(theta, n_law, d_law)
    n, d = (_at(line, at_flops) for line in (n_line, d_line))
    a, b = exponents(theta, relation)
    return BiasMeter(
        flops=float(at_flops),
        budgets=tuple(rows),
        n_bias=_percent(n, n_law),
        d_bias=_percent(d, d_law),
        loss_bias=_frontier_bias(curves, at_flops, best),
        n_exponent_bias=n_line.exponent - float(a),
        d_exponent_bias=d_line.exponent - float(b),
        excess_loss=float(_loss(theta, n, relation.n_tokens(n, at_flops)) - best),
        width_limit=_width_limit([c.n_params for c in curves], flops, theta, at_flops, relation.p),
    )


def vertex_shift(alpha: float, q: float, t: np.ndarray) -> float:
    """ln of parabola's minimum over N*, for sizes at t = ln(N / N*), (sizes,); nan if concave.

    Exact for a Chinchilla law at one C; q = p beta. See the head of this file.
    """
    f = np.exp(-alpha * t) / alpha + np.exp(q * t) / q
    middle = t.mean()
    c = np.linalg.lstsq(np.vander(t - middle, 3, increasing=True), f, rcond=None)[0]
    return float(middle - c[1] / (2 * c[2])) if c[2] > 0 else float("nan")


def _meter(
    n: np.ndarray, flops: np.ndarray, theta: np.ndarray, relation: FlopsRelation
) -> tuple[BudgetBias, Parabola | None]:
    c = float(np.exp(np.log(flops).mean()))
    n_law, d_law = (float(v) for v in optimal(theta, c, relation))
    d = relation.n_tokens(n, flops)
    curve, problem = None, None
    try:
        curve = parabola_through(n, d, _loss(theta, n, d), flops)
    except FitError as refusal:
        problem = str(refusal)
    return BudgetBias(
        flops=c,
        sizes=len(np.unique(n)),
        n_law=n_law,
        centre=float(np.sqrt(n.min() * n.max())),
        half_width=float(np.sqrt(n.max() / n.min())),
        n_bias=_percent(curve.n_opt, n_law) if curve else None,
        loss_bias=_percent(curve.loss_opt, _loss(theta, n_law, d_law)) if curve else None,
        problem=problem,
    ), curve


def _frontier_bias(curves: list[Parabola], at_flops: float, best: float) -> float | None:
    """Percent by which L*(C) through the minima misses the law's loss at a target; None if no fit."""
    if len(curves) < MIN_BUDGETS_OF_FRONTIER:
        return None
    losses = np.array([c.loss_opt for c in curves])
    flops = np.array([c.flops for c in curves])
    try:
        # two replicates, equal to the point, because a bootstrap needs two
        line = fit_frontier(flops, losses, np.repeat(losses[None], 2, axis=0), 0.9, 0)
    except FitError:
        return None
    return _percent(line.loss(at_flops), best)


def _width_limit(
    sizes: list[np.ndarray], flops: np.ndarray, theta: np.ndarray, at_flops: float, p: float
) -> float | None:
    """The half-width at which |bias of D*| first reaches the tolerance, every budget centred.

    Each budget keeps the spacing of its sizes, stretched in log N to the common width.
    """
    alpha, q = float(theta[3]), p * float(theta[4])
    shapes = []
    for n in sizes:
        t = np.log(n / np.sqrt(n.min() * n.max()))
        shapes.append(t / t.max())
    x = np.log(flops) - np.log(flops).mean()
    pull = 1 / len(x) + x * (np.log(at_flops) - np.log(flops).mean()) / (x @ x)

    def too_wide(width: float) -> bool:
        shift = np.array([vertex_shift(alpha, q, width * t) for t in shapes])
        return not abs(100 * np.expm1(-p * (pull @ shift))) < TOLERANCE

    widths = np.linspace(np.log(1.05), np.log(WIDEST), 50)
    first = next((i for i, w in enumerate(widths) if too_wide(w)), None)
    if first is None:
        return None
    low, high = (widths[first - 1] if first else 0.0), widths[first]
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if too_wide(middle) else (middle, high)
    return float(np.exp(low))


def _at(line: LineFit, flops: float) -> float:
    return float(np.exp(line.log_k + line.exponent * np.log(flops / line.x0)))


def _loss(theta: np.ndarray, n, d):
    """The Chinchilla law, nats."""
    log_e, log_a, log_b, alpha, beta = theta
    return np.exp(log_e) + np.exp(log_a - alpha * np.log(n)) + np.exp(log_b - beta * np.log(d))


def _percent(value: float, truth: float) -> float:
    return float(100 * (value / truth - 1))
