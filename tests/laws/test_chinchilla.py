"""Approach 3: exact recovery, its receipt, and what must not change it."""

import numpy as np
import pytest

from scaling.laws import FitError, fit_chinchilla


def test_noiseless_law_is_recovered_exactly(surface):
    law = fit_chinchilla(surface.sweep(), bootstrap=20)
    for name, value in law.params.items():
        assert value == pytest.approx(getattr(surface, name), rel=1e-6)


def test_closed_form_allocation_is_the_best_of_a_fine_search(surface):
    law = fit_chinchilla(surface.sweep(), bootstrap=20)
    n, d = surface.optimal(1e13)
    best = law.optimal(1e13)
    assert best["n_opt"] == pytest.approx(n, rel=1e-3)
    assert best["d_opt"] == pytest.approx(d, rel=1e-3)
    assert best["loss"] == pytest.approx(surface.loss(n, d), rel=1e-6)


def test_allocation_follows_the_runs_own_flops_convention(surface):
    """C = 9 N^0.97 D: the optimum along that curve, by search, is what the law proposes."""
    runs = surface.sweep()
    runs["train_flops"] = 9 * runs.n_params**0.97 * runs.n_tokens
    best = fit_chinchilla(runs, bootstrap=20).optimal(1e13)
    n = np.geomspace(1e5, 1e7, 400_001)
    d = 1e13 / (9 * n**0.97)
    at = int(np.argmin(surface.loss(n, d)))
    assert best["n_opt"] == pytest.approx(n[at], rel=1e-3)
    assert best["d_opt"] == pytest.approx(d[at], rel=1e-3)


def test_receipt_proves_the_optimum(noisy):
    """Scale-free gradient at most 1e-8, and no random step leads lower."""
    law = fit_chinchilla(noisy, bootstrap=20)
    receipt = law.point.receipt
    assert receipt.gradient <= 1e-8
    assert receipt.minima[0]["objective"] == law.point.objective
    assert 0 < receipt.starts_at_optimum <= 1
    rng = np.random.default_rng(0)
    centre = law.point.centring.to_centred(law.point.theta)
    steps = rng.standard_normal((400, 5)) * np.geomspace(1e-6, 0.3, 400)[:, None]
    assert (law.point.problem.value(centre + steps) >= law.point.objective * (1 - 1e-12)).all()


@pytest.mark.parametrize("delta", [1e-3, 1e-2, np.inf])
def test_gradient_and_hessian_are_those_of_the_objective(noisy, delta):
    law = fit_chinchilla(noisy, bootstrap=20, delta=delta)
    problem = law.point.problem
    theta = law.point.centring.to_centred(law.point.theta)[None] + 0.01
    _, gradient, hessian = problem.derivatives(theta)
    step = 1e-6 * np.eye(5)
    slope = (problem.value(theta + step) - problem.value(theta - step)) / 2e-6
    bend = (problem.derivatives(theta + step)[1] - problem.derivatives(theta - step)[1]) / 2e-6
    np.testing.assert_allclose(slope, gradient[0], rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(bend, hessian[0], rtol=1e-4, atol=1e-4 * np.abs(hessian).max())


def test_units_of_n_change_only_its_coefficient(noisy):
    """N in thousands: A becomes A / 1000^alpha, and nothing else moves."""
    law = fit_chinchilla(noisy, bootstrap=20)
    other = fit_chinchilla(noisy.assign(n_params=noisy.n_params / 1e3), bootstrap=20)
    for name in ("E", "B", "alpha", "beta"):
        assert other.params[name] == pytest.approx(law.params[name], rel=1e-5)
    expected = law.params["A"] / 1e3 ** law.params["alpha"]
    assert other.params["A"] == pytest.approx(expected, rel=1e-5)


def test_units_of_loss_change_only_the_coefficients(noisy):
    """Bits instead of nats scale E, A and B alike."""
    law = fit_chinchilla(noisy, bootstrap=20).params
    bits = fit_chinchilla(noisy.assign(loss=noisy.loss / np.log(2)), bootstrap=20).params
    for name in ("E", "A", "B"):
        assert bits[name] * np.log(2) == pytest.approx(law[name], rel=1e-5)
    assert bits["alpha"] == pytest.approx(law["alpha"], rel=1e-5)


def test_order_of_rows_does_not_matter(noisy):
    shuffled = noisy.sample(frac=1.0, random_state=1)
    law, other = fit_chinchilla(noisy, bootstrap=20), fit_chinchilla(shuffled, bootstrap=20)
    assert other.runs.data_hash == law.runs.data_hash
    for name, value in law.params.items():
        assert other.params[name] == pytest.approx(value, rel=1e-6)


def test_same_seed_same_numbers_another_seed_others(noisy):
    law = fit_chinchilla(noisy, bootstrap=50, seed=4).to_json()
    assert fit_chinchilla(noisy, bootstrap=50, seed=4).to_json() == law
    assert fit_chinchilla(noisy, bootstrap=50, seed=5).to_json()["intervals"] != law["intervals"]


def test_checkpoints_of_one_run_are_resampled_together(surface):
    """Each run three times over, under its own id, must not look like three times the evidence."""
    rng = np.random.default_rng(0)
    runs = surface.sweep(rng, noise=0.02)
    thrice = runs.loc[runs.index.repeat(3)].reset_index(drop=True)
    thrice["step"] = np.arange(len(thrice))
    together = fit_chinchilla(thrice, bootstrap=300)
    apart = fit_chinchilla(thrice.assign(run_id=[f"r{i}" for i in thrice.step]), bootstrap=300)
    width = {k: np.diff(law.intervals["alpha"])[0]
             for k, law in (("together", together), ("apart", apart))}
    assert width["together"] > 1.3 * width["apart"]


def test_too_few_runs_are_refused(surface):
    with pytest.raises(FitError, match="4 points for 5 parameters"):
        fit_chinchilla(surface.sweep().iloc[[0, 5, 12, 20]])


def test_one_size_is_refused(surface):
    runs = surface.sweep().assign(n_params=1e5)
    with pytest.raises(FitError, match="same n_params"):
        fit_chinchilla(runs)


def test_one_loss_for_all_is_refused(surface):
    """No law is better than another there: N* came out infinite, in the middle of the table."""
    with pytest.raises(FitError, match="all measurements are 3;"):
        fit_chinchilla(surface.sweep().assign(loss=3.0))


def test_losses_that_rise_with_size_are_refused(surface):
    runs = surface.sweep()
    runs["loss"] = 1.0 + 1e-3 * runs.n_params**0.3 + 100 * runs.n_tokens**-0.4
    with pytest.raises(FitError, match="alpha"):
        fit_chinchilla(runs)
