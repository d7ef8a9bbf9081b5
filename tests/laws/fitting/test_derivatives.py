"""Derivatives of both kinds of problem: exact, equal, and the same in tiles as at once."""

import dataclasses

import numpy as np
import pytest

from scaling.laws.fitting import log_sum_exp
from scaling.laws.fitting.objectives import NAMES

KINDS = ("sum", "smooth")


def _differences(problem, theta, step=1e-5):
    """Gradient and Hessian by central differences, of one theta (1, p)."""
    steps = step * np.eye(theta.shape[1])
    ends = theta + steps, theta - steps
    one = dataclasses.replace(problem, weights=problem.weights[:1], log_target=problem.log_target[:1])
    high, low = (one.derivatives(end) for end in ends)
    return (high[0] - low[0]) / (2 * step), (high[1] - low[1]) / (2 * step)


def _near(case, problem, rows=1):
    """Points near the truth, (rows, p)."""
    base = case.centred({"E": 1.6, "A": 350.0, "B": 1900.0, "alpha": 0.33, "beta": 0.38})
    return base + 0.02 * np.random.default_rng(1).standard_normal((rows, len(base)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("errors", [False, True])
def test_gradient_and_hessian_are_exact(case, forms, kind, name, errors):
    data = case(30, 0.02)
    scale = np.random.default_rng(2).uniform(0.5, 2.0, 30) if errors else 1.0
    # delta between residuals: no kink within a step of the differences
    problem = data.problem(forms[kind], name, delta=0.0123, scale=scale)
    theta = _near(data, problem)
    _, gradient, hessian = problem.derivatives(theta)
    slope, bend = _differences(problem, theta)
    np.testing.assert_allclose(gradient[0], slope, rtol=1e-5, atol=1e-7 * np.abs(slope).max())
    np.testing.assert_allclose(hessian[0], bend, rtol=1e-5, atol=1e-6 * np.abs(bend).max())


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_exact_at_a_bound_and_at_a_root_of_zero(case, forms, kind):
    """No difference quotient is needed of the root at zero: the law holds E = root^2 there."""
    data = case(30, 0.02)
    problem = data.problem(forms[kind], delta=0.0123)
    theta = _near(data, problem)
    theta[0, 4] = 0.0  # beta at its lower bound
    theta[0, 0] = 1e-3
    _, gradient, hessian = problem.derivatives(theta)
    slope, bend = _differences(problem, theta, 1e-6)
    np.testing.assert_allclose(gradient[0], slope, rtol=1e-4, atol=1e-6 * np.abs(slope).max())
    np.testing.assert_allclose(hessian[0], bend, rtol=1e-3, atol=1e-5 * np.abs(bend).max())
    theta[0, 0] = 0.0
    value, gradient, hessian = problem.derivatives(theta)
    assert gradient[0, 0] == pytest.approx(0.0, abs=1e-12)
    assert np.isfinite(hessian).all() and np.isfinite(value).all()


@pytest.mark.parametrize("kind", KINDS)
def test_held_parameters_are_left_out(case, forms, kind):
    data = case(30, 0.02)
    form = forms[kind].fix(E=1.7, beta=0.36)
    assert form.names == ("A", "B", "alpha")
    problem = data.problem(form, delta=0.0123)
    theta = data.centred({"A": 350.0, "B": 1900.0, "alpha": 0.33}, form)[None]
    slope, bend = _differences(problem, theta)
    _, gradient, hessian = problem.derivatives(theta)
    np.testing.assert_allclose(gradient[0], slope, rtol=1e-5, atol=1e-7 * np.abs(slope).max())
    np.testing.assert_allclose(hessian[0], bend, rtol=1e-5, atol=1e-6 * np.abs(bend).max())


@pytest.mark.parametrize("name", NAMES)
def test_both_kinds_agree(case, forms, name):
    """Also where some points have no weight, each problem has its own measurements, and errors differ."""
    data, rng = case(30, 0.02), np.random.default_rng(3)
    shared = {
        "weights": rng.integers(0, 3, (5, 30)).astype(float), "scale": rng.uniform(0.5, 2.0, 30),
        "log_target": np.log(data.loss) + 0.01 * rng.standard_normal((5, 30)),
    }
    problems = [data.problem(forms[kind], name, delta=0.01, **shared) for kind in KINDS]
    theta = _near(data, problems[0], rows=5)
    for ours, other in zip(*(p.derivatives(theta) for p in problems)):
        np.testing.assert_allclose(ours, other, rtol=1e-9, atol=1e-12 * np.abs(ours).max())
    one, two = (p.jacobian(theta[0]) for p in problems)
    np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(*(p.log_value(theta) for p in problems), rtol=1e-12)


def test_tiles_do_not_change_them(case, monkeypatch):
    data, rng = case(100, 0.02), np.random.default_rng(4)
    weights, scale = rng.uniform(size=(7, 100)), rng.uniform(0.5, 2.0, 100)
    theta = _near(data, None, rows=7)
    whole = data.problem(weights=weights, scale=scale).derivatives(theta)
    for tile, block, kept in ((32, 8, 1 << 24), (64, 16, 0), (1, 1, 0), (1 << 20, 1 << 20, 0)):
        monkeypatch.setattr(log_sum_exp, "_TILE", tile)
        monkeypatch.setattr(log_sum_exp, "_BLOCK", block)
        monkeypatch.setattr(log_sum_exp, "_KEPT", kept)
        for parts, once in zip(data.problem(weights=weights, scale=scale).derivatives(theta), whole):
            np.testing.assert_allclose(parts, once, rtol=1e-11, atol=1e-13 * np.abs(once).max())


def test_a_hundred_thousand_points_in_tiles_are_their_plain_sums(case):
    data = case(100_000, 0.02)
    problem = data.problem(delta=0.01)
    theta = _near(data, problem)
    value, gradient, hessian = problem.derivatives(theta)
    loss, pull, bend = problem.objective.pulls(problem.log_value(theta), problem.log_target, 1.0, 0.01)
    jacobian = problem.jacobian(theta[0])
    assert value[0] == pytest.approx(loss.sum(), rel=1e-10)
    np.testing.assert_allclose(gradient[0], pull[0] @ jacobian, rtol=1e-8)
    # the part of the Hessian that squares of first derivatives make up, which is most of it here
    squares = jacobian.T @ (bend[0][:, None] * jacobian)
    np.testing.assert_allclose(np.diag(hessian[0]), np.diag(squares), rtol=0.2)


def test_where_a_term_overflows_there_is_no_finite_value(case):
    problem = case(30, 0.02).problem()
    theta = _near(case(30, 0.02), problem, rows=2)
    theta[1, 1] = 2000.0
    with np.errstate(all="ignore"):
        value = problem.derivatives(theta)[0]
    assert np.isfinite(value[0]) and not np.isfinite(value[1])
