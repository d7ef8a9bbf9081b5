"""Any law of the library on runs: intervals, predictions, refusals, and what is said of them."""

import json

import numpy as np
import pandas as pd
import pytest

from scaling.errors import UserError
from scaling.laws import FitError, fit


@pytest.fixture(scope="module")
def law(surface):
    return fit("chinchilla", surface.sweep(np.random.default_rng(3), noise=0.012), bootstrap=200)


def test_json_has_what_a_reviewer_asks_for(law):
    body = json.loads(json.dumps(law.to_json(), allow_nan=False))
    assert body["law"] == "chinchilla"
    assert list(body["params"]) == ["E", "A", "B", "alpha", "beta"] == list(body["intervals"])
    assert all(low < body["params"][k] < high for k, (low, high) in body["intervals"].items())
    assert (body["level"], body["delta"], body["n_points"]) == (0.9, 1e-3, 24)
    assert {"gradient", "starts_at_optimum", "minima"} <= body["receipt"].keys()
    assert body["holdout"]["rms_error_percent"] > 0


def test_prediction_holds_the_law_and_widens_for_a_new_run(law, surface):
    told = law.predict({"n_params": 3e5, "n_tokens": 2e6})
    assert told.value == pytest.approx(law.loss(3e5, 2e6))
    (low, high), (lower, higher) = told.interval, told.predictive_interval
    assert lower < low < told.value < high < higher
    assert told.to_json().keys() == {"n_params", "n_tokens", "loss", "interval", "predictive_interval"}


def test_prediction_beyond_the_runs_allows_for_the_form(surface):
    """Losses outside the form: the hold-out shows it, and predictions beyond widen with distance."""
    runs = surface.sweep(np.random.default_rng(2), noise=0.002)
    runs["loss"] = np.where(runs.train_flops > 1e12, runs.loss + 0.08, runs.loss)
    law = fit("chinchilla", runs, bootstrap=100)
    inside = law.predict({"n_params": 1e5, "n_tokens": 1e6})
    beyond = law.predict({"n_params": 1e6, "n_tokens": 1e7})
    within, outside = (known.at(e_folds) for known, e_folds in map(law.model_error, (inside.at, beyond.at)))
    assert within == 0.0 < outside
    width = lambda p: p.predictive_interval[1] / p.predictive_interval[0] - 1  # noqa: E731
    assert width(beyond) > 2 * width(inside)


@pytest.mark.parametrize("at", [{"n_params": 1e6}, {"n_params": 1e6, "n_tokens": -1.0},
                                {"n_params": float("nan"), "n_tokens": 1e6}])
def test_predictions_need_every_column_and_positive_numbers(law, at):
    with pytest.raises(UserError, match="n_tokens|n_params"):
        law.predict(at)


def test_squares_of_logs_are_least_squares(surface):
    """At a pure power law the optimum is the regression line of logs."""
    n = np.geomspace(1e5, 1e8, 20)
    loss = 20 * n**-0.1 * np.exp(0.01 * np.random.default_rng(0).standard_normal(20))
    law = fit("kaplan_n", pd.DataFrame({"n_params": n, "loss": loss}), objective="log_squares",
              bootstrap=20)
    slope = np.polyfit(np.log(n), np.log(loss), 1)[0]
    assert law.params["alpha_N"] == pytest.approx(-slope, rel=1e-9)


def test_weights_and_standard_errors_count(surface):
    """A row of weight zero is as good as absent; one with a large error hardly counts."""
    runs = surface.sweep(np.random.default_rng(1), noise=0.01)
    spoilt = pd.concat([runs, runs.iloc[[5]].assign(run_id="bad", loss=9.0)], ignore_index=True)
    plain = fit("chinchilla", runs, bootstrap=20).params
    spoilt["weight"] = [1.0] * 24 + [0.0]
    unweighted = fit("chinchilla", spoilt, bootstrap=20).params
    for name, value in plain.items():
        assert unweighted[name] == pytest.approx(value, rel=1e-3)


def test_one_budget_is_said(surface):
    runs = surface.sweep(np.random.default_rng(0), noise=0.002, budgets=1, sizes=14, spread=20)
    try:
        law = fit("chinchilla", runs, bootstrap=20)
    except FitError:
        return
    assert any("one budget only" in note for note in law.notes)


def test_distinct_minima_are_told(surface):
    """The same runs always give the same minima, lowest first, with their shares."""
    law = fit("chinchilla", surface.sweep(np.random.default_rng(3), noise=0.012), bootstrap=20)
    found = law.point.receipt.minima
    values = [m["objective"] for m in found]
    assert values == sorted(values) and values[0] == law.point.objective
    assert sum(m["share"] for m in found) <= 1 + 1e-9


@pytest.mark.parametrize("option", [{"level": 0.0}, {"level": 1.0}, {"bootstrap": 0}, {"seed": -1},
                                    {"delta": 0.0}, {"delta": float("nan")}])
def test_options_out_of_range_are_named(surface, option):
    with pytest.raises(UserError, match=next(iter(option))):
        fit("chinchilla", surface.sweep(), **option)
