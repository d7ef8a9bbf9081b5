"""Profile likelihood of one parameter: how well the law fits with it held, all others free."""

import dataclasses

import numpy as np
from scipy.special import fdtri, ndtr  # scipy.stats takes a second to import

from scaling.config import did_you_mean
from scaling.errors import UserError
from scaling.laws.fitting.log_sum_exp import LogSumExp
from scaling.laws.fitting.point_fit import PointFit
from scaling.laws.fitting.problem import Problem
from scaling.laws.fitting.solver import Solution, solve
from scaling.laws.uncertainty.noise import Noise, measured_noise

# Distances from the optimum at which a parameter is held, in its standard errors.
_STEPS = np.concatenate([np.arange(0.25, 4.1, 0.25), np.geomspace(5.0, 1e3, 14)])
_WIDEST = np.log(1e6)  # of a logarithmic parameter: a factor of a million
_NEAR = 18  # of them are tried first
_LONGEST = 0.25  # of the first steps, in a root, an exponent or a log
_AMPLE = 20.0  # deviance
_REFINED = 4  # times at most
_JUMP = 0.5  # of the deviance's root, more than which is not interpolated
_GOOD = 1e-6  # scale-free gradient at which a held fit counts


@dataclasses.dataclass(frozen=True)
class Profile:
    """values: at which the parameter was held, increasing, (values,). deviance: twice the fall of the log
    likelihood from its maximum, adjusted (see `profile`), (values,). quantile: of F, what it may reach
    inside the interval. estimate: the fit's own value. interval: at `level`; 0, a bound, or infinite
    where the deviance never reaches the quantile, and then open_below or open_above.
    """

    parameter: str
    values: np.ndarray
    deviance: np.ndarray
    quantile: float
    level: float
    estimate: float
    interval: tuple[float, float]
    open_below: bool
    open_above: bool

    def to_json(self) -> dict:
        finite = lambda v: float(v) if np.isfinite(v) else None  # noqa: E731
        return {
            "parameter": self.parameter, "level": self.level, "estimate": self.estimate,
            "interval": [finite(v) for v in self.interval],
            "open_below": self.open_below, "open_above": self.open_above,
        }


def profile(
    point: PointFit,
    parameter: str,
    run_of_row: np.ndarray | None = None,
    level: float = 0.9,
    noise: Noise | None = None,
) -> Profile:
    """The profile likelihood of a parameter by name, in its own units.

    The log likelihood is minus the fit's own objective. Its deviance is divided by (variance by the
    sandwich HC3, by run) / (variance by curvature), which gives it the scale of the noise and widens
    the interval where noise differs or clusters by run (Chandler and Bate 2007), and compared with
    F(1, runs - p). run_of_row: (points,), every row its own run by default. noise: of the fit, if it
    is known. Raises `UserError` if there is no such parameter.
    """
    names = point.form.names
    if parameter not in names:
        raise UserError(f"{point.form.name}: no parameter {parameter!r}{did_you_mean(parameter, names)}")
    at = names.index(parameter)
    noise = measured_noise(point) if noise is None else noise
    if run_of_row is None:
        run_of_row = np.arange(len(noise.residuals))
    problem, minima = _uncoupled(point, at)
    start = minima[0]
    lowest = float(problem.value(start[None])[0])
    error, ratio = _standard_error(point, noise, problem, start, at, run_of_row)
    freedom = max(len(np.unique(run_of_row)) - len(names), 1)
    quantile = float(fdtri(1, freedom, level))
    sides = [_side(problem, minima, at, limit, error, lowest, ratio, quantile)
             for limit in _limits(point, at)]
    lowest = min([lowest] + [float(value.min()) for _, value in sides])
    sides = [(held, 2 * (value - lowest) * ratio) for held, value in sides]
    ends = [_crossing(np.append(start[at], held), np.append(0.0, deviance), quantile)
            for held, deviance in sides]
    (below, left), (above, right) = sides
    values = np.concatenate([below[::-1], start[[at]], above])
    deviance = np.concatenate([left[::-1], [0.0], right])
    root = point.centring.roots[at]
    logarithmic = point.form.parameters[at].logarithmic
    own = lambda v: v**2 if root else np.exp(v) if logarithmic else v  # noqa: E731
    floor = 0.0 if logarithmic else point.form.parameters[at].low
    return Profile(
        parameter, own(values), deviance, quantile, level, float(own(start[at])),
        (floor if ends[0] is None else float(own(ends[0])),
         np.inf if ends[1] is None else float(own(ends[1]))),
        open_below=ends[0] is None, open_above=ends[1] is None,
    )


