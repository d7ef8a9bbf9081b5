"""Global and warm-started minimisation, by continuation in the Huber delta."""

import numpy as np

from scaling.laws.fitting.newton import TOLERANCE, Solution, newton
from scaling.laws.fitting.problem import Problem

__all__ = ["TOLERANCE", "Solution", "refine", "solve", "solve_on_part"]

_AIM = 1e-10  # gradient that is tried for; below TOLERANCE it has converged, only less tightly
FIRST_DELTA = 0.3  # in units of the residuals; nearly least squares
_FACTORS = 7.0, 2.0  # from one delta to the next, at most; the second where the first has failed
_STAGE_AIM = 1e-9  # a loose stage would leave the way along a flat valley to the last, kinked objective
_STAGE_STEPS = 200
_SAME_VALUE, _SAME_PLACE = 1e-6, 0.1  # closer than this, two starts have met
_LIFT = 0.03  # root of a constant below which it counts as zero: 0.001 nats
_LIFTS = 8
_FAR, _NEAR = 1e-2, 1e-4  # first damping, far from an optimum and near one
_QUICK_STEPS = 25  # of a warm start, before it goes the long way round
_BATCH = 1 << 18  # problems x points in one batch of warm starts


def solve(problem: Problem, starts: np.ndarray, first_delta: float = FIRST_DELTA) -> Solution:
    """Minimises from each row of `starts` (problems or starts of one problem, p), within the bounds.

    Delta goes from `first_delta` (in units of the residuals) down to the objective's own in a few
    stages, each starting from the last one's optima: the wide objective is nearly least squares
    and leads into the right basin. With delta = inf there is one stage. Starts of one problem that have
    met are continued as one. Where the lowest end has not converged (delta a millionth of the residuals,
    a start caught on a kink) all go again in smaller steps.
    """
    theta = np.clip(starts, problem.low, problem.high)
    for factor in _FACTORS:
        found = _continued(problem, theta, first_delta, _FAR, factor)
        if found.converged[np.argmin(found.value)]:
            break
    return found


def solve_on_part(
    problem: Problem, starts: np.ndarray, points: np.ndarray, first_delta: float = FIRST_DELTA
) -> Solution:
    """`solve` on some of one problem's points (rows of them); the optima found there are then refined
    on all, each once, so that a start costs little however many points there are."""
    found = solve(problem.part(points), starts, first_delta)
    first, of_row = np.unique(_met(found), return_inverse=True)
    return refine(problem, found.theta[first]).take(of_row)


def refine(problem: Problem, starts: np.ndarray) -> Solution:
    """Minimises each problem from its own row of `starts` (problems, p), which should be near.

    First straight at the objective's delta. What has not converged in a few steps (a resample that
    leaves a flat valley, a tiny delta) goes by continuation as well, and the lower end counts.
    """
    parts = []
    size = max(16, _BATCH // problem.log_target.shape[-1])
    for begin in range(0, len(starts), size):
        rows = np.arange(begin, min(begin + size, len(starts)))
        part = problem.take(rows)
        theta = np.clip(starts[rows], part.low, part.high)
        parts.append(_refined(part, theta))
    return Solution(*(np.concatenate([getattr(p, f) for p in parts])
                      for f in ("theta", "value", "gradient")))


def _refined(problem: Problem, starts: np.ndarray) -> Solution:
    answer = _settled(problem, starts, _QUICK_STEPS, _NEAR)
    slow = np.flatnonzero(~answer.converged)
    if not len(slow):
        return answer
    part = problem.take(slow)
    other = _continued(part, starts[slow], FIRST_DELTA, _NEAR)
    # What stopped halfway on the straight way, and is lower already, leads to a lower optimum.
    lower = np.flatnonzero(answer.value[slow] < other.value)
    if len(lower):
        rest = _settled(part.take(lower), answer.theta[slow[lower]], 20 * _QUICK_STEPS, _NEAR)
        won = lower[rest.converged]
        _put(other, won, rest.take(np.flatnonzero(rest.converged)))
    _put(answer, slow, other)
    return answer


def _put(into: Solution, rows: np.ndarray, found: Solution) -> None:
    into.theta[rows], into.value[rows], into.gradient[rows] = found.theta, found.value, found.gradient


def _continued(
    problem: Problem, theta: np.ndarray, first_delta: float, damping: float, factor: float = _FACTORS[0]
) -> Solution:
    """Through all stages of delta."""
    objective = problem.objective
    stages = _stages(first_delta * objective.typical(problem.log_target), objective.delta, factor)
    member = np.arange(len(theta))
    given = (problem.log_target, problem.weights, problem.low, problem.high)
    one_problem = all(len(a) == 1 for a in given)
    for delta in stages[:-1]:
        stage = problem.with_delta(delta)
        found = newton(stage, _lifted(stage, theta)[0], _STAGE_AIM, _STAGE_STEPS, damping)
        theta, damping = found.theta, _NEAR
        if one_problem:
            first, of_row = np.unique(_met(found), return_inverse=True)
            theta, member = theta[first], of_row[member]
    return _settled(problem, theta, 1000, damping).take(member)


def _stages(first: float, target: float, factor: float) -> list[float]:
    if not np.isfinite(target) or target >= first:
        return [target]
    n = int(np.ceil(np.log(first / target) / np.log(factor)))
    return list(np.geomspace(first, target, n + 1)[:-1]) + [target]


def _met(found: Solution) -> np.ndarray:
    """For each row the lowest one that it has met, (rows,)."""
    leader = np.arange(len(found.value))
    leaders = []
    for row in np.argsort(found.value, kind="stable"):
        for other in leaders:
            near = np.abs(found.theta[row] - found.theta[other]).max() <= _SAME_PLACE
            if near and found.value[row] <= (1 + _SAME_VALUE) * found.value[other]:
                leader[row] = other
                break
        else:
            leaders.append(row)
    return leader


def _settled(problem: Problem, theta: np.ndarray, most: int, damping: float) -> Solution:
    """The optimum at the objective's own delta, with no constant at zero that does not want to be."""
    for _ in range(_LIFTS):
        answer = newton(problem, theta, _AIM, most, damping)
        theta, lifted = _lifted(problem, answer.theta)
        if not lifted.any():
            return answer
    answer.gradient[lifted] = np.inf
    return answer


def _lifted(problem: Problem, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Constants at zero where the objective falls away from it are put back to work.

    The root of a constant has a stationary point at zero, a minimum only if the objective curves
    upwards there. One that is held stays. Returns new points, and which problems were touched, (problems,).
    """
    small = problem.roots & (np.abs(theta) < _LIFT) & (problem.low < problem.high)
    rows = np.flatnonzero(small.any(axis=1))
    if len(rows):
        bend = np.einsum("rjj->rj", problem.take(rows).derivatives(theta[rows])[2])
        small[rows] &= bend < 0
    return np.where(small, 2 * _LIFT, theta), small.any(axis=1)
