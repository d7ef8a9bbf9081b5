"""Residuals corrected for leverage are those of fits without the run; the companion sees the noise."""

import numpy as np
import pytest

from scaling.laws.fitting.point_fit import fit_form
from scaling.laws.forms.chinchilla import CHINCHILLA
from scaling.laws.uncertainty.noise import measured_noise


@pytest.mark.parametrize("which", ["line", "checkpoints"])
def test_inflated_residuals_are_those_of_the_fit_without_the_run(which, request):
    line = request.getfixturevalue(which)
    inflated = measured_noise(line.point).inflated(line.run_of_row)
    for run in np.unique(line.run_of_row):
        np.testing.assert_allclose(inflated[line.run_of_row == run], line.without(run), rtol=1e-6)


def test_leverages_sum_to_the_number_of_parameters(line, chinchilla_point):
    assert measured_noise(line.point).leverage.sum() == pytest.approx(2)
    assert measured_noise(chinchilla_point[0]).leverage.sum() == pytest.approx(5)


def test_weights_count_as_repeated_rows(line, fit_line):
    """A row of weight 2 has the leverage of the two rows it stands for."""
    weights = np.where(np.arange(len(line.x)) < 5, 2.0, 1.0)
    weighted = measured_noise(fit_line(line.x, line.y, weights=weights))
    rows = np.repeat(np.arange(len(line.x)), weights.astype(int))
    repeated = measured_noise(fit_line(line.x[rows], line.y[rows]))
    summed = np.bincount(rows, repeated.leverage)
    np.testing.assert_allclose(weighted.leverage, summed, rtol=1e-6)
    first = np.unique(rows, return_index=True)[1]
    np.testing.assert_allclose(weighted.residuals, repeated.residuals[first], atol=1e-9)


def test_the_companion_sees_what_a_fit_by_absolute_values_hides():
    """Of 24 points a fit of 5 parameters at a tiny delta goes through about 5; its residuals are no noise.

    Over 24 data sets the companion's deviation is unbiased to within a few percent.
    """
    sigma, hidden, seen = 0.005, [], []
    for seed in range(24):
        rng = np.random.default_rng([11, seed])
        n, d = np.exp(rng.uniform(17, 22, 24)), np.exp(rng.uniform(20, 25, 24))
        loss = (1.8 + 480 * n**-0.35 + 2100 * d**-0.37) * np.exp(sigma * rng.standard_normal(24))
        point = fit_form(CHINCHILLA, {"n_params": n, "n_tokens": d}, loss, 1e-4, 4)
        noise = measured_noise(point)
        hidden.append(np.sum(np.abs(point.log_residuals) < 2e-4))
        seen.append(noise.deviation)
        assert np.sum(np.abs(noise.residuals) < 2e-4) < 4
    assert np.median(hidden) >= 4
    assert np.mean(seen) == pytest.approx(sigma, rel=0.13)  # four standard errors of 24 x 19 freedoms


def test_an_outlier_hardly_moves_the_deviation(line, fit_line):
    outlying = line.y.copy()
    outlying[3] *= 2.0
    plain = measured_noise(fit_line(line.x, line.y, objective="huber_log")).deviation
    noise = measured_noise(fit_line(line.x, outlying, objective="huber_log"))
    assert noise.deviation < 1.6 * plain
    assert np.argmax(np.abs(noise.standardised)) == 3 and abs(noise.standardised[3]) > 10
