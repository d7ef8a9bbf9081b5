"""Intervals hold the truth at their nominal rate, over sweeps of realistic size and noise."""

import importlib.util
import pathlib

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from scaling.errors import UserError
from scaling.laws.uncertainty.coverage import DESIGNS, NOISES, SURFACES, Scenario, covered, sweep, true_loss
from scaling.laws.uncertainty.resampling import COVERAGE, DEFAULT, METHODS, coverage_line

ROOT = pathlib.Path(__file__).resolve().parents[3]
SMALL = Scenario("chinchilla", "24 runs", "normal", 0.005, 1e-2)


def shares(scenario, sweeps, method=DEFAULT, replicates=59):
    """Share of sweeps inside, by quantity."""
    found = [one for seed in range(sweeps) for one in covered(scenario, seed, (method,), replicates)]
    inside = {}
    for one in found:
        inside.setdefault(one.quantity, []).append(one.inside)
    assert all(len(values) == sweeps for values in inside.values())
    return {quantity: np.mean(values) for quantity, values in inside.items()}


def band(sweeps, low=0.87, high=0.93, tail=1e-3):
    """What a rate of low to high gives in so many sweeps, but for a chance of `tail` on either side."""
    return stats.binom.ppf(tail, sweeps, low) / sweeps, stats.binom.ppf(1 - tail, sweeps, high) / sweeps


def test_default_intervals_cover():
    low, high = band(40)
    for quantity, share in shares(SMALL, 40).items():
        assert low <= share <= high, quantity


@pytest.mark.slow
@pytest.mark.parametrize("delta", [1e-3, 1e-2])
@pytest.mark.parametrize("design", ["24 runs", "66 runs"])
def test_default_intervals_cover_over_500_sweeps(design, delta):
    low, high = band(500, tail=0.01)
    found = shares(Scenario("chinchilla", design, "normal", 0.005, delta), 500, replicates=99)
    for quantity, share in found.items():
        assert low <= share <= high, quantity


def frozen():
    """The table of experiments/calibration: made by tools/coverage.py, which takes hours."""
    return pd.read_csv(ROOT / "experiments" / "calibration" / "results.csv")


def test_the_frozen_table_is_of_the_default_method_everywhere_and_of_500_sweeps():
    table = frozen()
    of_default = table[table.method == DEFAULT]
    assert (of_default.sweeps >= 500).all() and (table.sweeps >= 200).all() and (table.refused == 0).all()
    settings = ["surface", "design", "noise", "size", "delta"]
    assert len(of_default.drop_duplicates(settings)) == len(table.drop_duplicates(settings)) >= 9


@pytest.mark.parametrize("quantity", [
    "E", "alpha", "beta", "exponent of N*", "N* at 10x", "N* at 100x", "law at 10x", "law at 100x",
    "new run at 10x", "new run at 100x", "forecast at 10x", "forecast at 100x",
])
def test_the_default_method_covers_in_the_frozen_table(quantity):
    """87 to 93%, and what 500 sweeps of such a rate give, whatever the noise."""
    table = frozen()
    rows = table[(table.method == DEFAULT) & (table.quantity == quantity)]
    low, high = band(500)
    assert len(rows) and rows.coverage.between(low, high).all()


def test_what_a_fit_says_of_its_method_is_the_frozen_table():
    table = frozen()
    table = table[~table.quantity.str.startswith("forecast")]
    for method, told in COVERAGE.items():
        shares = 100 * table.coverage[table.method == method]
        assert told == (round(shares.min()), round(shares.mean()), round(shares.max()))
        line = coverage_line(METHODS.get(method, "posterior by emcee"))
        assert ("too narrow in some" in line) == (told[0] < 87)


def test_half_the_noise_would_not_cover():
    """The band tells: intervals of half their width hold the truth about 60% of the time."""
    assert band(40)[0] > 0.65


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("noise", NOISES)
def test_sweeps_are_what_they_are_called(design, noise):
    scenario = Scenario("laptop", design, noise, 0.01, 1e-3)
    runs = sweep(scenario, 3)
    assert len(np.unique(runs.run_of_row)) == int(design.split()[0])
    again, other = sweep(scenario, 3), sweep(scenario, 4)
    np.testing.assert_array_equal(runs.loss, again.loss)
    assert not np.array_equal(runs.loss, other.loss)
    residual = np.log(runs.loss / true_loss("laptop", runs.n_params, runs.n_tokens))
    assert 0.004 < residual.std() < 0.025


def test_delta_changes_the_fit_and_not_the_runs():
    one, other = (Scenario("uneven", "24 runs", "normal", 0.01, delta) for delta in (1e-3, 1e-2))
    np.testing.assert_array_equal(sweep(one, 0).loss, sweep(other, 0).loss)


def test_sizes_straddle_the_optimum_of_their_budget():
    """The known optimum of the surface, by a search, lies in the middle of each budget's sizes."""
    for name in SURFACES:
        runs = sweep(Scenario(name, "24 runs", "normal", 1e-9, 1e-3), 0)
        flops = 6 * runs.n_params * runs.n_tokens
        for budget in np.unique(flops.round(-3)):
            sizes = runs.n_params[np.isclose(flops, budget, rtol=1e-6)]
            n = np.geomspace(sizes.min() / 10, sizes.max() * 10, 20001)
            best = n[np.argmin(true_loss(name, n, budget / 6 / n))]
            assert best == pytest.approx(np.sqrt(sizes.min() * sizes.max()), rel=2e-3)


def test_what_does_not_exist_is_refused():
    with pytest.raises(UserError, match="no design '25 runs'"):
        sweep(Scenario("chinchilla", "25 runs", "normal", 0.01, 1e-3), 0)


def test_the_command_makes_the_table(capsys):
    spec = importlib.util.spec_from_file_location("coverage_tool", ROOT / "tools" / "coverage.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    few = "--only 12_runs --sweeps 2 --methods cases --replicates 19 --workers 1"
    assert tool.main([word.replace("_", " ") for word in few.split()]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| surface | design | noise") and len(lines) == 4
    assert tool.main(["--methods", "wyld"]) == 2
    assert "no method 'wyld'" in capsys.readouterr().err
