"""Steps of a law made straight: what they minimise, and where they lead."""

import numpy as np
import pytest

from scaling.laws.fitting.solver import refine, solve
from scaling.laws.fitting.straightened import Straightened
from scaling.laws.fitting.traced import Traced
from scaling.laws.uncertainty.bootstrap import case_weights


def _straightened(case, forms, name, weights):
    """A problem of 3 rows, points, and what it is about them."""
    data = case(70, 0.02)
    problem = data.problem(forms["smooth"], name, delta=1e-3, weights=weights)
    base = data.centred({"E": 1.6, "A": 350.0, "B": 1900.0, "alpha": 0.33, "beta": 0.38})
    theta = base + 0.01 * np.random.default_rng(1).standard_normal((3, 5))
    expansion = problem.expansion(theta)
    return problem, theta, expansion, problem.straightened(theta, expansion, np.zeros(3))


@pytest.mark.parametrize("name", ["huber_log", "huber_raw", "asymmetric"])
def test_near_the_point_it_is_the_problem_itself_to_second_order(case, forms, name):
    weights = np.random.default_rng(0).integers(0, 3, (3, 70)).astype(float)
    problem, theta, expansion, straight = _straightened(case, forms, name, weights)
    for here, ours in zip(straight.expansion(np.zeros_like(theta)), expansion):
        np.testing.assert_allclose(here, ours, rtol=1e-9, atol=1e-12)
    away, direction = [], np.random.default_rng(2).standard_normal(theta.shape)
    for size in (1e-2, 1e-3):
        value = problem.derivatives(theta + size * direction)[0]
        away.append(np.abs(straight.expansion(size * direction)[0] - value).max())
    # kinks included, what is left out is of third order: a tenth of the step, nearly a thousandth of it
    assert away[1] < away[0] / 200


def test_steps_stay_within_the_bounds_and_short(case, forms):
    problem, theta, _, straight = _straightened(case, forms, "huber_log", np.ones((1, 70)))
    assert (straight.low >= np.maximum(problem.low - theta, -2.0)).all()
    assert (straight.high <= np.minimum(problem.high - theta, 2.0)).all()


def test_replicates_end_where_those_of_a_sum_of_powers_do(case, forms):
    data = case(70, 0.02)
    weights = case_weights(np.arange(70), 12, seed=0)
    ends = []
    for kind in ("sum", "smooth"):
        start = solve(data.problem(forms[kind]), data.centred({"E": 1.6, "A": 350.0, "B": 1900.0,
                                                               "alpha": 0.33, "beta": 0.38})[None])
        ends.append(refine(data.problem(forms[kind], weights=weights), np.repeat(start.theta, 12, axis=0)))
    assert ends[1].converged.all()
    np.testing.assert_allclose(ends[1].value, ends[0].value, rtol=1e-9)


def test_few_evaluations_lead_through_many_kinks(case, forms, monkeypatch):
    """delta is a fiftieth of the noise: a plain Newton step is good for a kink or two."""
    problem = case(70, 0.05).problem(forms["smooth"], delta=1e-3)
    optimum = solve(problem, case(70, 0.05).centred({"E": 1.7, "A": 400.0, "B": 1500.0, "alpha": 0.34,
                                                     "beta": 0.37})[None]).theta
    evaluated, own = [], Traced._evaluated
    monkeypatch.setattr(Traced, "_evaluated", lambda self, theta: evaluated.append(1) or own(self, theta))
    found = refine(problem, optimum + 0.02 * np.random.default_rng(0).standard_normal((1, 5)))
    assert found.converged.all() and len(evaluated) <= 15


def test_a_wide_loss_is_left_to_plain_steps(case, forms):
    data = case(30, 0.02)
    for name, delta, straightens in (("huber_log", 1e-3, True), ("huber_log", 0.3, False),
                                     ("squares", 1e-3, False)):
        assert data.problem(forms["smooth"], name, delta=delta).straightens is straightens
        assert not data.problem(forms["sum"], name, delta=delta).straightens
    assert not Straightened.straightens
