"""One law fitted to one data set: many starts, the best optimum, and a receipt that proves it."""

import dataclasses
import functools

import numpy as np

from scaling.errors import UserError
from scaling.laws.fitting.log_sum_exp import LogSumExp
from scaling.laws.fitting.objectives import Objective
from scaling.laws.fitting.objectives import objective as objective_by_name
from scaling.laws.fitting.problem import Problem
from scaling.laws.fitting.receipt import Receipt, receipt
from scaling.laws.fitting.solver import TOLERANCE, Solution, refine, solve, solve_on_part
from scaling.laws.fitting.starts import draw_starts, thinned
from scaling.laws.fitting.traced import Traced
from scaling.laws.forms.coordinates import Centring
from scaling.laws.forms.grammar import Form, SumOfPowers

STARTS = 64
_STRAIGHT_STARTS = 24  # of a law that is no sum of powers, at most
_MOST_MINIMA = 4
_REACH = 20.0  # deviance up to which another draw of the noise may make a second minimum the lowest
_STRAIGHT = 1e-3  # first delta of starts that go straight to a smaller one, in units of the residuals


class FitError(UserError):
    """A law that these runs cannot determine; its message says why."""


@dataclasses.dataclass(frozen=True)
class PointFit:
    """The optimum. theta: natural coordinates of `form`, (p,). objective: its value.

    log_residuals: log of the law minus log of the measurement, (points,), whatever was minimised.
    """

    form: Form
    theta: np.ndarray
    objective: float
    loss: Objective
    log_residuals: np.ndarray
    receipt: Receipt
    centring: Centring
    problem: Problem

    @property
    def delta(self) -> float:
        """Of the Huber loss; inf for squares."""
        return self.loss.delta

    @property
    def params(self) -> dict[str, float]:
        return self.form.named(self.theta)

    @property
    def degrees_of_freedom(self) -> int:
        return len(self.log_residuals) - len(self.theta)

    @property
    def residual_deviation(self) -> float | None:
        """Standard deviation of log residuals, by degrees of freedom; None without any."""
        if self.degrees_of_freedom < 1:
            return None
        return float(np.sqrt((self.log_residuals**2).sum() / self.degrees_of_freedom))

    @functools.cached_property
    def minima(self) -> np.ndarray:
        """Natural coordinates of the optimum, and of those other minima of the receipt that may be the
        lowest of resampled data: up to 4 in all, (minima, p), lowest first."""
        theta = [self.theta]
        for other in self.receipt.minima[1:_MOST_MINIMA]:
            with np.errstate(divide="ignore"):
                there = self.form.theta(other["params"])
                # Of normal noise; residuals of half the weight in the tails would count twice.
                deviance = len(self.log_residuals) * np.log(other["objective"] / self.objective)
            if np.isfinite(there).all() and deviance <= _REACH:
                theta.append(there)
        return np.stack(theta)

    def log_loss(self, logs: dict[str, np.ndarray]) -> np.ndarray:
        """Log of the law at points given by the logs of their columns, shape (points,)."""
        return self.form.log_loss(self.theta, logs)[0]

    def jacobian(self) -> np.ndarray:
        """Of the law's log at the points by the centred coordinates, (points, p)."""
        return self.problem.jacobian(self.centring.to_centred(self.theta))

    def refit(
        self,
        log_loss: np.ndarray,
        weights: np.ndarray,
        low: np.ndarray | None = None,
        high: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Fits resampled data, each warm-started at each of `minima`, of which the lowest end counts.

        log_loss, weights: (replicates or 1, points); weights multiply the fit's own. low, high:
        (replicates or 1, p) bounds in centred coordinates; equal ones hold a coordinate. Returns
        natural theta (replicates, p), and which replicates converged to a law that falls.
        """
        given = [a for a in (log_loss, weights, low, high) if a is not None]
        n = max(len(a) for a in given)
        problem = dataclasses.replace(
            self.problem, log_target=log_loss,
            weights=weights if (self.problem.weights == 1).all() else weights * self.problem.weights,
            low=self.problem.low if low is None else low,
            high=self.problem.high if high is None else high,
        )
        starts = self.centring.to_centred(self.minima)
        solution = refine(problem, np.repeat(starts[:1], n, axis=0))
        for other in starts[1:]:
            solution = solution.or_lower(refine(problem, np.repeat(other[None], n, axis=0)))
        theta = self.centring.to_natural(solution.theta)
        return theta, solution.converged & ~_flat(self.form, theta)


def fit_form(
    form: Form,
    columns: dict[str, np.ndarray],
    loss: np.ndarray,
    delta: float = 1e-3,
    starts: int = STARTS,
    seed: int = 0,
    objective: str = "huber_log",
    weights: np.ndarray | None = None,
    standard_error: np.ndarray | None = None,
) -> PointFit:
    """Fits a form to measurements (points,) by an objective summed over points.

    columns: values of the form's columns, each (points,). delta: of the Huber objectives, in log loss
    or in the target's units; `inf` for least squares. weights: (points,), at least 0. standard_error:
    of each measurement, (points,), in its units. Raises `FitError` with too few points, columns that
    do not vary, a law that does not fall, or no converged optimum.
    """
    if len(loss) < len(form.names):
        raise FitError(f"{form.name}: {len(loss)} points for {len(form.names)} parameters")
    for name in form.columns:
        if name not in form.steady and len(np.unique(columns[name])) < 2:
            raise FitError(f"{form.name}: all runs have the same {name}, so its part is free")
    if len(np.unique(loss)) < 2:
        raise FitError(f"{form.name}: all measurements are {loss[0]:.6g}; a law needs some that differ")
    goal = objective_by_name(objective, delta)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = {name: np.log(columns[name]) for name in form.columns}
    centring = Centring.of(form, logs)
    target = np.log(loss)
    scale: np.ndarray | float = 1.0
    if standard_error is not None:
        relative = standard_error if goal.raw else standard_error / loss
        scale = relative / np.exp(np.log(relative).mean())
    shared = dict(
        log_target=target[None],
        weights=np.ones((1, len(loss))) if weights is None else weights[None].astype(float),
        scale=scale, objective=goal, roots=centring.roots,
        low=centring.low[None], high=centring.high[None],
    )
    kind, given = (LogSumExp, logs) if isinstance(form, SumOfPowers) else (Traced, columns)
    problem = kind.of(form, given, centring, **shared)
    part = thinned(columns, target)
    begin = draw_starts(form, target, centring, starts, seed)
    begin = (problem if part is None else problem.part(part)).nearer(begin)
    search = solve if part is None else functools.partial(solve_on_part, points=part)
    solution = search(problem, begin)
    if kind is Traced and np.isfinite(goal.delta):
        # Continuation leads every start to the one minimum below that of the wide objective. A law that
        # is no sum of powers can have a lower one (Muennighoff et al.'s has, on their runs).
        first = max(goal.delta / goal.typical(problem.log_target), _STRAIGHT)
        straight = search(problem, begin[:_STRAIGHT_STARTS], first_delta=first)
        solution = Solution(*(np.concatenate([getattr(s, f) for s in (solution, straight)])
                              for f in ("theta", "value", "gradient")))
    best = int(np.argmin(solution.value))
    if not solution.converged[best]:
        raise FitError(
            f"{form.name}: no optimum found: the lowest of {starts} starts still has a scale-free"
            f" gradient of {solution.gradient[best]:.1e} (needed: {TOLERANCE:.0e})"
        )
    theta = centring.to_natural(solution.theta[best])
    if _flat(form, theta[None])[0]:
        name, value = next((p.name, t) for p, t in zip(form.parameters, theta)
                           if p.kind == "exponent" and p.low == 0.0 and t <= 0)
        raise FitError(f"{form.name}: the best {name} is at its bound of {value:.3g}; these losses do"
                       " not fall as a power law")
    residuals = problem.log_value(solution.theta[best : best + 1])[0] - target
    starts_on = len(loss) if part is None else len(part)
    shown = receipt(form, problem, centring, solution, best, starts_on)
    return PointFit(form, theta, float(solution.value[best]), goal, residuals, shown, centring, problem)


def _flat(form: Form, theta: np.ndarray) -> np.ndarray:
    """Whether an exponent that must be positive is not: its term is then a second constant, (draws,)."""
    must = [p.kind == "exponent" and p.low == 0.0 for p in form.parameters]
    return (theta[:, must] <= 0).any(axis=1)
