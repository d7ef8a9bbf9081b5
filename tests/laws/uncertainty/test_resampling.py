"""Bootstraps give the standard errors that theory gives where it does, by run, and repeat themselves."""

import numpy as np
import pytest

from scaling.errors import UserError
from scaling.laws.uncertainty.bootstrap import interval
from scaling.laws.uncertainty.resampling import METHODS, resample

REPLICATES = 4000
CLOSE = 0.05  # four standard errors of a deviation from 4,000 draws


def deviation(line, method, **options):
    draws = resample(line.point, line.run_of_row, method, REPLICATES, 1, **options).draws
    return draws[:, 1].std()


@pytest.mark.parametrize("which", ["line", "checkpoints"])
def test_wild_has_the_standard_error_of_the_sandwich(which, request):
    line = request.getfixturevalue(which)
    assert deviation(line, "wild") == pytest.approx(line.standard_error, rel=CLOSE)


def test_residual_has_the_standard_error_of_least_squares(line):
    """sigma^2 (X'X)^-1, times freedom / (freedom - 2) for Student's t."""
    freedom = len(line.x) - 2
    variance = (line.residuals**2).sum() / freedom * np.linalg.inv(line.design.T @ line.design)[1, 1]
    expected = np.sqrt(variance * freedom / (freedom - 2))
    # the pool is of 20 residuals: its own spread differs from sigma by the leverages' unevenness
    assert deviation(line, "residual") == pytest.approx(expected, rel=0.08)


def test_cases_and_wild_agree_with_many_runs(make_line):
    line = make_line(runs=400, seed=4)
    assert deviation(line, "cases") == pytest.approx(deviation(line, "wild"), rel=2 * CLOSE)


def test_noise_that_differs_from_run_to_run_is_seen_by_wild_alone(make_line):
    """Noisy runs at both ends of x: wild and cases see it, residuals pooled over runs do not."""
    def errors(seed):
        line = make_line(runs=60, seed=seed, size=np.ones(60))
        far = np.abs(np.log(line.x) - 3) > 2
        y = 3.0 * line.x**-0.3 * (line.y / (3.0 * line.x**-0.3)) ** np.where(far, 3.0, 1.0)
        line = type(line)(line.x, y, line.run_of_row, line.fit(line.x, y))
        return [deviation(line, method) for method in ("wild", "cases", "residual")]

    wild, cases, pooled = np.mean([errors(seed) for seed in range(3)], axis=0)
    assert wild > 1.15 * pooled and cases > 1.15 * pooled


@pytest.mark.parametrize("method", METHODS)
def test_repeating_a_run_s_row_adds_no_evidence(method, line):
    """Each row three times over as checkpoints of one run: as wide as once, not narrower by sqrt(3)."""
    rows = np.repeat(np.arange(len(line.x)), 3)
    thrice = type(line)(line.x[rows], line.y[rows], rows, line.fit(line.x[rows], line.y[rows]))
    assert deviation(thrice, method) == pytest.approx(deviation(line, method), rel=0.12)


@pytest.mark.parametrize("method", ["wild", "residual"])
def test_known_seed_noise_is_a_floor(method, make_line):
    """Runs without noise, whose repeats are known to differ by 3%: (X'X)^-1 of that."""
    line = make_line(runs=30, noise=0.0)
    expected = 0.03 * np.sqrt(np.linalg.inv(line.design.T @ line.design)[1, 1])
    assert deviation(line, method, seed_noise=0.03) == pytest.approx(expected, rel=0.1)
    assert deviation(line, method) < 1e-6


def test_small_seed_noise_changes_nothing_where_more_is_seen(line):
    one, other = (resample(line.point, line.run_of_row, replicates=50, seed_noise=s) for s in (0.0, 1e-4))
    np.testing.assert_array_equal(one.theta, other.theta)


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_same_draws(method, chinchilla_point):
    point, run = chinchilla_point
    one, same, other = (resample(point, run, method, 20, seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one.theta, same.theta)
    assert not np.array_equal(one.theta, other.theta)
    assert one.record("chinchilla").method == METHODS[method]


@pytest.mark.parametrize("objective", ["huber_raw", "squares"])
def test_raw_objectives_have_their_own_sandwich(objective, line, fit_line):
    """HC3 of a nonlinear regression in nats: its Jacobian is the law times the design."""
    point = fit_line(line.x, line.y, objective=objective, delta=10.0)
    law = np.exp(np.log(line.y) + point.log_residuals)
    jacobian = line.design * law[:, None]
    bread = np.linalg.inv(jacobian.T @ jacobian)
    leverage = np.einsum("ij,jk,ik->i", jacobian, bread, jacobian)
    scores = jacobian * ((line.y - law) / (1 - leverage))[:, None]
    expected = np.sqrt((bread @ scores.T @ scores @ bread)[1, 1])
    draws = resample(point, line.run_of_row, "wild", REPLICATES, 1).draws
    assert draws[:, 1].std() == pytest.approx(expected, rel=2 * CLOSE)  # the law is not quite linear


def test_mistakes_are_refused(line, fit_line):
    with pytest.raises(UserError, match="no method 'wyld'.*wild"):
        resample(line.point, line.run_of_row, "wyld")
    floor = fit_line(line.x, line.y, objective="asymmetric", delta=1e-2)
    with pytest.raises(UserError, match="asymmetric.*use cases"):
        resample(floor, line.run_of_row, "wild")


def test_an_interval_from_few_draws_still_has_its_level():
    """99 draws and the truth from one distribution: 90% of the time it lies between the 5th and 95th."""
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(2000):
        *draws, truth = rng.standard_normal(40)
        low, high = interval(np.array(draws), 0.9)
        inside += low <= truth <= high
    assert abs(inside / 2000 - 0.9) < 0.027  # four standard errors
