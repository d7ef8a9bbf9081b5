"""What intervals a planned sweep will give, before any of it is trained."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from scaling.errors import UserError
from scaling.laws.allocation import FlopsRelation
from scaling.laws.design.information import covariance_root, estimator_noise, quantile_of_t, sensitivities
from scaling.laws.design.targets import target
from scaling.laws.forms.chinchilla import CHINCHILLA
from scaling.laws.forms.grammar import Form

# At a sweep's middle, and of both terms. Chinchilla fits to seven published sweeps and to our demo have
# 0.39 to 0.78 (median 0.67) of the loss irreducible there, and exponents of 0.13 to 0.65 (median 0.36).
IRREDUCIBLE, EXPONENT = 0.7, 0.4
NOISE = 0.003  # of log loss, run to run: what such fits typically miss a run by
BEYOND = 10  # times the largest budget: where a plan is judged


@dataclasses.dataclass(frozen=True)
class ExpectedInterval:
    """Of a target. half_width: of its log, so relative, if `logarithmic`; else in its own unit.
    quantile: of Student's t, the half width in standard deviations."""

    target: str
    half_width: float
    logarithmic: bool
    quantile: float
    level: float


@dataclasses.dataclass(frozen=True)
class Expectation:
    """The expected intervals of a planned sweep, and what they were expected from.

    intervals: of the exponent of N*(C), and of N* and the loss at `flops`; empty where the runs cannot
    determine a law of N and D, and `problem` says why.
    """

    intervals: tuple[ExpectedInterval, ...]
    flops: float
    noise: float
    delta: float
    problem: str | None

    def to_json(self) -> dict:
        return {
            **dataclasses.asdict(self),
            "assumed": {"irreducible_share": IRREDUCIBLE, "exponents": EXPONENT,
                        "optimum": "through the sweep's middle"},
        }

    def in_words(self) -> list[str]:
        if self.problem:
            return [f"expected intervals: none, {self.problem}"]
        exponent, n_opt, loss = self.intervals
        return [
            f"expected {exponent.level:.0%} intervals of approach 3: exponent of N*"
            f" ±{exponent.half_width:.2g}; at {self.flops:.3g} FLOPs,"
            f" loss ±{np.expm1(loss.half_width):.1%}, N* within a factor {np.exp(n_opt.half_width):.3g}",
            f"assumed for that: run-to-run noise of {self.noise:.2%} (--noise), both exponents"
            f" {EXPONENT:g}, {IRREDUCIBLE:.0%} of the loss irreducible, N* met in the sweep's middle",
        ]


def expect(
    n_params: Sequence[float], n_tokens: Sequence[float], flops: Sequence[float], noise: float = NOISE,
    delta: float = 1e-3,
) -> Expectation:
    """Of a Chinchilla fit to planned runs, each (runs,), under `assumed_law`; see `Expectation`."""
    n, d, c = (np.array(column, float) for column in (n_params, n_tokens, flops))
    relation, beyond = FlopsRelation.of(n, d, c), BEYOND * float(c.max())
    goals = ("n_exponent", f"n_opt@{beyond:.6g}", f"loss@{beyond:.6g}")
    columns = {"n_params": n, "n_tokens": d}
    try:
        intervals = expected_intervals(assumed_law(n, d, relation), columns, relation, goals, noise, delta)
    except UserError as problem:
        return Expectation((), beyond, noise, delta, str(problem))
    return Expectation(tuple(intervals), beyond, noise, delta, None)


def assumed_law(n_params: np.ndarray, n_tokens: np.ndarray, relation: FlopsRelation) -> np.ndarray:
    """A Chinchilla law for a sweep that has none yet, in natural coordinates.

    Its compute optimum passes through the sweep's middle (geometric means of N and D), where the loss
    is 1, `IRREDUCIBLE` of it in E. So it says widths relative to the loss, not losses.
    """
    log_n, log_d = np.log(n_params).mean(), np.log(n_tokens).mean()
    reducible = np.log(1 - IRREDUCIBLE) - np.log1p(relation.p)
    log_a = reducible + np.log(relation.p) + EXPONENT * log_n  # alpha A N^-alpha = p beta B D^-beta
    return np.array([np.log(IRREDUCIBLE), log_a, reducible + EXPONENT * log_d, EXPONENT, EXPONENT])


def expected_intervals(
    theta: np.ndarray,
    columns: dict[str, np.ndarray],
    relation: FlopsRelation,
    targets: Sequence[str],
    noise: float = NOISE,
    delta: float = 1e-3,
    level: float = 0.9,
    form: Form = CHINCHILLA,
) -> list[ExpectedInterval]:
    """Expected of a fit of `form` to runs at `columns` (points,), if its truth is theta (p,).

    noise: standard deviation of log loss, normal. delta: of the Huber loss, in log loss. Raises
    `UserError` if the points do not determine the law, or leave no degree of freedom.
    """
    for name, value in (("noise", noise), ("delta", delta)):
        if not value > 0:
            raise UserError(f"{name} = {value!r}: expected a number above 0")
    rows = sensitivities(form, theta, columns)
    freedom = len(rows) - len(theta)
    if freedom < 1:
        raise UserError(f"{len(rows)} runs for {len(theta)} parameters leave no noise to see")
    root = covariance_root(rows)
    quantile, passed_on = quantile_of_t(level, freedom), estimator_noise(noise, delta)
    largest = float(relation.flops(columns["n_params"], columns["n_tokens"]).max())
    expected = []
    for text in targets:
        goal = target(text, form, relation, largest)
        deviation = passed_on * float(np.linalg.norm(goal.gradient(theta) @ root))
        expected.append(ExpectedInterval(text, quantile * deviation, goal.logarithmic, quantile, level))
    return expected
