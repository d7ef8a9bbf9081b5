"""A law traced by JAX block by block of points gives what the same law in closed form gives."""

import numpy as np
import pytest

from scaling.laws.fitting.solver import refine, solve
from scaling.laws.uncertainty.bootstrap import case_weights

NEAR = {"E": 1.6, "A": 350.0, "B": 1900.0, "alpha": 0.33, "beta": 0.38}


@pytest.mark.parametrize("name", ["huber_log", "huber_raw", "asymmetric", "log_squares"])
@pytest.mark.parametrize(("points", "problems"), [(7, 1), (63, 3), (64, 9), (65, 8), (200, 17)])
def test_derivatives_at_the_edges_of_blocks(case, forms, name, points, problems):
    rng = np.random.default_rng(points)
    data = case(points, 0.02)
    weights = rng.integers(0, 3, (problems, points)).astype(float)
    theta = data.centred(NEAR) + 0.05 * rng.standard_normal((problems, 5))
    delta = np.inf if name == "log_squares" else 1e-2
    both = [data.problem(forms[kind], name, delta, weights=weights).derivatives(theta)
            for kind in ("sum", "smooth")]
    for closed, traced in zip(*both):
        np.testing.assert_allclose(traced, closed, rtol=1e-9, atol=1e-10 * np.abs(closed).max())


def test_replicates_end_where_those_of_a_sum_of_powers_do(case, forms):
    data = case(70, 0.02)
    weights = case_weights(np.arange(70), 12, seed=0)
    ends = []
    for kind in ("sum", "smooth"):
        start = solve(data.problem(forms[kind]), data.centred(NEAR)[None])
        ends.append(refine(data.problem(forms[kind], weights=weights), np.repeat(start.theta, 12, axis=0)))
    assert ends[1].converged.all()
    np.testing.assert_allclose(ends[1].value, ends[0].value, rtol=1e-9)
