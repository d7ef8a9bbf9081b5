"""Forms compete on extrapolation, and the multiverse shows what choices do."""

import numpy as np
import pytest
from rich.console import Console

from scaling.errors import UserError
from scaling.laws import usable_runs
from scaling.laws.compete import compete
from scaling.laws.multiverse import multiverse

LAWS = ("kaplan_n", "chinchilla", "kaplan_d", "chinchilla_shared")  # by exact derivatives: quick


@pytest.fixture(scope="module")
def runs(surface):
    lopsided = type(surface)(alpha=0.3, beta=0.45, A=25.0, B=400.0)
    return lopsided.sweep(np.random.default_rng(0), noise=0.002, budgets=5, sizes=8, spread=6)


def test_the_true_form_forecasts_better_than_one_without_its_parts(runs):
    """Data from E + A/N^alpha + B/D^beta: a law of N alone, or of D alone, cannot keep up."""
    entries = compete(usable_runs(runs), laws=LAWS).entries
    rank = [e.law for e in entries]
    assert rank[0] == "chinchilla"
    assert not {"kaplan_n", "kaplan_d"} & set(rank[:2])
    rms = [e.holdout_rms for e in entries]
    assert rms == sorted(rms) and len({e.n_folds for e in entries}) == 1


def test_too_few_budgets_leave_nothing_to_hold_out(surface):
    with pytest.raises(UserError, match="no law of the loss could be held out"):
        compete(usable_runs(surface.sweep(np.random.default_rng(0), noise=0.01, budgets=1, sizes=12)),
                laws=("chinchilla", "chinchilla_shared"))


def test_counting_moves_the_exponent_as_the_algebra_says(surface):
    """With N' = 7 N^0.8 the law in N' has alpha' = alpha / 0.8, so N'* ~ C^(0.8 a): 0.5 becomes 0.4."""
    runs = surface.sweep()
    runs["n_nonemb"] = 7 * runs.n_params**0.8
    found = multiverse(runs, 1e14)
    exponent = {(u.choices["N"], u.choices["C"]): u.n_exponent for u in found.fitted
                if u.choices["runs"] == "all" and u.choices["form"] == "chinchilla"}
    assert exponent["n_params", "6 N D"] == pytest.approx(0.5, abs=1e-4)
    assert exponent["n_nonemb", "train_flops"] == pytest.approx(0.4, abs=1e-4)


def test_universes_are_all_there_and_the_first_is_the_default(runs):
    found = multiverse(runs.drop(columns="tag_budget").iloc[::2], 1e14)
    assert found.universes[0].choices == {
        "N": "n_params", "C": "train_flops", "runs": "all", "form": "chinchilla", "delta": "0.001"}
    assert len({tuple(u.choices.values()) for u in found.universes}) == len(found.universes)
    spread = found.spread()
    for row in spread.values():
        assert row["least"] <= row["median"] <= row["greatest"]
        assert row["least"] <= row["default"] <= row["greatest"]
    with Console(quiet=True) as out:
        found.show(out)


def test_a_target_must_be_positive(runs):
    with pytest.raises(UserError, match="flops"):
        multiverse(runs, -1.0)
