"""Words for how far a parameter is known."""

import numpy as np
import pytest

from scaling.laws.fitting.point_fit import fit_form
from scaling.laws.forms.power import POWER_LAW
from scaling.laws.uncertainty.identifiability import identifiability
from scaling.laws.uncertainty.resampling import resample


def told(point):
    run = np.arange(len(point.log_residuals))
    return identifiability(point, resample(point, run, replicates=199).draws, run)


def power_law(spread, noise, E=1.0, runs=24, seed=0):
    x = np.geomspace(1, spread, runs)
    y = (E + 2.0 * x**-0.3) * np.exp(noise * np.random.default_rng(seed).standard_normal(runs))
    return fit_form(POWER_LAW, {"x": x}, y, objective="log_squares", starts=16)


def test_wide_quiet_data_identify_every_parameter():
    found = told(power_law(1e6, 0.001))
    for name, truth in (("E", 1.0), ("a", 2.0), ("alpha", 0.3)):
        assert found[name].words.startswith("identified (")
        assert found[name].low < truth < found[name].high


def test_short_noisy_data_say_what_they_cannot():
    found = told(power_law(2, 0.02, seed=1))
    assert found["E"].low is None and found["E"].words.endswith("it may be 0")
    assert "identified" in found["alpha"].words and not found["alpha"].words.startswith("identified")


def test_the_wider_of_profile_and_bootstrap_counts():
    point = power_law(1e4, 0.005)
    for name, one in told(point).items():
        low, high = one.profile.interval
        assert one.low <= low and high <= one.high


def test_more_noise_means_weaker_words():
    """Percent of the exponent: four times the noise, about four times the width."""
    widths = [(found.high - found.low) for noise in (0.001, 0.004)
              for found in [told(power_law(1e6, noise))["alpha"]]]
    assert widths[1] == pytest.approx(4 * widths[0], rel=0.15)


def test_a_constant_at_zero_is_at_its_bound():
    """Pure power laws: about half of the time the best E is exactly zero."""
    points = [power_law(1e3, 0.01, E=0.0, seed=seed) for seed in range(6)]
    at_bound = [point for point in points if point.params["E"] < 1e-9]
    assert 1 <= len(at_bound) <= 5
    found = told(at_bound[0])["E"]
    assert found.words.startswith("at its bound, 0; not above")
    assert found.low is None and 0 < found.high < 0.1
