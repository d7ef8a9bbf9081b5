"""The losses of one residual: their shape, and their derivatives against finite differences."""

import numpy as np
import pytest

from scaling.errors import UserError
from scaling.laws.fitting.objectives import NAMES, objective

RESIDUALS = np.array([-0.3, -0.05, -0.008, -0.0004, 0.0006, 0.007, 0.06, 0.4])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_pull_and_bend_are_derivatives_by_the_laws_log(name, scale):
    goal, target = objective(name, 0.01), np.log(2.0)
    at, step = target + RESIDUALS, 1e-6
    loss = lambda log_value: goal.pulls(log_value, target, scale, goal.delta)[0]  # noqa: E731
    _, pull, bend = goal.pulls(at, target, scale, goal.delta)
    slope = (loss(at + step) - loss(at - step)) / (2 * step)
    np.testing.assert_allclose(pull, slope, rtol=1e-6, atol=1e-9)
    pulls = [goal.pulls(v, target, scale, goal.delta)[1] for v in (at - step, at + step)]
    np.testing.assert_allclose(bend, (pulls[1] - pulls[0]) / (2 * step), rtol=1e-5, atol=1e-7)


def test_huber_is_half_a_square_inside_delta_and_straight_outside():
    goal = objective("huber_log", 0.01)
    loss = goal.pulls(np.array([0.004, -0.004, 0.05, -0.05]), 0.0, 1.0, goal.delta)[0]
    np.testing.assert_allclose(loss, [8e-6, 8e-6, 0.01 * 0.045, 0.01 * 0.045])


@pytest.mark.parametrize("name, raw", [("log_squares", False), ("squares", True)])
def test_squares_are_huber_without_end(name, raw):
    goal = objective(name)
    loss = goal.pulls(np.log(3.0), np.log(2.0), 1.0, goal.delta)[0]
    residual = 1.0 if raw else np.log(1.5)
    assert loss == pytest.approx(residual**2 / 2)


def test_asymmetric_is_ten_times_as_dear_above_the_measurement():
    goal = objective("asymmetric", 1e-6)
    above, below = goal.pulls(np.log([2.1, 1.9]), np.log(2.0), 1.0, goal.delta)[0]
    assert above == pytest.approx(10 * below, rel=1e-4)
    assert below == pytest.approx(1e-6 * 0.1, rel=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_standard_error_twice_as_large_counts_as_half_the_residual(name):
    goal = objective(name, 0.01)
    log_value, target = 0.7, 0.4
    size = np.exp(log_value) - np.exp(target) if goal.raw else log_value - target
    half = size / 2
    at = np.log(np.exp(target) + half) if goal.raw else target + half
    twice = goal.pulls(log_value, target, 2.0, goal.delta)[0]
    assert twice == pytest.approx(goal.pulls(at, target, 1.0, goal.delta)[0])


def test_mistakes_get_one_line():
    with pytest.raises(UserError, match="huber_log"):
        objective("huber_lg")
    with pytest.raises(UserError, match="above 0"):
        objective("huber_log", 0.0)
