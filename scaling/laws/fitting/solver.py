"""Damped Newton for many small problems at once, with continuation in the Huber delta."""

import dataclasses

import numpy as np

from scaling.laws.fitting.problem import Problem

TOLERANCE = 1e-8  # scale-free gradient below which a point counts as an optimum
_AIM = 1e-10  # what the solver tries for; between the two it has converged, only less tightly
_FIRST_DELTA = 0.3
_CHUNK = 1 << 14  # points x problems per pass: their Jacobians stay in the processor's cache
_LIFT = 0.03  # root of a constant below which it counts as zero: 0.001 nats
_LIFTS = 8
_LONGEST_STEP = 2.0  # in any centred coordinate: a factor of e^2 in a coefficient


@dataclasses.dataclass(frozen=True)
class Solution:
    """theta (problems, parameters); value and scale-free gradient norm (problems,)."""

    theta: np.ndarray
    value: np.ndarray
    gradient: np.ndarray

    @property
    def converged(self) -> np.ndarray:
        return self.gradient <= TOLERANCE


def solve(problem: Problem, starts: np.ndarray, first_delta: float = _FIRST_DELTA) -> Solution:
    """Minimises each problem from its row of `starts` (problems, parameters), within its bounds.

    Delta goes from `first_delta` (in units of the residuals) down to the objective's own by factors of
    about 3, each stage starting from the last one's answer: the wide objective is nearly least squares
    and leads into the right basin. With delta = inf there is one stage.
    """
    parts = []
    chunk = max(1, _CHUNK // problem.log_target.shape[-1])
    stages = _stages(first_delta * problem.objective.typical(problem.log_target),
                     problem.objective.delta)
    for begin in range(0, len(starts), chunk):
        rows = np.arange(begin, min(begin + chunk, len(starts)))
        part = problem.take(rows)
        theta = np.clip(starts[rows], part.low, part.high)
        for delta in stages[:-1]:
            stage = part.with_delta(delta)
            theta = _newton(stage, _lifted(stage, theta)[0], 1e-3, 25).theta
        for _ in range(_LIFTS):
            answer = _newton(part, theta, _AIM, 1000)
            theta, lifted = _lifted(part, answer.theta)
            if not lifted.any():
                break
        else:  # a constant that is zero without wanting to be is no optimum
            answer.gradient[lifted] = np.inf
        parts.append(answer)
    return Solution(*(np.concatenate([getattr(p, f) for p in parts])
                      for f in ("theta", "value", "gradient")))


def _lifted(problem: Problem, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Constants at zero where the objective falls away from it are put back to work.

    The root of a constant has a stationary point at zero, a minimum only if the objective curves
    upwards there. Returns new points, and which problems were touched, (problems,).
    """
    small = problem.roots & (np.abs(theta) < _LIFT)
    rows = np.flatnonzero(small.any(axis=1))
    if len(rows):
        bend = np.einsum("rjj->rj", problem.take(rows).derivatives(theta[rows])[2])
        small[rows] &= bend < 0
    return np.where(small, 2 * _LIFT, theta), small.any(axis=1)


def _stages(first: float, target: float) -> list[float]:
    if not np.isfinite(target) or target >= first:
        return [target]
    n = int(np.ceil(np.log(first / target) / np.log(3.0)))
    return list(np.geomspace(first, target, n + 1)[:-1]) + [target]


def _newton(problem: Problem, theta: np.ndarray, aim: float, most: int) -> Solution:
    """Newton steps on |eigenvalues| of the Hessian plus a damping; only decrease is accepted.

    Coordinates at a bound that the objective wants to cross are held there. Where a decrease is lost
    in rounding (the last digits of the objective), a step is accepted if it shrinks the gradient.
    """
    theta = theta.copy()
    value, gradient, hessian = _derivatives(problem, theta)
    norm = np.abs(gradient).max(axis=-1) / problem.gradient_scale(theta)
    norm = np.where(np.isfinite(value), norm, np.inf)
    damping = np.full(len(theta), 1e-3)
    for _ in range(most):
        live = np.flatnonzero((norm > aim) & (damping < 1e12) & np.isfinite(value))
        if not len(live):
            break
        part = problem.take(live)
        step = _damped_step(gradient[live], hessian[live], damping[live])
        promised = -np.einsum("rj,rj->r", gradient[live], step)
        promised -= 0.5 * np.einsum("rj,rjk,rk->r", step, hessian[live], step)
        trial = np.clip(theta[live] + step, part.low, part.high)
        new = _derivatives(part, trial)
        good, new_norm = _better(part, trial, new[0], new[1], value[live], norm[live])
        # In a curved valley (E against a slow power) a straight step climbs the wall. A second
        # step from there leads back to the floor, further along.
        lost = np.flatnonzero(~good & np.isfinite(new[0]))
        if len(lost):
            again = part.take(lost)
            back = trial[lost] + _damped_step(new[1][lost], new[2][lost], damping[live][lost])
            back = np.clip(back, again.low, again.high)
            second = _derivatives(again, back)
            saved, second_norm = _better(
                again, back, second[0], second[1], value[live][lost], norm[live][lost]
            )
            at = lost[saved]
            good[at], trial[at], new_norm[at] = True, back[saved], second_norm[saved]
            for old, found in zip(new, second):
                old[at] = found[saved]
        faithful = value[live] - new[0] >= 0.25 * promised
        taken = live[good]
        theta[taken], norm[taken] = trial[good], new_norm[good]
        for old, found in zip((value, gradient, hessian), new):
            old[taken] = found[good]
        factor = np.where(good, np.where(faithful, 0.1, 1.0), 8.0)
        damping[live] = np.clip(damping[live] * factor, 1e-14, None)
    return Solution(theta, value, norm)


def _derivatives(problem: Problem, theta: np.ndarray):
    """Value, and gradient and Hessian over the coordinates that are free to move.

    Where the law has no value there (an overflow, a negative prediction) the value is infinite.
    """
    with np.errstate(all="ignore"):
        value, gradient, hessian = problem.derivatives(theta)
    finite = np.isfinite(value) & np.isfinite(gradient).all(-1) & np.isfinite(hessian).all((-1, -2))
    held = (theta <= problem.low) & (gradient > 0) | (theta >= problem.high) & (gradient < 0)
    held |= ~finite[:, None]
    either = held[:, :, None] | held[:, None, :]
    return (np.where(finite, value, np.inf), np.where(held, 0.0, gradient),
            np.where(either, 0.0, hessian))


def _better(problem, theta, value, gradient, old_value, old_norm):
    """Which points improve on the old ones, and their scale-free gradient norms."""
    scale = problem.gradient_scale(theta)
    norm = np.abs(gradient).max(axis=-1) / scale
    change = value - old_value
    rounding = 2e-15 * scale  # a residual is known to about 1e-15, its pull is at most scale
    good = (change < -rounding) | ((change <= rounding) & (norm < old_norm))
    return good & np.isfinite(value), norm


def _damped_step(gradient: np.ndarray, hessian: np.ndarray, damping: np.ndarray) -> np.ndarray:
    curvature, axes = np.linalg.eigh(hessian)
    largest = np.abs(curvature).max(axis=-1, keepdims=True) + 1e-300
    size = np.abs(curvature) + damping[:, None] * largest
    along = np.einsum("rjk,rj->rk", axes, gradient) / size
    step = -np.einsum("rjk,rk->rj", axes, along)
    longest = np.abs(step).max(axis=-1, keepdims=True)
    return step * np.minimum(1.0, _LONGEST_STEP / np.maximum(longest, 1e-300))
