"""Damped semismooth Newton, for many small problems at once."""

import dataclasses

import numpy as np

from scaling.laws.fitting.problem import Problem

TOLERANCE = 1e-8  # scale-free gradient below which a point counts as an optimum
_LONGEST_STEP = 2.0  # in any centred coordinate: a factor of e^2 in a coefficient
_FEW = 16  # problems up to which eigenvectors are faster than elimination over the batch
_LEAST_PIVOT = 1e-13  # of the largest diagonal; below, a Hessian counts as not positive


@dataclasses.dataclass(frozen=True)
class Solution:
    """theta (problems, parameters); value and scale-free gradient norm (problems,)."""

    theta: np.ndarray
    value: np.ndarray
    gradient: np.ndarray

    @property
    def converged(self) -> np.ndarray:
        return self.gradient <= TOLERANCE

    def take(self, rows: np.ndarray) -> "Solution":
        return Solution(self.theta[rows], self.value[rows], self.gradient[rows])

    def or_lower(self, other: "Solution") -> "Solution":
        """Each problem's lower end of the two, of those that have converged."""
        better = other.converged & ~(self.converged & (self.value <= other.value))
        pick = lambda new, old: np.where(better, new, old)  # noqa: E731
        return Solution(np.where(better[:, None], other.theta, self.theta),
                        pick(other.value, self.value), pick(other.gradient, self.gradient))


def newton(problem: Problem, theta: np.ndarray, aim: float, most: int, damping: float) -> Solution:
    """Newton steps from each row of theta (problems, p) until the gradient is at most `aim`.

    The Hessian is damped by a multiple of its largest curvature, at first `damping`, and taken with
    positive curvatures where it is not positive; only decrease is accepted. Coordinates at a bound
    that the objective wants to cross are held there. Where a decrease is lost in rounding (the last
    digits of the objective), a step is accepted if it shrinks the gradient. At most `most` steps.
    """
    theta = theta.copy()
    value, gradient, hessian = _derivatives(problem, theta)
    with np.errstate(invalid="ignore", divide="ignore"):
        norm = np.abs(gradient).max(axis=-1) / problem.gradient_scale(value)
    norm = np.where(np.isfinite(value), norm, np.inf)
    damped = np.full(len(theta), damping)
    for _ in range(most):
        live = np.flatnonzero((norm > aim) & (damped < 1e12) & np.isfinite(value))
        if not len(live):
            break
        part = problem if len(live) == len(theta) else problem.take(live)
        old = [a[live] for a in (value, gradient, hessian)]
        step = _step(old[1], old[2], damped[live])
        promised = -np.einsum("rj,rj->r", old[1], step)
        promised -= 0.5 * np.einsum("rj,rjk,rk->r", step, old[2], step)
        trial = np.clip(theta[live] + step, part.low, part.high)
        new = _derivatives(part, trial)
        good, new_norm = _better(part, new, old[0], norm[live])
        # In a curved valley (E against a slow power) a straight step climbs the wall. A second
        # step from there leads back to the floor, further along.
        lost = np.flatnonzero(~good & np.isfinite(new[0]))
        if len(lost):
            again = part.take(lost)
            back = trial[lost] + _step(new[1][lost], new[2][lost], damped[live][lost])
            back = np.clip(back, again.low, again.high)
            second = _derivatives(again, back)
            saved, second_norm = _better(again, second, old[0][lost], norm[live][lost])
            at = lost[saved]
            good[at], trial[at], new_norm[at] = True, back[saved], second_norm[saved]
            for held, found in zip(new, second):
                held[at] = found[saved]
        faithful = old[0] - new[0] >= 0.25 * promised
        taken = live[good]
        theta[taken], norm[taken] = trial[good], new_norm[good]
        for held, found in zip((value, gradient, hessian), new):
            held[taken] = found[good]
        factor = np.where(good, np.where(faithful, 0.1, 1.0), 8.0)
        damped[live] = np.maximum(damped[live] * factor, 1e-14)
    mirrored = problem.roots & (theta < 0) & (-theta <= problem.high)  # the same law by the other root
    return Solution(np.where(mirrored, -theta, theta), value, norm)