def _uncoupled(point: PointFit, at: int) -> tuple[Problem, np.ndarray]:
    """The fit in coordinates of which one is the parameter itself (its natural coordinate, the root of a
    constant), and the fit's minima there, (minima, p), the optimum first. A coefficient's centred
    coordinate is the log of its term at the middle of the data, which is another question."""
    centring, problem = point.centring, point.problem
    matrix, offset = centring.matrix.copy(), centring.offset.copy()
    if not point.form.parameters[at].logarithmic:
        matrix[:, at] /= matrix[at, at]
    else:
        matrix[at], offset[at] = np.eye(len(matrix))[at], 0.0
    changed = dataclasses.replace(centring, matrix=matrix, offset=offset)
    low, high = np.full_like(problem.low, -np.inf), np.full_like(problem.high, np.inf)
    other = np.arange(len(matrix)) != at
    low[:, other], high[:, other] = problem.low[:, other], problem.high[:, other]
    if isinstance(problem, LogSumExp):
        back = problem.design @ np.linalg.inv(centring.matrix)
        moved = dataclasses.replace(
            problem, design=back @ matrix, low=low, high=high,
            offset=problem.offset + back @ (offset - centring.offset),
        )
    else:
        moved = dataclasses.replace(problem, centring=changed, low=low, high=high)
    return moved, changed.to_centred(point.minima)


def _standard_error(point, noise: Noise, problem: Problem, theta, at, run_of_row) -> tuple[float, float]:
    """By HC3 per run, and variance by curvature over variance by the sandwich, for one coordinate."""
    jacobian = np.nan_to_num(problem.jacobian(theta)) * noise.unit[:, None]
    if point.loss.raw:
        jacobian = jacobian * np.exp(problem.log_value(theta[None])[0])[:, None]
    delta = problem.objective.delta
    share = 1.0
    if np.isfinite(delta):  # of residuals inside delta: by a smooth density, since delta may be tiny
        z = noise.inflated(run_of_row, 0.5) / problem.scale
        width = max(1.06 * noise.deviation * len(z) ** -0.2, 1e-300)
        share = float(np.mean(ndtr((delta - z) / width) - ndtr((-delta - z) / width)))
    bread = np.linalg.pinv(jacobian.T @ jacobian * max(share, 1e-6), rcond=1e-12, hermitian=True)
    bend = delta * np.sqrt(problem.weights[0])
    pull = np.clip(noise.inflated(run_of_row) * noise.unit, -bend, bend)
    runs = int(run_of_row.max()) + 1
    score = np.zeros((runs, jacobian.shape[1]))
    np.add.at(score, run_of_row, jacobian * pull[:, None])
    meat = score.T @ score
    sandwich = bread @ meat @ bread
    moves = np.sqrt((jacobian[:, at] ** 2).sum()) > noise.deviation
    if not (moves and bread[at, at] > 0 and sandwich[at, at] > 0):
        # The law does not depend on it here (a constant at zero, a scale gone to infinity): the noise's
        # scale comes from the mean over the others.
        total = np.trace(bread @ meat)
        return _LONGEST, np.linalg.matrix_rank(bread) / total if total > 0 else 1.0
    return float(np.sqrt(sandwich[at, at])), float(bread[at, at] / sandwich[at, at])


def _limits(point: PointFit, at: int) -> tuple[float, float]:
    """How far a coordinate is followed: its bounds; a root from nearly zero (there the solver has no
    derivatives) to the largest measurement."""
    centring, parameter = point.centring, point.form.parameters[at]
    if parameter.kind == "constant":
        largest = float(np.sqrt(np.exp(point.problem.log_target[0].max())))
        return 1e-5 * largest, largest
    if parameter.kind == "coefficient":
        return point.theta[at] - _WIDEST, point.theta[at] + _WIDEST
    low, high = (bound[at] * centring.matrix[at, at] + centring.offset[at]
                 for bound in (centring.low, centring.high))
    return (low if np.isfinite(low) else point.theta[at] - 1e3,
            high if np.isfinite(high) else point.theta[at] + 1e3)


