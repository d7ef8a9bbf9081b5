"""Choices of runs, where the best is known by theory or by brute force."""

import itertools

import numpy as np
import pytest

from scaling.laws.design.information import covariance_root, sensitivities
from scaling.laws.design.selection import Choice
from scaling.laws.forms.power import PURE_POWER_LAW


def line(x, weak=1e-3):
    """The law a x^-alpha, straight in logs, on points x, with runs there that hardly count."""
    points = {"x": np.exp(x)}
    theta = np.array([0.0, 0.1])
    rows = sensitivities(PURE_POWER_LAW, theta, points)
    return theta, rows, covariance_root(weak * rows)


def test_slope_of_a_power_law_is_best_measured_at_both_ends():
    x = np.linspace(-1, 1, 21)
    theta, rows, root = line(x)
    choice = Choice(np.array([[0.0, 1.0]]) @ root, (rows @ root)[None], np.ones(21), 6.0)
    assert choice.best(6) == [0, 0, 0, 20, 20, 20]


@pytest.mark.parametrize("z, at_the_top", [(2.0, 6), (4.0, 5)])
def test_extrapolation_of_a_power_law_has_the_weights_of_hoel_and_levine(z, at_the_top):
    """To z outside [-1, 1] a share (z + 1) / 2z of the runs belongs at 1, the rest at -1 (1964)."""
    x = np.linspace(-1, 1, 21)
    theta, rows, root = line(x)
    h = sensitivities(PURE_POWER_LAW, theta, {"x": np.exp([z])}) @ root
    best = Choice(h, (rows @ root)[None], np.ones(21), 8.0).best(8)
    assert best == [0] * (8 - at_the_top) + [20] * at_the_top


@pytest.mark.parametrize("repeats", [True, False])
@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.parametrize("seed", range(5))
def test_the_choice_of_three_is_that_of_brute_force(seed, draws, repeats):
    rng = np.random.default_rng(seed)
    h, z = rng.standard_normal((draws, 4)), rng.standard_normal((draws, 12, 4))
    flops = np.exp(rng.uniform(0, 3, size=12))
    choice = Choice(h, z, flops, budget=20.0, repeats=repeats)
    every = itertools.combinations_with_replacement if repeats else itertools.combinations
    lowest = min(
        choice.log_variance(list(c))
        for k in range(4) for c in every(range(12), k) if flops[list(c)].sum() <= 20
    )
    found = choice.best(3)
    assert flops[found].sum() <= 20 and (repeats or len(set(found)) == len(found))
    assert choice.log_variance(found) == pytest.approx(lowest, abs=1e-9)
