import numpy as np
import pytest

from scaling.errors import UserError
from scaling.transfer.exponents import fit_line
from scaling.transfer.optimum import Scan, optimum, pooled_noise, refuse_edge, standard_error

RATES = np.arange(-10.0, -2.0)


def surface(at: float, curvature: float = 0.04, noise: float = 0.0, seeds: int = 2, seed: int = 0):
    draw = np.random.default_rng(seed)
    losses = 2.5 + curvature * (RATES[:, None] - at) ** 2 + draw.normal(0, 0.05, seeds)
    return losses + draw.normal(0, noise, losses.shape)


@pytest.mark.parametrize("at", [-8.4, -7.0, -6.1, -4.51])
def test_the_vertex_of_a_parabola_is_found_whatever_the_seeds_offsets(at):
    found = optimum(RATES, surface(at))
    assert found.log2_rate == pytest.approx(at) and found.curvature == pytest.approx(0.04)
    assert found.edge is None and np.abs(found.residuals).max() < 1e-12


def test_what_happens_far_away_does_not_move_it():
    losses = surface(-6.2)
    cliff = losses.copy()
    cliff[RATES > -4] += 3.0
    assert optimum(RATES, cliff).log2_rate == pytest.approx(-6.2)


def test_a_curve_that_is_no_parabola_is_followed_within_half_an_octave():
    """The vertex through three even points of which the middle is lowest is never further."""
    steep = 2.5 + 0.02 * np.exp(1.5 * (RATES + 6)) - 0.03 * (RATES + 6)
    true = np.log(1) / 1.5 - 6  # where the derivative, 0.03 exp(1.5 u) - 0.03, is 0
    assert abs(optimum(RATES, steep[:, None]).log2_rate - true) < 0.5


@pytest.mark.parametrize("at, word", [(-12.0, "smallest"), (-1.0, "largest")])
def test_an_optimum_at_the_edge_is_refused_in_one_line(at, word):
    losses = surface(at)
    scan = Scan("d32.L2", RATES, losses, diverged=(-2.0,) if at > -3 else ())
    with pytest.raises(UserError, match=f"d32.L2: the best .* is the {word} of its grid") as error:
        refuse_edge(scan, optimum(RATES, losses))
    assert ("diverged at 0.25" in str(error.value)) == (at > -3)


def test_two_rates_are_too_few():
    scan = Scan("d32.L2", RATES[:2], surface(-6)[:2], diverged=(-8.0,))
    with pytest.raises(UserError, match="2 usable learning rates.*diverged"):
        refuse_edge(scan, None)


def test_the_noise_is_that_of_a_run():
    found = [optimum(RATES, surface(-6.0 + s / 100, noise=0.01, seed=s)) for s in range(60)]
    assert pooled_noise(found) == pytest.approx(0.01, rel=0.1)


def test_one_seed_and_three_rates_have_no_noise():
    with pytest.raises(UserError, match="Proxies.seeds = 2"):
        pooled_noise([optimum(RATES[:3], surface(-9.0, seeds=1)[:3])])


def test_the_standard_error_is_the_scatter_of_repeated_scans():
    scans = [surface(-6.3, noise=0.008, seed=s) for s in range(200)]
    spread = np.std([optimum(RATES, losses).log2_rate for losses in scans])
    errors = [standard_error(Scan("", RATES, losses), 0.008, 100) for losses in scans[:20]]
    assert np.mean(errors) == pytest.approx(spread, rel=0.2)


@pytest.mark.parametrize("scatter", [0.0, 0.15])
def test_intervals_of_exponents_cover_at_their_rate(scatter):
    """Six widths and three depths, an optimum's error of 0.1 octaves, with and without scatter."""
    width = np.array([0, 1, 2, 3, 4, 5, 0, 0, 0.0])
    depth = np.array([0, 0, 0, 0, 0, 0, 1, 2, 3.0])
    rows = np.stack([np.ones(9), width, depth], 1)
    errors, hits, draw = np.full(9, 0.1), 0, np.random.default_rng(1)
    for _ in range(1000):
        x = rows @ (-6.0, -0.8, 0.1) + draw.normal(0, np.hypot(0.1, scatter), 9)
        low, high = fit_line(rows, x, errors).interval(np.array([0, 1.0, 0]), 0.9)
        hits += low <= -0.8 <= high
    assert 0.86 <= hits / 1000 <= 0.97


def test_as_many_settings_as_coefficients_are_fitted_without_scatter():
    line = fit_line(np.array([[1, 0], [1, 2.0]]), np.array([-6.0, -7.0]), np.array([0.1, 0.1]))
    assert line.coefficients == pytest.approx([-6.0, -0.5]) and line.scatter == 0
    assert line.covariance[1, 1] == pytest.approx(2 * 0.01 / 4)