def _side(problem, minima, at, limit, error, lowest, ratio, quantile) -> tuple[np.ndarray, np.ndarray]:
    """Values going from the optimum towards a limit, and the lowest objective at each, (values,).

    Steps of the standard error, then ever longer ones; only as far as the deviance rises above any quantile
    that could be asked for, but past every other minimum on the way. Where it crosses the quantile
    between two values far apart, others are put between them.
    """
    start = minima[0]
    sign = np.sign(limit - start[at])
    held = start[at] + sign * min(error, _LONGEST) * _STEPS
    other = minima[1:, at][sign * (minima[1:, at] - start[at]) > 0]
    held = sign * np.unique(sign * np.append(held, other))
    held = np.append(held[sign * held < sign * limit], limit) if sign else start[[at]]
    near = _NEAR + int((sign * held[_NEAR:, None] <= sign * other).any(axis=1).sum())
    value = _held(problem, minima, at, held[:near])
    if len(held) > near and 2 * (value[-1] - lowest) * ratio < _AMPLE:
        value = np.append(value, _held(problem, minima, at, held[near:]))
    held = np.insert(held[: len(value)], 0, start[at])
    value = np.insert(value, 0, lowest)
    for _ in range(_REFINED):
        known = np.isfinite(value) | (np.arange(len(value)) > np.flatnonzero(np.isfinite(value)).max())
        held, value = held[known], value[known]  # a point that failed although one further out did not
        root = np.sqrt(np.maximum(2 * (value - lowest) * ratio, 0.0))
        k = _outside(root, quantile)
        if k == len(root) or root[k] - root[k - 1] <= _JUMP:
            break
        between = np.linspace(held[k - 1], held[k], 8)[1:-1]
        value = np.insert(value, k, _held(problem, minima, at, between))
        held = np.insert(held, k, between)
    return held[1:], value[1:]


def _held(problem: Problem, minima: np.ndarray, at: int, values: np.ndarray) -> np.ndarray:
    """Lowest objective with one coordinate held at each of the values, (values,).

    Once from each of the minima; then each again from what its neighbour towards the optimum found, as
    long as that helps.
    """
    low, high = (np.repeat(b, len(values), axis=0) for b in (problem.low, problem.high))
    low[:, at] = high[:, at] = values
    held = dataclasses.replace(problem, low=low, high=high)
    theta, value = np.repeat(minima[:1], len(values), axis=0), np.full(len(values), np.inf)
    for start in minima:
        starts = np.repeat(start[None], len(values), axis=0)
        starts[:, at] = values
        theta, value = _lower(theta, value, solve(held, starts, first_delta=0.03))
    for _ in range(3):
        from_neighbour = np.concatenate([minima[:1], theta[:-1]])
        from_neighbour[:, at] = values
        again = solve(held, from_neighbour, first_delta=problem.objective.delta)
        before = value
        theta, value = _lower(theta, value, again)
        if (value == before).all():
            break
    return value


def _lower(theta: np.ndarray, value: np.ndarray, found: Solution) -> tuple[np.ndarray, np.ndarray]:
    """What was known, and what is lower by more than rounding."""
    new = np.where(found.gradient <= _GOOD, found.value, np.inf)
    better = new < value * (1 - 1e-9)
    return np.where(better[:, None], found.theta, theta), np.where(better, new, value)


def _outside(root: np.ndarray, quantile: float) -> int:
    """The first index beyond which the deviance stays at or above the quantile; its length if there is
    none. Another minimum further out may lie below it again, and is then inside."""
    return int(np.flatnonzero(root < np.sqrt(quantile)).max()) + 1


def _crossing(held: np.ndarray, deviance: np.ndarray, quantile: float) -> float | None:
    """Where the deviance reaches the quantile for good going outwards; None if it never does.

    Interpolated in the deviance's root, which is straight where the likelihood is normal.
    """
    root = np.sqrt(np.maximum(deviance, 0.0))
    k = _outside(root, quantile)
    if k == len(root):
        return None
    share = (np.sqrt(quantile) - root[k - 1]) / (root[k] - root[k - 1])
    return float(held[k - 1] + share * (held[k] - held[k - 1]))