def _derivatives(problem: Problem, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Value, and gradient and Hessian over the coordinates that are free to move.

    Where the law has no value there (an overflow, a negative prediction) the value is infinite.
    """
    with np.errstate(all="ignore"):
        value, gradient, hessian = problem.derivatives(theta)
    finite = np.isfinite(value) & np.isfinite(gradient).all(-1) & np.isfinite(hessian).all((-1, -2))
    held = (theta <= problem.low) & (gradient > 0) | (theta >= problem.high) & (gradient < 0)
    held |= ~finite[:, None]
    if held.any():
        value = np.where(finite, value, np.inf)
        gradient = np.where(held, 0.0, gradient)
        hessian = np.where(held[:, :, None] | held[:, None, :], 0.0, hessian)
    return value, gradient, hessian


def _better(problem, new, old_value, old_norm):
    """Which points improve on the old ones, and their scale-free gradient norms."""
    value, gradient, _ = new
    scale = problem.gradient_scale(value)
    norm = np.abs(gradient).max(axis=-1) / scale
    change = value - old_value
    rounding = 2e-15 * scale  # a residual is known to about 1e-15, its pull is at most scale
    good = (change < -rounding) | ((change <= rounding) & (norm < old_norm))
    return good & np.isfinite(value), norm


def _step(gradient: np.ndarray, hessian: np.ndarray, damping: np.ndarray) -> np.ndarray:
    """Minus the inverse of the damped, positive Hessian times the gradient, cut to the longest step."""
    if len(gradient) <= _FEW:
        step = _along_axes(gradient, hessian, damping)
    else:
        diagonal = np.einsum("rjj->rj", hessian)
        largest = np.abs(diagonal).max(axis=-1)
        matrix = hessian.copy()
        held = (diagonal == 0) & (gradient == 0)
        np.einsum("rjj->rj", matrix)[:] += np.where(held, 1.0, (damping * largest)[:, None])
        step, positive = _eliminated(matrix, -gradient, _LEAST_PIVOT * largest)
        other = np.flatnonzero(~positive)
        if len(other):
            step[other] = _along_axes(gradient[other], hessian[other], damping[other])
    longest = np.abs(step).max(axis=-1, keepdims=True)
    return step * np.minimum(1.0, _LONGEST_STEP / np.maximum(longest, 1e-300))


def _along_axes(gradient: np.ndarray, hessian: np.ndarray, damping: np.ndarray) -> np.ndarray:
    """The step on the absolute values of the curvatures: away from a saddle, not towards it."""
    curvature, axes = np.linalg.eigh(hessian)
    curvature = np.abs(curvature)
    curvature += damping[:, None] * (curvature.max(axis=-1, keepdims=True) + 1e-300)
    along = (gradient[:, None, :] @ axes)[:, 0] / curvature
    return -(axes @ along[:, :, None])[:, :, 0]


def _eliminated(matrix: np.ndarray, right: np.ndarray, least: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Solves symmetric systems (problems, p, p) by elimination over the whole batch at once.

    Also returns which matrices are positive: those whose pivots are all above `least` (problems,).
    With many problems this is faster than LAPACK's eigenvectors of each small matrix in turn.
    """
    p = right.shape[1]
    rows = np.concatenate([matrix, right[:, :, None]], axis=2)
    with np.errstate(all="ignore"):
        for j in range(p - 1):
            factor = rows[:, j + 1 :, j] / rows[:, j, j, None]
            rows[:, j + 1 :, j + 1 :] -= factor[:, :, None] * rows[:, j, None, j + 1 :]
        pivots = np.einsum("rjj->rj", rows[:, :, :p])
        answer = rows[:, :, p]
        for j in reversed(range(p)):
            answer[:, j] /= pivots[:, j]
            answer[:, :j] -= rows[:, :j, j] * answer[:, j, None]
        positive = (pivots > least[:, None]).all(axis=1) & np.isfinite(answer).all(axis=1)
    return answer.copy(), positive
