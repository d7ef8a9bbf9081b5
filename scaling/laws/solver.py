"""Damped Newton for many small problems at once, with continuation in the Huber delta."""

import dataclasses

import numpy as np

from scaling.laws.objective import LogHuber

TOLERANCE = 1e-8  # scale-free gradient below which a point counts as an optimum
_AIM = 1e-10  # what the solver tries for; between the two it has converged, only less tightly
_FIRST_DELTA = 0.3
_CHUNK = 1 << 14  # points x problems per pass: their Jacobians stay in the processor's cache
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


def solve(objective: LogHuber, starts: np.ndarray, first_delta: float = _FIRST_DELTA) -> Solution:
    """Minimises each problem from its row of `starts` (problems, parameters).

    Delta goes from `first_delta` down to the objective's own by factors of about 3, each stage
    starting from the last one's answer: the wide objective is nearly least squares and leads
    into the right basin. With delta = inf there is one stage.
    """
    parts = []
    chunk = max(1, _CHUNK // len(objective.design))
    for begin in range(0, len(starts), chunk):
        rows = np.arange(begin, min(begin + chunk, len(starts)))
        part = objective.take(rows)
        theta = starts[rows]
        for delta in _stages(first_delta, objective.delta)[:-1]:
            theta = _newton(dataclasses.replace(part, delta=delta), theta, 1e-3, 25).theta
        parts.append(_newton(part, theta, _AIM, 3000))
    return Solution(*(np.concatenate([getattr(p, f) for p in parts])
                      for f in ("theta", "value", "gradient")))


def _stages(first: float, target: float) -> list[float]:
    if not np.isfinite(target) or target >= first:
        return [target]
    n = int(np.ceil(np.log(first / target) / np.log(3.0)))
    return list(np.geomspace(first, target, n + 1)[:-1]) + [target]


def _newton(objective: LogHuber, theta: np.ndarray, aim: float, most: int) -> Solution:
    """Newton steps on |eigenvalues| of the Hessian plus a damping; only decrease is accepted.

    Where a decrease is lost in rounding (the last digits of the objective), a step is accepted
    if it shrinks the gradient instead.
    """
    theta = theta.copy()
    value, gradient, hessian = objective.derivatives(theta)
    norm = np.abs(gradient).max(axis=-1) / objective.gradient_scale(theta)
    damping = np.full(len(theta), 1e-3)
    for _ in range(most):
        live = np.flatnonzero((norm > aim) & (damping < 1e12))
        if not len(live):
            break
        part = objective.take(live)
        step = _damped_step(gradient[live], hessian[live], damping[live])
        trial = theta[live] + step
        new_value, new_gradient, new_hessian = part.derivatives(trial)
        scale = part.gradient_scale(trial)
        new_norm = np.abs(new_gradient).max(axis=-1) / scale
        change = new_value - value[live]
        rounding = 2e-15 * scale  # a residual is known to about 1e-15, its pull is at most scale
        good = (change < -rounding) | ((change <= rounding) & (new_norm < norm[live]))
        good &= np.isfinite(new_value)
        promised = -np.einsum("rj,rj->r", gradient[live], step)
        promised -= 0.5 * np.einsum("rj,rjk,rk->r", step, hessian[live], step)
        faithful = -change >= 0.25 * promised
        taken = live[good]
        theta[taken], value[taken] = trial[good], new_value[good]
        gradient[taken], hessian[taken] = new_gradient[good], new_hessian[good]
        norm[taken] = new_norm[good]
        factor = np.where(good, np.where(faithful, 0.1, 1.0), 8.0)
        damping[live] = np.clip(damping[live] * factor, 1e-14, None)
    return Solution(theta, value, norm)


def _damped_step(gradient: np.ndarray, hessian: np.ndarray, damping: np.ndarray) -> np.ndarray:
    curvature, axes = np.linalg.eigh(hessian)
    largest = np.abs(curvature).max(axis=-1, keepdims=True) + 1e-300
    size = np.abs(curvature) + damping[:, None] * largest
    along = np.einsum("rjk,rj->rk", axes, gradient) / size
    step = -np.einsum("rjk,rk->rj", axes, along)
    longest = np.abs(step).max(axis=-1, keepdims=True)
    return step * np.minimum(1.0, _LONGEST_STEP / np.maximum(longest, 1e-300))
