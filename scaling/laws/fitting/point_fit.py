"""One law fitted to one data set: many starts, the best optimum, and a receipt that proves it."""

import dataclasses

import numpy as np

from scaling.errors import UserError
from scaling.laws.fitting.objective import LogHuber
from scaling.laws.fitting.solver import TOLERANCE, solve
from scaling.laws.forms.grammar import Centring, Form

STARTS = 64


class FitError(UserError):
    """A law that these runs cannot determine; its message says why."""


@dataclasses.dataclass(frozen=True)
class Receipt:
    """What shows that a fit is at its optimum.

    gradient: largest component of the gradient in centred coordinates, divided by
        (delta x sum of weights); at most 1e-8, or there is no fit.
    starts_at_optimum: share of the starts that ended at the lowest objective found.
    minima: distinct objectives found at converged points, lowest first, {objective, share, params}.
    conditioning: condition number of the Gauss-Newton matrix in centred coordinates; None if
        singular. Large (above 1e6) means parameters that trade against each other.
    at_bound: coefficients that went to zero.
    """

    gradient: float
    starts_at_optimum: float
    n_starts: int
    minima: tuple[dict, ...]
    conditioning: float | None
    at_bound: tuple[str, ...]

    def to_json(self) -> dict:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class PointFit:
    """The optimum. theta: natural coordinates of `form` (logs of coefficients, exponents)."""

    form: Form
    theta: np.ndarray
    objective: float
    delta: float
    log_residuals: np.ndarray
    receipt: Receipt
    centring: Centring
    problem: LogHuber

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

    def log_loss(self, logs: dict[str, np.ndarray]) -> np.ndarray:
        """Log of the law at points given by the logs of their columns, shape (points,)."""
        return self.form.log_loss(self.theta, logs)[0]

    def refit(self, log_loss: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Fits resampled data, each warm-started at this optimum.

        log_loss, weights: (replicates or 1, points). Returns natural theta (replicates,
        parameters) and which replicates converged to exponents above zero.
        """
        n = max(len(log_loss), len(weights))
        problem = dataclasses.replace(self.problem, log_loss=log_loss, weights=weights)
        start = np.repeat(self.centring.to_centred(self.theta)[None], n, axis=0)
        solution = solve(problem, start, first_delta=0.03)
        theta = self.centring.to_natural(solution.theta)
        falling = (theta[:, len(self.form.terms):] > 0).all(axis=1)
        return theta, solution.converged & falling


def fit_form(
    form: Form,
    columns: dict[str, np.ndarray],
    loss: np.ndarray,
    delta: float = 1e-3,
    starts: int = STARTS,
    seed: int = 0,
) -> PointFit:
    """Fits a form to losses (points,) by the Huber loss of log residuals, summed over points.

    columns: positive values of the form's columns, each (points,). delta: in log loss; `inf`
    for least squares of logs. Raises `FitError` with too few points, columns that do not vary,
    a law that does not fall, or no converged optimum.
    """
    if len(loss) < len(form.parameters):
        raise FitError(f"{form.name}: {len(loss)} points for {len(form.parameters)} parameters")
    for name in form.columns:
        if len(np.unique(columns[name])) < 2:
            raise FitError(f"{form.name}: all runs have the same {name}, so its exponent is free")
    if not delta > 0:
        raise UserError(f"delta = {delta!r}: expected a positive number")
    logs = {name: np.log(columns[name]) for name in form.columns}
    target = np.log(loss)
    design = form.design(logs)
    centring = Centring.of(form, design)
    problem = LogHuber(
        design=centring.centred_design(design),
        log_loss=target[None],
        weights=np.ones((1, len(loss))),
        roots=centring.roots,
        delta=delta,
    )
    solution = solve(problem, _starts(form, target, centring, starts, seed))
    best = int(np.argmin(solution.value))
    if not solution.converged[best]:
        raise FitError(
            f"{form.name}: no optimum found: the lowest of {starts} starts still has a scale-free"
            f" gradient of {solution.gradient[best]:.1e} (needed: {TOLERANCE:.0e})"
        )
    theta = centring.to_natural(solution.theta[best])
    for name, value in zip(form.exponents, theta[len(form.terms):]):
        if value <= 0:
            raise FitError(f"{form.name}: the best {name} is {value:.3g}; these losses do not fall"
                           " as a power law")
    residuals = problem.predict(solution.theta[best : best + 1])[0][0] - target
    return PointFit(form, theta, float(solution.value[best]), delta, residuals,
                    _receipt(form, problem, centring, solution, best), centring, problem)


def _starts(form: Form, target: np.ndarray, centring: Centring, n: int, seed: int) -> np.ndarray:
    """Each term a random share of the typical loss, exponents log-uniform in 0.05 to 1."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(len(form.terms)), size=n)
    exponents = np.exp(rng.uniform(np.log(0.05), 0.0, size=(n, len(form.exponents))))
    logs = np.log(np.maximum(shares, 1e-4)) + np.median(target)
    start = np.concatenate([logs, exponents * centring.scale], axis=1)
    return np.where(centring.roots, np.exp(start / 2), start)


def _receipt(form, problem, centring, solution, best) -> Receipt:
    lowest = solution.value[best]
    unit = problem.delta**2 if np.isfinite(problem.delta) else 1e-6
    same = 1e-6 * lowest + 1e-9 * unit * problem.weights.sum()
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
    share = problem.predict(solution.theta[best : best + 1])[1][0]
    jacobian = np.einsum("ik,ikj->ij", share, problem.design)
    singular = np.linalg.svd(jacobian, compute_uv=False)
    tiny = singular[-1] <= 1e-12 * singular[0]
    return Receipt(
        gradient=float(solution.gradient[best]),
        starts_at_optimum=float(np.mean(solution.value <= lowest + same)),
        n_starts=len(solution.value),
        minima=tuple(minima),
        conditioning=None if tiny else float((singular[0] / singular[-1]) ** 2),
        at_bound=tuple(
            name for k, name in enumerate(form.coefficients) if share[:, k].max() < 1e-6
        ),
    )
