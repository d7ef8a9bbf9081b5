"""Approach 2: exact on parabolas, and it refuses what has no minimum."""

import numpy as np
import pandas as pd
import pytest

from scaling.laws import FitError, fit_isoflop


def parabolic(budgets=(1e12, 2e12, 4e12, 8e12), sizes=5):
    """Exact parabolas in log N with N* = 2 C^0.45 (at 6 N D) and L* = 1.5 + 40 C^-0.12."""
    rows = []
    for c in budgets:
        best = 2 * c**0.45
        for n in best * np.geomspace(0.3, 2.5, sizes):
            loss = 1.5 + 40 * c**-0.12 + 0.07 * np.log(n / best) ** 2
            rows.append((n, c / 6 / n, c, loss))
    return pd.DataFrame(rows, columns=["n_params", "n_tokens", "train_flops", "loss"])


def test_exact_parabolas_give_back_exponents_and_frontier():
    law = fit_isoflop(parabolic(), bootstrap=20)
    assert law.exponents["n_opt"] == pytest.approx(0.45, abs=1e-9)
    assert law.exponents["d_opt"] == pytest.approx(0.55, abs=1e-9)
    assert law.n_opt.at(1e14)[0] == pytest.approx(2 * 1e14**0.45, rel=1e-6)
    assert law.frontier.loss(1e14) == pytest.approx(1.5 + 40 * 1e14**-0.12, rel=1e-6)
    assert law.frontier.params["E"] == pytest.approx(1.5, rel=1e-4)
    assert all(b.curvature == pytest.approx(0.07, rel=1e-6) for b in law.budgets)


def test_off_the_optimum_the_parabolas_curvature_is_added():
    law = fit_isoflop(parabolic(), bootstrap=20)
    n = law.n_opt.at(1e13)[0] * np.e
    assert law.off_optimum(n, 1e13) == pytest.approx(0.07, rel=1e-6)


def test_chinchilla_surface_gives_nearly_its_own_exponent(surface):
    """On a symmetric grid and alpha = beta the parabola's bias cancels: N* grows as C^0.5."""
    law = fit_isoflop(surface.sweep(), bootstrap=20)
    assert law.exponents["n_opt"] == pytest.approx(0.5, abs=1e-3)


def test_tokens_at_the_optimum_follow_the_runs_convention():
    runs = parabolic()
    runs["n_tokens"] *= 0.8  # FLOPs that count more than 6 N D
    law = fit_isoflop(runs, bootstrap=20)
    for budget in law.budgets:
        assert budget.d_opt == pytest.approx(0.8 * budget.flops / 6 / budget.n_opt, rel=1e-6)


def test_concave_budget_is_refused_and_listed():
    runs = parabolic()
    first = runs.train_flops == 1e12
    runs.loc[first, "loss"] = 2 * runs.loss[first].mean() - runs.loss[first]
    law = fit_isoflop(runs, bootstrap=20)
    assert len(law.budgets) == 3
    assert any("1e+12" in p and "concave" in p for p in law.problems)


def test_minimum_at_the_edge_is_refused_and_listed():
    runs = parabolic()
    keep = (runs.train_flops != 8e12) | (runs.n_params < 2 * 8e12**0.45 * 0.95)
    law = fit_isoflop(runs[keep], bootstrap=20)
    assert len(law.budgets) == 3
    assert any("8e+12" in p and "larger models" in p for p in law.problems)


def test_two_sizes_are_refused_and_listed():
    runs = parabolic()
    runs = runs.drop(runs.index[runs.train_flops == 2e12][2:])
    law = fit_isoflop(runs, bootstrap=20)
    assert any("2e+12" in p and "2 sizes" in p for p in law.problems)


def test_one_usable_budget_is_refused_with_the_reasons():
    runs = parabolic(budgets=(1e12, 4e12))
    runs.loc[runs.train_flops == 4e12, "loss"] = np.linspace(4, 3, 5)
    with pytest.raises(FitError, match="1 of 2 budgets usable.*4e"):
        fit_isoflop(runs)


def test_budgets_are_found_by_their_flops_without_tags(surface):
    runs = surface.sweep()
    rng = np.random.default_rng(0)
    runs["train_flops"] *= 1 + 0.01 * rng.uniform(-1, 1, len(runs))
    law = fit_isoflop(runs.drop(columns="tag_budget"), bootstrap=20)
    assert len(law.budgets) == 4


def test_intervals_hold_the_point_and_are_deterministic(noisy):
    law = fit_isoflop(noisy, bootstrap=100)
    low, high = law.exponents["n_opt_interval"]
    assert low < law.exponents["n_opt"] < high
    assert fit_isoflop(noisy, bootstrap=100).to_json() == law.to_json()


def test_three_sizes_a_budget_need_a_known_noise_and_follow_it():
    runs = parabolic(sizes=3)
    with pytest.raises(FitError, match="3 sizes in every budget leave no noise to see"):
        fit_isoflop(runs, bootstrap=20)

    def width(noise):
        law = fit_isoflop(runs, bootstrap=400, seed_noise=noise)
        assert law.noise == noise
        low, high = law.exponents["n_opt_interval"]
        return high - low

    assert width(2e-4) == pytest.approx(2 * width(1e-4), rel=0.05)


def test_replicates_refuse_budgets_as_the_fit_does_and_keep_the_others():
    """The largest budget's minimum lies just inside its sizes, so many resamples lose it."""
    runs = parabolic(sizes=6)
    largest = runs.train_flops == 8e12
    runs = runs[~largest | (runs.n_params < 2 * 8e12**0.45 * 1.1)]
    noise = 8e-3 * np.random.default_rng(0).standard_normal(len(runs))
    runs["loss"] += np.where(runs.train_flops == 8e12, 0.0, noise)
    law = fit_isoflop(runs, bootstrap=200)
    last = law.budgets[-1]
    assert last.flops == pytest.approx(8e12)
    draws = 8e-3 * np.random.default_rng(1).standard_normal((400, len(last.rows)))
    assert 0.2 < last.resampled_minima(draws).good.mean() < 0.8
    assert law.bootstrap.failed < 10


def test_digitised_compute_is_grouped_by_tolerance():
    """Runs between the budgets chain them into one for the eye that looks for gaps."""
    runs = parabolic(sizes=8).drop(columns="n_tokens")
    rng = np.random.default_rng(1)
    jitter = 1 + 0.01 * rng.uniform(-1, 1, len(runs))
    between = np.geomspace(1e12, 8e12, 60)
    between = between[np.abs(np.log(between[:, None] / [1e12, 2e12, 4e12, 8e12])).min(axis=1) > 0.03]
    between = pd.DataFrame({"n_params": 1e6, "train_flops": between, "loss": 3.0})
    runs = pd.concat([runs.assign(train_flops=runs.train_flops * jitter), between])
    runs["n_tokens"] = runs.train_flops / 6 / runs.n_params
    alone = fit_isoflop(runs, bootstrap=20)
    assert any("no gaps in compute" in p for p in alone.problems)
    assert len(alone.budgets) >= 2 and max(len(b.rows) for b in alone.budgets) < len(runs) / 3
    law = fit_isoflop(runs, bootstrap=20, tolerance=0.03)
    assert [b.flops for b in law.budgets] == pytest.approx([1e12, 2e12, 4e12, 8e12], rel=0.01)
    assert any("fewer than 3 others" in p for p in law.problems)
