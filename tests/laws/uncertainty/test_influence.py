"""Leave one run out: shifts are those of real refits, and outliers are named, never removed."""

import numpy as np
import pytest

from scaling.laws.uncertainty.influence import influence
from scaling.laws.uncertainty.resampling import resample


def draws_of(line):
    return resample(line.point, line.run_of_row, replicates=199).draws


def names(line):
    return tuple(f"run-{i}" for i in line.run_of_row)


@pytest.mark.parametrize("which", ["line", "checkpoints"])
def test_shifts_are_those_of_fits_without_the_run(which, request):
    line = request.getfixturevalue(which)
    draws = draws_of(line)
    found = influence(line.point, draws, line.run_of_row, names(line))
    assert len(found) == len(np.unique(line.run_of_row))
    low, high = np.quantile(draws[:, 1], [0.1587, 0.8413])
    for one in found:
        rest = line.run_of_row != int(one.run_id[4:])
        alpha = np.linalg.lstsq(line.design[rest], np.log(line.y[rest]), rcond=None)[0][1]
        expected = (alpha - line.point.params["alpha"]) / ((high - low) / 2)
        assert one.shifts["alpha"] == pytest.approx(expected, abs=1e-6)


def test_a_planted_outlier_is_named_and_stays_in(line):
    outlying = line.y.copy()
    outlying[7] *= 1.3
    bad = type(line)(line.x, outlying, line.run_of_row,
                     line.fit(line.x, outlying, objective="huber_log", delta=1e-2))
    before = bad.point.params
    found = influence(bad.point, draws_of(bad), bad.run_of_row, names(bad))
    flagged = [one for one in found if one.outlier]
    assert [one.run_id for one in flagged] == ["run-7"]
    assert "above the law" in flagged[0].words and flagged[0].residual > 3.5
    assert bad.point.params == before and len(found) == len(line.x)


def test_a_run_far_from_the_rest_is_leant_on(make_line, fit_line):
    line = make_line(runs=12, seed=2)
    x, y = np.append(line.x, 1e6), np.append(line.y, 3.0 * 1e6**-0.3 * 1.3)
    point = fit_line(x, y)
    run = np.arange(13)
    found = influence(point, resample(point, run, replicates=199).draws, run, tuple(map(str, run)))
    assert found[0].run_id == "12" and found[0].leant_on
    assert "without it" in found[0].words


def test_targets_are_judged_as_parameters_are(line):
    at = {"log loss at x = 1e4": lambda theta: theta[:, 0] - theta[:, 1] * np.log(1e4)}
    draws = draws_of(line)
    found = influence(line.point, draws, line.run_of_row, names(line), at)
    one = found[0]
    rest = line.run_of_row != int(one.run_id[4:])
    log_a, alpha = np.linalg.lstsq(line.design[rest], np.log(line.y[rest]), rcond=None)[0]
    value = at["log loss at x = 1e4"]
    low, high = np.quantile(value(draws), [0.1587, 0.8413])
    moved = log_a - alpha * np.log(1e4) - value(line.point.theta[None])[0]
    assert one.shifts["log loss at x = 1e4"] == pytest.approx(moved / ((high - low) / 2), abs=1e-6)


def test_clean_runs_are_not_flagged(make_line):
    """Of 5 x 40 clean runs at most one may pass 3.5 standard deviations by chance."""
    flagged = 0
    for seed in range(5):
        line = make_line(runs=40, seed=seed)
        found = influence(line.point, draws_of(line), line.run_of_row, names(line))
        flagged += sum(one.outlier for one in found)
    assert flagged <= 1
