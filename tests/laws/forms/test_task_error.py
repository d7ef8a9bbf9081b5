"""From loss to the error of a task."""

import math

import numpy as np
import pytest

from scaling.errors import UserError
from scaling.laws.forms import FORMS
from scaling.laws.forms.grammar import SumOfPowers, term
from scaling.laws.forms.task_error import EXPONENTIAL, SIGMOID, two_step

LOSS = np.array([2.0, 3.0, 5.0])


def error(form, p, loss=LOSS):
    return np.exp(form.log_value(form.theta(p), {"loss": loss})[0])


def test_exponential_by_plain_arithmetic():
    p = dict(epsilon=0.85, k=2.08, gamma=0.756)
    np.testing.assert_allclose(error(EXPONENTIAL, p), [0.85 - 2.08 * math.exp(-0.756 * x) for x in LOSS])


def test_sigmoid_runs_between_its_two_errors_and_is_their_accuracy():
    p = dict(a=0.5, b=0.2, k=3.0, L_0=3.0)
    accuracy = [-0.5 / (1 + math.exp(-3 * (x - 3.0))) + 0.8 for x in LOSS]  # as Bhagia et al. write it
    np.testing.assert_allclose(error(SIGMOID, p), 1 - np.array(accuracy))
    np.testing.assert_allclose(error(SIGMOID, p, np.array([-50.0, 3.0, 60.0])), [0.2, 0.45, 0.7])


def test_two_steps_are_the_second_law_at_the_first_ones_loss():
    chinchilla = FORMS["chinchilla"]
    first = dict(E=1.8, A=480.0, B=2085.0, alpha=0.35, beta=0.37)
    second = dict(epsilon=0.85, k=2.08, gamma=0.756)
    both = two_step(chinchilla, EXPONENTIAL)
    assert both.target == "task_error" and both.columns == ("n_params", "n_tokens")
    at = {"n_params": np.array([1e8, 7e9]), "n_tokens": np.array([2e9, 1e12])}
    loss = np.exp(chinchilla.log_value(chinchilla.theta(first), at)[0])
    theta = np.concatenate([chinchilla.theta(first), EXPONENTIAL.theta(second)])
    np.testing.assert_allclose(np.exp(both.log_value(theta, at)[0]), error(EXPONENTIAL, second, loss))
    draws = np.stack([theta, theta + 0.01])  # as the bootstraps of the two steps are put together
    assert both.log_value(draws, at).shape == (2, 2)


def test_names_that_both_laws_use_are_told_apart():
    power = SumOfPowers(name="p", source="", formula="a / N^k", terms=(term("a", k="n_params"),))
    both = two_step(power, SIGMOID)
    assert both.names == ("a", "k", "error_a", "b", "error_k", "L_0")
    at = {"n_params": np.array([1e8])}
    p = {"a": 300.0, "k": 0.25, "error_a": 0.5, "b": 0.2, "error_k": 3.0, "L_0": 2.9}
    expected = error(SIGMOID, dict(a=0.5, b=0.2, k=3.0, L_0=2.9), np.array([300.0 * 1e8**-0.25]))
    np.testing.assert_allclose(np.exp(both.log_value(both.theta(p), at)[0]), expected)
    held = two_step(power.fix(k=0.25), SIGMOID.fix(b=0.2))
    assert held.names == ("a", "error_a", "k", "L_0")
    p = {"a": 300.0, "error_a": 0.5, "k": 3.0, "L_0": 2.9}
    np.testing.assert_allclose(np.exp(held.log_value(held.theta(p), at)[0]), expected)


def test_a_second_step_must_be_a_law_of_the_loss():
    with pytest.raises(UserError, match="chinchilla: not a law of the loss alone"):
        two_step(EXPONENTIAL, FORMS["chinchilla"])
