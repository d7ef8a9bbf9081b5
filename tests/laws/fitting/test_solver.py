"""The solver: one optimum from every start, within bounds, at or below what SciPy finds."""

import dataclasses

import numpy as np
import pytest
from scipy.optimize import minimize

from scaling.laws.fitting import solver
from scaling.laws.fitting.point_fit import fit_form
from scaling.laws.fitting.solver import refine, solve, solve_on_part
from scaling.laws.fitting.starts import draw_starts, thinned
from scaling.laws.forms.coordinates import Centring
from scaling.laws.uncertainty.bootstrap import case_weights


def _starts(data, form, n=32):
    return draw_starts(form, np.log(data.loss), Centring.of(form, data.logs), n, seed=0)


def _replicates(data, problem, n, seed=0):
    return dataclasses.replace(problem, weights=case_weights(np.arange(len(data.loss)), n, seed))


def _optimum(data, form, **options):
    found = solve(data.problem(form, **options), _starts(data, form, 8))
    return found.theta[found.value.argmin()][None]


@pytest.mark.parametrize("kind", ["sum", "smooth"])
@pytest.mark.parametrize("name", ["huber_log", "huber_raw", "squares"])
def test_every_start_recovers_a_law_without_noise(case, forms, truth, kind, name):
    data = case(40, 0.0)
    found = solve(data.problem(forms[kind], name), _starts(data, forms[kind], 12))
    np.testing.assert_allclose(found.theta, np.tile(data.centred(truth), (12, 1)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("delta", [0.1, 1e-3, 1e-6])
def test_every_start_ends_at_one_optimum_with_no_gradient(case, forms, delta):
    """1e-6 is all but least absolute deviations: hardly any residual lies inside delta."""
    data = case(240, 0.006)
    found = solve(data.problem(delta=delta), _starts(data, forms["sum"], 64))
    assert (found.gradient <= 1e-8).all()
    assert found.value.max() <= found.value.min() * (1 + 1e-9)


def test_starts_that_meet_end_where_they_would_have_alone(case, forms):
    data = case(40, 0.02)
    problem, starts = data.problem(), _starts(data, forms["sum"], 6)
    together = solve(problem, starts)
    for i in range(len(starts)):
        alone = solve(problem, starts[i : i + 1])
        assert alone.value[0] == pytest.approx(together.value[i], rel=1e-9)


def test_no_random_step_leads_lower(case, forms):
    data, rng = case(60, 0.02), np.random.default_rng(0)
    problem = data.problem()
    best = _optimum(data, forms["sum"])
    steps = rng.standard_normal((500, 5)) * np.geomspace(1e-6, 0.5, 500)[:, None]
    assert (problem.value(best + steps) >= problem.value(best) * (1 - 1e-12)).all()


@pytest.mark.parametrize("n, delta", [(240, 1e-3), (240, 1e-2), (60, 1e-3)])
def test_replicates_are_at_or_below_scipys(case, forms, n, delta):
    """BFGS with exact gradients from three places, none of them ours."""
    data, rng = case(n, 0.006), np.random.default_rng(5)
    problem = _replicates(data, data.problem(delta=delta), 15)
    start = _optimum(data, forms["sum"], delta=delta)
    ours = refine(problem, np.repeat(start, 15, axis=0))
    assert ours.converged.all()
    for i in range(15):
        one = problem.take(np.array([i]))

        def scaled(v):
            value, gradient, _ = one.derivatives(v[None])
            return value[0] / delta, gradient[0] / delta

        for begin in start + 0.3 * rng.standard_normal((3, 5)):
            theirs = minimize(scaled, begin, jac=True, method="BFGS", options={"gtol": 1e-9})
            assert ours.value[i] <= theirs.fun * delta * (1 + 1e-9)


def test_replicates_depend_neither_on_their_order_nor_on_batches(case, forms, monkeypatch):
    data = case(60, 0.01)
    problem = _replicates(data, data.problem(), 40)
    start = np.repeat(_optimum(data, forms["sum"]), 40, axis=0)
    once = refine(problem, start)
    back = np.arange(40)[::-1]
    turned = refine(problem.take(back), start)
    np.testing.assert_allclose(turned.theta[back], once.theta, rtol=1e-6, atol=1e-8)
    monkeypatch.setattr(solver, "_BATCH", 1)
    batches = refine(problem, start)
    np.testing.assert_allclose(batches.theta, once.theta, rtol=1e-6, atol=1e-8)


def test_many_problems_are_not_taken_for_starts_of_one(case, forms):
    """Replicates that begin at one place must not be merged."""
    data = case(40, 0.02)
    problem = _replicates(data, data.problem(), 6)
    start = np.repeat(_optimum(data, forms["sum"]), 6, axis=0)
    np.testing.assert_allclose(solve(problem, start).value, refine(problem, start).value, rtol=1e-7)
    assert len(np.unique(solve(problem, start).value)) == 6


@pytest.mark.parametrize("kind", ["sum", "smooth"])
def test_bounds_are_kept_and_equal_ones_hold(case, forms, kind):
    data = case(60, 0.01)
    form = forms[kind]
    free = _optimum(data, forms["sum"])
    problem = data.problem(form)
    low, high = problem.low.copy(), problem.high.copy()
    high[0, 3] = free[0, 3] - 0.1  # alpha must stay below its optimum
    low[0, 4] = high[0, 4] = free[0, 4] + 0.05  # beta is held
    bounded = dataclasses.replace(problem, low=low, high=high)
    for found in (solve(bounded, _starts(data, form, 6)), refine(bounded, free)):
        assert found.converged.all()
        np.testing.assert_allclose(found.theta[:, 3], high[0, 3])
        assert (found.theta[:, 4] == low[0, 4]).all()
        assert (found.value > problem.value(free) * (1 + 1e-6)).all()


def test_an_irreducible_part_of_zero_is_found_and_left_again(case, forms, truth):
    """Its root has a stationary point at zero, which must hold only the laws that want to be there."""
    none = case(60, 0.005, truth={**truth, "E": 1e-9})
    found = solve(none.problem(), _starts(none, forms["sum"], 16))
    best = found.theta[found.value.argmin()]
    assert found.converged.all() and abs(best[0]) < 0.2
    some = case(60, 0.005)
    stuck = some.centred(truth)[None]
    stuck[0, 0] = 0.0
    freed = refine(some.problem(), stuck)
    assert freed.converged.all() and freed.theta[0, 0] ** 2 == pytest.approx(1.7, rel=0.2)


def test_a_start_without_a_value_is_rejected_and_harms_no_other(case, forms):
    data = case(40, 0.01)
    starts = _starts(data, forms["sum"], 4)
    starts[2, 1] = 3000.0  # A overflows
    found = solve(data.problem(), starts)
    assert list(found.converged) == [True, True, False, True]


def test_degenerate_resamples_are_answered(case, forms):
    """One point, few points, no points at all: no exception, and no claim where there is no optimum."""
    data = case(40, 0.01)
    weights = np.zeros((3, 40))
    weights[0, 7], weights[1, :4] = 40.0, 10.0
    problem = dataclasses.replace(data.problem(), weights=weights)
    found = refine(problem, np.repeat(_optimum(data, forms["sum"]), 3, axis=0))
    assert found.value[0] == pytest.approx(0.0, abs=1e-12)
    assert found.value[1] == pytest.approx(0.0, abs=1e-9)
    assert not found.converged[2]


def test_weights_a_million_times_as_large_change_no_optimum(case, forms):
    data = case(60, 0.01)
    base = _optimum(data, forms["sum"])
    heavy = dataclasses.replace(data.problem(), weights=np.full((1, 60), 1e6))
    found = solve(heavy, _starts(data, forms["sum"], 4))
    assert found.converged.all()
    np.testing.assert_allclose(found.theta, np.repeat(base, 4, axis=0), rtol=1e-6, atol=1e-7)


def test_starts_on_a_part_of_the_points_end_at_the_optimum_of_all(case, forms):
    data = case(20_000, 0.02)
    problem, starts = data.problem(), _starts(data, forms["sum"], 8)
    part = thinned(data.columns, np.log(data.loss))
    assert 4000 < len(part) < 4200 and len(np.unique(part)) == len(part)
    quick = solve_on_part(problem, starts, part)
    whole = solve(problem, starts[:1])
    assert quick.converged.all()
    np.testing.assert_allclose(quick.value, whole.value[0], rtol=1e-9)


def test_the_part_does_not_depend_on_the_order_of_rows(case):
    data, rng = case(20_000, 0.02), np.random.default_rng(0)
    target, order = np.log(data.loss), rng.permutation(20_000)
    part = thinned(data.columns, target)
    mixed = thinned({name: values[order] for name, values in data.columns.items()}, target[order])
    np.testing.assert_array_equal(np.sort(order[mixed]), part)
    assert thinned({"x": np.arange(9.0)}, np.arange(9.0)) is None


def test_a_fit_of_very_many_runs_says_what_its_starts_ran_on(case, forms):
    data = case(20_000, 0.02)
    point = fit_form(forms["sum"], data.columns, data.loss, starts=8)
    assert point.receipt.starts_on < 20_000
    assert point.receipt.gradient <= 1e-8
    assert len(point.log_residuals) == 20_000
    few = case(40, 0.02)
    assert fit_form(forms["sum"], few.columns, few.loss, starts=8).receipt.starts_on == 40
