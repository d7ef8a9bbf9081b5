"""A law with two minima of nearly one objective: replicates and profiles know both."""

import numpy as np
import pytest

from scaling.laws.fitting.point_fit import fit_form
from scaling.laws.forms.grammar import SmoothForm, coefficient, positive
from scaling.laws.uncertainty.bootstrap import case_weights
from scaling.laws.uncertainty.profile import profile

FREQUENCY = 1.0
ALIAS = 2 * np.pi - FREQUENCY  # the same at whole numbers, nearly so beside them
WAVE = SmoothForm(
    name="wave", source="a textbook", formula="A exp(cos(w x) / 5)",
    free=(coefficient("A"), positive("w", start=(0.5, 6.0), low=0.1, high=6.2)),
    inputs=("x",), value=lambda p, x, xp: p.A * xp.exp(0.2 * xp.cos(p.w * x.x)),
)
OPTIONS = {"objective": "log_squares", "starts": 48}


@pytest.fixture(scope="module")
def waves():
    """(x, loss, fit): 24 points beside whole numbers, with noise that hardly tells the two apart."""
    rng = np.random.default_rng(0)
    x = np.arange(1, 25) + 0.02 * rng.standard_normal(24)
    loss = 3 * np.exp(0.2 * np.cos(FREQUENCY * x) + 0.05 * rng.standard_normal(24))
    return x, loss, fit_form(WAVE, {"x": x}, loss, **OPTIONS)


def test_both_are_in_reach_the_others_are_not(waves):
    point = waves[2]
    found = np.exp(point.minima[:, 1])
    assert sorted(found) == pytest.approx([FREQUENCY, ALIAS], abs=0.05)
    assert len(point.receipt.minima) > len(found)
    np.testing.assert_array_equal(point.minima[0], point.theta)


def test_every_replicate_ends_at_the_lower_one(waves):
    """As a search of its own from many starts finds it."""
    x, loss, point = waves
    weights = case_weights(np.arange(24), 40, seed=0)
    theta, good = point.refit(np.log(loss)[None], weights)
    frequency = np.exp(theta[:, 1])
    assert good.all()
    assert min(np.mean(abs(frequency - w) < 0.1) for w in (FREQUENCY, ALIAS)) > 0.1
    for own, found in zip(weights[:8], theta):
        alone = fit_form(WAVE, {"x": x}, loss, weights=own, **OPTIONS)
        np.testing.assert_allclose(found, alone.theta, atol=1e-5)


def test_the_profile_reaches_over_both(waves):
    """Beyond a wall that the likelihood excludes there is another place that it does not."""
    shown = profile(waves[2], "w")
    low, high = shown.interval
    assert low < FREQUENCY and ALIAS < high and high - low < 4.5
    between = (shown.values > 2) & (shown.values < 4)
    assert (shown.deviance[between] > shown.quantile).any()


def test_one_minimum_is_one_start(chinchilla_point):
    point, _ = chinchilla_point
    assert len(point.minima) == 1
