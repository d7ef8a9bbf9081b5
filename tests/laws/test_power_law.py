"""Laws of one variable, and the constant that may be zero."""

import numpy as np
import pytest

from scaling.errors import UserError
from scaling.laws import fit, fit_chinchilla
from scaling.laws.approaches.line import LineFit
from scaling.laws.fitting.point_fit import fit_form
from scaling.laws.forms.power import POWER_LAW, PURE_POWER_LAW


def along_compute(offset):
    x = np.geomspace(1e12, 1e18, 8)
    return {"x": x}, offset + 3.0 * (x / 1e13) ** -0.15


@pytest.mark.parametrize("offset", [1.7, 0.0])
def test_recovered_with_and_without_an_offset(offset):
    columns, loss = along_compute(offset)
    point = fit_form(POWER_LAW, columns, loss)
    assert point.params["E"] == pytest.approx(offset, abs=1e-5)
    assert point.params["alpha"] == pytest.approx(0.15, rel=1e-4)
    beyond = np.exp(point.log_loss({"x": np.log([1e20])})[0])
    assert beyond == pytest.approx(offset + 3.0 * (1e20 / 1e13) ** -0.15, rel=1e-4)
    assert point.receipt.at_bound == (() if offset else ("E",))


def test_form_without_offset_is_a_line_in_logs():
    columns, loss = along_compute(1.0)
    point = fit_form(PURE_POWER_LAW, columns, loss, delta=np.inf)
    slope = np.polyfit(np.log(columns["x"]), np.log(loss), 1)[0]
    assert point.params["alpha"] == pytest.approx(-slope, rel=1e-8)


def test_line_recovers_exponent_and_carries_its_interval():
    x = np.geomspace(1e12, 1e13, 4)
    y = 3 * x**0.48
    draws = y * np.exp(0.1 * np.random.default_rng(0).standard_normal((500, 4)))
    line = LineFit.of(x, y, draws, 0.9)
    value, (low, high) = line.at(1e14)
    assert value == pytest.approx(3 * 1e14**0.48, rel=1e-9)
    assert low < value < high
    assert line.exponent == pytest.approx(0.48, abs=1e-12)


def test_surface_without_irreducible_loss_ends_at_zero_with_noise(surface):
    """Where noise pulls E below zero the fit stops there, says so, and is at an optimum still."""
    bare = type(surface)(E=0.0)
    for seed in range(6):
        runs = bare.sweep(np.random.default_rng(seed), noise=0.02)
        law = fit_chinchilla(runs, bootstrap=20)
        assert law.point.receipt.gradient <= 1e-8
        assert law.params["E"] < 0.5
        assert ("E" in law.point.receipt.at_bound) == (law.params["E"] < 1e-6)


def test_unknown_law_names_the_nearest(noisy):
    with pytest.raises(UserError, match="did you mean 'chinchilla'"):
        fit("chinchila", noisy)
