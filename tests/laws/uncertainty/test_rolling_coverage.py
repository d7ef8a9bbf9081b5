"""Rolling coverage: no fit looks ahead."""

import dataclasses

import numpy as np
import pytest

from scaling.laws.uncertainty.coverage import Scenario, sweep
from scaling.laws.uncertainty.rolling_coverage import Runs, fold_errors, rolling_coverage


@pytest.fixture(scope="module")
def runs():
    made = sweep(Scenario("chinchilla", "24 runs", "normal", 0.003, 1e-2), 1)
    return Runs(made.n_params, made.n_tokens, made.loss, 6 * made.n_params * made.n_tokens, made.run_of_row)


def test_every_later_run_is_asked_of_every_fit(runs):
    asked = rolling_coverage(runs, 1e-2, replicates=29)
    assert len(asked) == 12 + 6  # two budgets fitted: the third and the fourth; three: the fourth
    assert sum(one.adjacent for one in asked) == 12
    assert all(one.half_width_with >= 0.95 * one.half_width for one in asked)


def test_no_fit_looks_ahead(runs):
    """Losses of the last budget change nothing in what was said of the one before."""
    later = dataclasses.replace(runs, loss=np.where(runs.flops > 9e18, 3 * runs.loss, runs.loss))
    one, other = (rolling_coverage(each, 1e-2, replicates=29)[:6] for each in (runs, later))
    assert one == other


def test_a_bend_shows_in_the_folds(runs):
    straight = fold_errors(runs, 1e-2, replicates=29)
    bent = dataclasses.replace(runs, loss=np.where(runs.flops > 3e18, 1.05 * runs.loss, runs.loss))
    worst = max(error.mean_statistic for error in fold_errors(bent, 1e-2, replicates=29))
    assert worst > 10 > max(error.mean_statistic for error in straight)
