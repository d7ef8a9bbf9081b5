"""The program for accelerators ends where the NumPy solver does."""

import dataclasses

import numpy as np
import pytest

from scaling.laws.fitting.batched import bootstrap, draw_weights
from scaling.laws.fitting.point_fit import fit_form
from scaling.laws.fitting.solver import refine


@pytest.mark.parametrize("name, delta", [("huber_log", 1e-2), ("huber_raw", 1e-2), ("log_squares", np.inf)])
def test_replicates_equal_those_of_the_solver(case, forms, name, delta):
    data = case(120, 0.01)
    point = fit_form(forms["sum"], data.columns, data.loss, delta, starts=8, objective=name)
    optimum = point.centring.to_centred(point.theta)
    found = bootstrap(point.problem, optimum, 40, seed=3, batch=24)
    weights = draw_weights(40, 120, seed=3, batch=24)
    assert (weights.sum(axis=1) == 120).all() and len(np.unique(weights, axis=0)) == 40
    problem = dataclasses.replace(point.problem, weights=weights)
    expected = refine(problem, np.repeat(optimum[None], 40, axis=0))
    done = found.converged
    assert done.mean() > 0.9
    np.testing.assert_allclose(found.value[done], expected.value[done], rtol=1e-9)
    np.testing.assert_allclose(found.theta[done], expected.theta[done], rtol=1e-5, atol=1e-6)


def test_same_seed_same_replicates(case, forms):
    data = case(60, 0.01)
    point = fit_form(forms["sum"], data.columns, data.loss, 1e-2, starts=4)
    optimum = point.centring.to_centred(point.theta)
    once, again, other = (bootstrap(point.problem, optimum, 8, seed, batch=8) for seed in (1, 1, 2))
    np.testing.assert_array_equal(once.theta, again.theta)
    assert not np.allclose(once.theta, other.theta)
