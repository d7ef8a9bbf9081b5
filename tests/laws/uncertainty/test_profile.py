"""Profiles: the textbook's interval on a straight line, and open ends where the data say nothing."""

import numpy as np
import pytest
from scipy import stats

from scaling.errors import UserError
from scaling.laws.fitting.point_fit import fit_form
from scaling.laws.forms.grammar import SmoothForm, coefficient, exponent, positive
from scaling.laws.forms.power import POWER_LAW
from scaling.laws.uncertainty.profile import profile


@pytest.mark.parametrize("which", ["line", "checkpoints"])
@pytest.mark.parametrize("level", [0.68, 0.9])
def test_on_a_line_it_is_student_s_interval_with_robust_errors(which, level, request):
    line = request.getfixturevalue(which)
    found = profile(line.point, "alpha", line.run_of_row, level)
    alpha = line.point.params["alpha"]
    freedom = len(np.unique(line.run_of_row)) - 2
    half = stats.t.ppf((1 + level) / 2, freedom) * line.standard_error
    assert found.interval == pytest.approx((alpha - half, alpha + half), rel=1e-4)
    assert not found.open_below and not found.open_above


def test_a_coefficient_is_profiled_in_its_own_units(line):
    """log a of the line, not the log of its term at the middle of the data."""
    bread = np.linalg.inv(line.design.T @ line.design)
    scores = np.stack([line.design[i] * line.without(i)[0] for i in range(len(line.x))])
    error = np.sqrt((bread @ scores.T @ scores @ bread)[0, 0])
    half = stats.t.ppf(0.95, len(line.x) - 2) * error
    middle = np.log(line.point.params["a"])
    found = profile(line.point, "a", line.run_of_row)
    assert np.log(found.interval) == pytest.approx((middle - half, middle + half), rel=1e-3)


def test_the_deviance_rises_from_the_estimate(chinchilla_point):
    point, run = chinchilla_point
    found = profile(point, "alpha", run)
    assert found.estimate == point.params["alpha"]
    at = int(np.argmin(found.deviance))
    assert found.values[at] == pytest.approx(found.estimate)
    assert (np.diff(found.values) > 0).all() and found.deviance[at] == 0
    assert found.interval[0] < found.estimate < found.interval[1]
    higher = profile(point, "alpha", run, level=0.99).interval
    assert higher[0] < found.interval[0] and found.interval[1] < higher[1]


def test_a_constant_that_the_data_cannot_tell_from_zero_is_open_below():
    """Ten runs over a factor of 4 in x with 2% noise: E may be anything up to about the smallest loss."""
    rng = np.random.default_rng(0)
    x = np.geomspace(1, 4, 10)
    y = (1.0 + 2.0 * x**-0.3) * np.exp(0.02 * rng.standard_normal(10))
    point = fit_form(POWER_LAW, {"x": x}, y, objective="log_squares", starts=16)
    found = profile(point, "E")
    assert found.open_below and found.interval[0] == 0.0
    assert 0.5 < found.interval[1] < 2.6


def test_a_scale_that_may_be_infinite_is_open_above():
    """a exp(-x / tau) from x far below tau: the data only say that tau is not small."""
    decay = SmoothForm(
        name="decay", source="", formula="a exp(-x / tau) x^-alpha", inputs=("x",),
        free=(coefficient("a", alpha="x"), exponent("alpha"), positive("tau", start=(1.0, 1e4))),
        value=lambda p, x, xp: p.a * x.x**-p.alpha * xp.exp(-x.x / p.tau),
    )
    rng = np.random.default_rng(1)
    x = np.geomspace(0.1, 10, 30)
    y = 3.0 * x**-0.2 * np.exp(-x / 2000) * np.exp(0.01 * rng.standard_normal(30))
    found = profile(fit_form(decay, {"x": x}, y, objective="log_squares", starts=4), "tau")
    assert found.open_above and found.interval[1] == np.inf
    assert 100 < found.interval[0] < 2000


def test_an_unknown_parameter_is_refused(line):
    with pytest.raises(UserError, match="no parameter 'gamma'"):
        profile(line.point, "gamma")
