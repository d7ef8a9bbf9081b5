"""What shows that a fit is at its optimum."""

import dataclasses

import numpy as np

from scaling.laws.fitting.problem import Problem
from scaling.laws.fitting.solver import Solution
from scaling.laws.forms.coordinates import Centring
from scaling.laws.forms.grammar import Form

SAME = 1e-6  # relative difference of objectives that counts as one minimum


@dataclasses.dataclass(frozen=True)
class Receipt:
    """gradient: largest component of the gradient in centred coordinates, divided by
        (delta x sum of weights); at most 1e-8, or there is no fit.
    starts_at_optimum: share of the starts that ended at the lowest objective found. Starts that meet on
        the way, under the wider objectives of the continuation, go on as one and count as before:
        near 1 says that it leads them all into one basin. That there is no other, a certificate proves.
    starts_on: points that the starts were run on. Fewer than all if there are very many: the optima
        found there are then refined on all, and objectives and gradient are of all.
    minima: distinct objectives found at converged points, lowest first, {objective, share, params}.
    conditioning: condition number of the Gauss-Newton matrix in centred coordinates; None if
        singular. Large (above 1e6) means parameters that trade against each other.
    at_bound: parameters at a bound: an exponent at its limit, a constant at zero.
    """

    gradient: float
    starts_at_optimum: float
    n_starts: int
    starts_on: int
    minima: tuple[dict, ...]
    conditioning: float | None
    at_bound: tuple[str, ...]

    def to_json(self) -> dict:
        return dataclasses.asdict(self)


def receipt(
    form: Form, problem: Problem, centring: Centring, solution: Solution, best: int,
    starts_on: int,
) -> Receipt:
    lowest = solution.value[best]
    delta = problem.objective.delta
    unit = delta**2 if np.isfinite(delta) else (1e-3 * problem.objective.typical(problem.log_target))**2
    same = SAME * lowest + 1e-9 * unit * problem.weights.sum()
    minima = []
    for i in np.argsort(solution.value, kind="stable"):
        if solution.converged[i] and (
            not minima or solution.value[i] > minima[-1]["objective"] + same
        ):
            minima.append({
                "objective": float(solution.value[i]),
                "share": float(np.mean(np.abs(solution.value - solution.value[i]) <= same)),
                "params": form.named(centring.to_natural(solution.theta[i])),
            })
    theta = solution.theta[best]
    jacobian = problem.jacobian(theta) * np.sqrt(problem.weights[0])[:, None]
    singular = np.linalg.svd(np.nan_to_num(jacobian), compute_uv=False)
    tiny = singular[-1] <= 1e-12 * singular[0]
    return Receipt(
        gradient=float(solution.gradient[best]),
        starts_at_optimum=float(np.mean(solution.value <= lowest + same)),
        n_starts=len(solution.value),
        starts_on=starts_on,
        minima=tuple(minima),
        conditioning=None if tiny else float((singular[0] / singular[-1]) ** 2),
        at_bound=at_bound(form, problem, centring, theta),
    )


def at_bound(form: Form, problem: Problem, centring: Centring, theta: np.ndarray) -> tuple[str, ...]:
    """Names of parameters at a bound at centred coordinates (p,); a coefficient, where its term is gone.

    A constant or a term counts as gone below 1e-6 of the typical prediction.
    """
    gone = float(np.log(1e-6)) + float(np.median(problem.log_target))
    names = []
    for i, parameter in enumerate(form.parameters):
        if parameter.kind == "constant":
            out = theta[i] ** 2 <= np.exp(gone)
        elif parameter.kind == "coefficient":
            out = bool(parameter.powers) and theta[i] <= gone
        else:
            width = 1e-9 * (1.0 + abs(theta[i]))
            out = theta[i] <= centring.low[i] + width or theta[i] >= centring.high[i] - width
        if out:
            names.append(parameter.name)
    return tuple(names)
