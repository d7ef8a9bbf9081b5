"""The areas under a learning-rate schedule, against sums written out."""

import numpy as np
import pytest

from scaling.errors import UserError
from scaling.laws.forms import FORMS
from scaling.laws.forms.schedule import schedule_areas


def test_areas_are_the_papers_double_sum():
    rates, decay = [3.0, 3.0, 2.5, 1.0, 1.2, 0.3], 0.9
    s1, s2 = schedule_areas(rates, decay)
    for s in range(1, len(rates) + 1):
        assert s1[s - 1] == pytest.approx(sum(rates[:s]))
        double = sum(
            (rates[k - 1] - rates[k]) * decay ** (i - k) for i in range(s) for k in range(1, i + 1)
        )
        assert s2[s - 1] == pytest.approx(double)


def test_a_constant_rate_has_no_annealing():
    s1, s2 = schedule_areas(np.full(50, 2e-3))
    np.testing.assert_allclose(s1, 2e-3 * np.arange(1, 51))
    assert (s2 == 0).all()


def test_one_drop_is_remembered_as_a_geometric_series():
    rates = np.where(np.arange(400) < 100, 1.0, 0.25)
    _, s2 = schedule_areas(rates, 0.99)
    assert s2[99] == 0
    assert s2[-1] == pytest.approx(0.75 * (1 - 0.99**300) / (1 - 0.99))
    assert schedule_areas(rates, 0.0)[1][-1] == pytest.approx(0.75)  # without memory: what was dropped


def test_annealing_lowers_the_loss_by_c_times_its_area():
    form = FORMS["annealing"]
    theta = form.theta(dict(L_0=2.6, A=0.5, alpha=0.5, C=0.4))
    at = {"lr_sum": np.array([4.0, 4.0]), "lr_annealing": np.array([0.0, 0.5])}
    np.testing.assert_allclose(np.exp(form.log_value(theta, at)[0]), [2.85, 2.65])


@pytest.mark.parametrize("rates, decay, words", [
    ([], 0.9, "one finite rate"), ([1.0, -1.0], 0.9, "one finite rate"), ([1.0, np.nan], 0.9, "one finite"),
    ([1.0], 1.0, "decay = 1.0"), ([1.0], -0.1, "decay = -0.1"),
])
def test_bad_schedules_are_refused(rates, decay, words):
    with pytest.raises(UserError, match=words):
        schedule_areas(rates, decay)
