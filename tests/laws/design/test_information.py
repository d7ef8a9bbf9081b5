"""Gradients of laws and of targets, and the noise that estimators pass on."""

import dataclasses

import numpy as np
import pytest

from scaling.laws import SIX_N_D
from scaling.laws.design.information import (
    covariance_root,
    estimator_noise,
    gradient,
    row_weights,
    sensitivities,
)
from scaling.laws.design.targets import target
from scaling.laws.forms.chinchilla import CHINCHILLA


def test_closed_form_of_a_sum_of_powers_is_its_derivative(law):
    at = {"n_params": law.runs.n_params, "n_tokens": law.runs.n_tokens}
    differences = gradient(lambda draws: CHINCHILLA.log_value(draws, at), law.point.theta)
    np.testing.assert_allclose(sensitivities(CHINCHILLA, law.point.theta, at), differences, rtol=1e-6)


def test_gradient_of_the_optimum_is_the_derivative_of_its_formula(law):
    """a = beta / (alpha + beta) of N* ~ C^a (Hoffmann et al. 2022, equation 4); by the envelope theorem
    the loss at the optimum changes as the loss at that N and D does."""
    theta = law.point.theta
    alpha, beta = theta[3:]
    slope = target("n_exponent", CHINCHILLA, SIX_N_D, 1e12).gradient(theta)
    np.testing.assert_allclose(slope, np.array([0, 0, 0, -beta, alpha]) / (alpha + beta) ** 2, atol=1e-8)
    n, d = CHINCHILLA.allocation(theta, 1e13, SIX_N_D)
    there = sensitivities(CHINCHILLA, theta, {"n_params": np.array([n]), "n_tokens": np.array([d])})[0]
    at_optimum = target("loss@1e13", CHINCHILLA, SIX_N_D, 1e12).gradient(theta)
    np.testing.assert_allclose(at_optimum, there, rtol=1e-6)


@pytest.mark.parametrize("goal", ["n_opt@1e13", "d_opt@1e13", "loss@1e13", "n_exponent"])
def test_an_optimum_found_by_search_has_the_same_gradient(law, goal):
    searched = dataclasses.replace(CHINCHILLA, closed_form=None)
    slopes = [target(goal, form, SIX_N_D, 1e12).gradient(law.point.theta)
              for form in (searched, CHINCHILLA)]
    np.testing.assert_allclose(*slopes, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("delta", [0.1, 1.0, 3.0])
def test_noise_passed_on_is_the_integral_over_the_normal(delta):
    x = np.linspace(-12, 12, 400_001)
    density = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi) * (x[1] - x[0])
    psi = np.clip(x, -delta, delta)
    expected = np.sqrt((psi**2 * density).sum()) / ((np.abs(x) <= delta) * density).sum()
    assert estimator_noise(0.02, 0.02 * delta) == pytest.approx(0.02 * expected, rel=1e-3)


def test_noise_passed_on_by_squares_and_by_absolute_errors():
    assert estimator_noise(0.02, np.inf) == 0.02
    assert estimator_noise(0.02, 1e-7) == pytest.approx(0.02 * np.sqrt(np.pi / 2), rel=1e-4)


def test_a_coefficient_that_went_to_zero_is_held():
    """Its log is free to be anything, which must not make everything else uncertain."""
    rows = np.random.default_rng(0).standard_normal((20, 3))
    rows[:, 1] = 1e-12
    root = covariance_root(rows)
    expected = np.linalg.inv(rows[:, [0, 2]].T @ rows[:, [0, 2]])
    np.testing.assert_allclose((root @ root.T)[np.ix_([0, 2], [0, 2])], expected, rtol=1e-9)
    assert (root[1] == 0).all()


def test_rows_count_by_run_weight_and_standard_error(law):
    runs = dataclasses.replace(law.runs.take(np.arange(4)), run_ids=("a", "b", "a", "a"))
    np.testing.assert_allclose(row_weights(runs), [1 / 3, 1, 1 / 3, 1 / 3])
    weighted = dataclasses.replace(runs, weight=np.array([3.0, 1, 1, 3]))
    np.testing.assert_allclose(row_weights(weighted), [1 / 2, 1 / 2, 1 / 6, 1 / 2])
    relative = np.array([1.0, 2, 1, 2])  # half the error, four times the worth
    measured = dataclasses.replace(runs, standard_error=0.001 * relative * runs.loss)
    np.testing.assert_allclose(row_weights(measured), [2 / 3, 1 / 2, 2 / 3, 1 / 6])
