"""Noise that changes with compute is seen, by run, and counted with; noise that does not is left alone."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from scaling.laws import fit
from scaling.laws.uncertainty.noise import measured_noise
from scaling.laws.uncertainty.noise_trend import NO_TREND, noise_trend
from scaling.laws.uncertainty.resampling import resample

RUNS, SLOPE = 200, -0.3  # of the log of the noise per e-fold


def trend_of(line, log_flops):
    return noise_trend(measured_noise(line.point), line.run_of_row, log_flops)


def with_sizes(make_line, size, seed=0):
    """A line whose noise has a known size for each run. Its x is drawn apart from the sizes."""
    return make_line(runs=len(size), seed=seed, size=size)


def test_a_known_slope_is_found(make_line):
    log_flops = np.linspace(40, 47, RUNS)
    size = np.exp(SLOPE * (log_flops - log_flops.mean()))
    found = [trend_of(with_sizes(make_line, size, seed), log_flops) for seed in range(8)]
    # standard error of a gamma regression of |normal|: sqrt(0.571) / (deviation of log FLOPs sqrt(runs))
    error = np.sqrt(0.571) / (log_flops.std() * np.sqrt(RUNS)) / np.sqrt(8)
    assert np.mean([trend.per_efold for trend in found]) == pytest.approx(SLOPE, abs=4 * error)
    relative = found[0].at(log_flops)
    assert np.mean(relative**2) == pytest.approx(1.0)
    assert relative[0] / relative[-1] == pytest.approx(np.exp(-7 * found[0].per_efold))


def test_beyond_the_runs_it_is_not_carried_on(make_line):
    log_flops = np.linspace(40, 47, RUNS)
    trend = trend_of(with_sizes(make_line, np.exp(SLOPE * (log_flops - 43.5))), log_flops)
    assert trend.at(60.0) == trend.at(47.0) < trend.at(40.0) == trend.at(10.0)


def test_steady_noise_has_a_trend_as_seldom_as_the_test_says(make_line):
    found = [trend_of(make_line(runs=24, seed=seed), np.repeat(np.linspace(40, 42.3, 4), 6))
             for seed in range(150)]
    seen = sum(trend.per_efold != 0 for trend in found)
    assert seen <= stats.binom.ppf(0.999, 150, 0.08)  # 5%, and from 24 runs the sandwich is a little small


def test_checkpoints_of_a_run_are_one_witness(make_line):
    """Rows repeated as checkpoints of their run do not make a faint trend a clear one."""
    log_flops = np.linspace(40, 44, 20)
    for seed in range(20):
        line = with_sizes(make_line, np.exp(-0.15 * (log_flops - 42)), seed)
        rows = np.repeat(np.arange(20), 5)
        often = type(line)(line.x[rows], line.y[rows], rows, line.fit(line.x[rows], line.y[rows]))
        once, many = trend_of(line, log_flops), trend_of(often, log_flops[rows])
        assert (once.per_efold == 0) == (many.per_efold == 0)
        assert many.per_efold == pytest.approx(once.per_efold, rel=1e-4)


def test_rows_without_weight_say_nothing(make_line, fit_line):
    """Small runs left out by weight 0 do not look like quiet ones, nor dilute the draws."""
    log_flops = np.linspace(40, 47, RUNS)
    line = with_sizes(make_line, np.exp(SLOPE * (log_flops - 43.5)))
    kept = np.arange(RUNS) % 3 > 0
    x, y = line.x[kept], line.y[kept]
    some = type(line)(x, y, np.arange(len(x)), fit_line(x, y))
    weighted = type(line)(line.x, line.y, line.run_of_row, fit_line(line.x, line.y, weights=kept * 1.0))
    one, other = trend_of(some, log_flops[kept]), trend_of(weighted, log_flops)
    assert one.per_efold == pytest.approx(other.per_efold, rel=1e-6) and one.per_efold != 0
    spreads = []
    for each, relative in ((some, one.of_rows(log_flops[kept])), (weighted, other.of_rows(log_flops))):
        drawn = resample(each.point, each.run_of_row, "wild", 4000, 1, relative_noise=relative)
        spreads.append(drawn.draws[:, 1].std())
    assert spreads[1] == pytest.approx(spreads[0], rel=0.07)  # four standard errors of two deviations


def test_without_compute_or_with_few_runs_there_is_none(line, make_line):
    assert trend_of(line, None) is NO_TREND
    assert trend_of(line, np.full(len(line.x), 40.0)) is NO_TREND
    few = make_line(runs=6)
    assert trend_of(few, np.linspace(40, 47, 6)) is NO_TREND
    assert NO_TREND.of_rows(None) is None


def test_wild_draws_have_the_size_that_is_asked_for(make_line):
    """Each run draws any residual at its own scale: the sandwich of those sizes."""
    size = np.where(np.arange(60) % 2, 2.0, 0.5)
    line = with_sizes(make_line, size)
    relative = size / np.sqrt(np.mean(size**2))
    pool = measured_noise(line.point).inflated(line.run_of_row) / relative
    bread = np.linalg.inv(line.design.T @ line.design)
    scores = line.design * (relative * np.sqrt(np.mean(pool**2)))[:, None]
    expected = np.sqrt((bread @ scores.T @ scores @ bread)[1, 1])
    draws = resample(line.point, line.run_of_row, "wild", 4000, 1, relative_noise=relative).draws
    assert draws[:, 1].std() == pytest.approx(expected, rel=0.05)  # four standard errors


@pytest.fixture(scope="module")
def falling():
    """Nine budgets over three decades; noise from 2% at the smallest to 0.2% at the largest."""
    rng = np.random.default_rng(0)
    flops = np.repeat(np.geomspace(1e18, 1e21, 9), 7)
    n = np.sqrt(flops / 120) * np.tile(np.geomspace(0.3, 3.0, 7), 9)
    d = flops / 6 / n
    noise = 0.02 * (flops / 1e18) ** (-1 / 3)
    loss = (1.8 + 480 * n**-0.35 + 2100 * d**-0.37) * np.exp(noise * rng.standard_normal(63))
    return fit("chinchilla", pd.DataFrame({"n_params": n, "n_tokens": d, "loss": loss}), bootstrap=100)


def test_a_fit_says_so_and_foretells_quieter_runs(falling):
    assert falling.noise_at(1e21) == pytest.approx(0.002, rel=0.5)
    assert falling.noise_at(1e18) == pytest.approx(0.02, rel=0.5)
    assert any("noise falls with compute" in note for note in falling.notes)
    assert falling.to_json()["noise"]["per_efold"] == pytest.approx(-1 / 3, abs=0.15)
    low, high = falling.predict({"n_params": 3e9, "n_tokens": 6e10}).predictive_interval
    low_law, high_law = falling.predict({"n_params": 3e9, "n_tokens": 6e10}).interval
    assert np.log(high / low) < 2 * 1.645 * falling.noise + np.log(high_law / low_law)
