"""The bias meter against closed forms, against published figures, and against noisy sweeps."""

import dataclasses
import json
import os
import pathlib

import numpy as np
import pandas as pd
import pytest

from scaling.laws.allocation import FlopsRelation, optimal
from scaling.laws.approaches.bias import bias_of, bias_on, vertex_shift
from scaling.laws.approaches.isoflop import fit_isoflop, usable_parabolas
from scaling.laws.approaches.line import LineFit
from scaling.laws.fitting.point_fit import FitError, fit_form
from scaling.laws.forms.chinchilla import CHINCHILLA
from scaling.laws.table.runs import usable_runs

SMALL = np.geomspace(1e17, 1e21, 5)
LARGE = np.geomspace(1e18, 1e22, 5)


def theta(e=1.69, a=406.4, b=410.7, alpha=0.34, beta=0.28):
    """Natural coordinates; by default the law of Hoffmann et al. 2022, equation 10."""
    return np.array([np.log(e), np.log(a), np.log(b), alpha, beta])


EQUAL = theta(a=400, b=400, alpha=0.31, beta=0.31)


def grid(law, budgets, factor, sizes=15, centres=1.0):
    """Sizes evenly in log N, `factor` either side of `centres` (one or per budget) times N*."""
    centres = np.broadcast_to(centres, len(budgets))
    return [(c, k * optimal(law, c)[0] * np.geomspace(1 / factor, factor, sizes))
            for c, k in zip(budgets, centres)]


def drift(factor):
    """Centred at the first budget, a factor below N* at the last, evenly in log C."""
    return factor ** -np.linspace(0, 1, 5)


@pytest.mark.parametrize("factor, percent", [
    (2, -0.326937803732719), (4, -1.301125043704300), (8, -2.902904738135434),
    (16, -5.100244551712022),
])
def test_published_bias_of_centred_grids(factor, percent):
    """Open Athena 2026, figure 3: D* at 1e24 from 15 sizes at each of five budgets, 1e17 to 1e21."""
    meter = bias_on(grid(theta(), SMALL, factor), theta(), 1e24)
    assert meter.d_bias == pytest.approx(percent, rel=1e-6)
    assert meter.n_exponent_bias == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("factor, centres, percent", [
    (4, 1 / 3, 5.690942262865139), (8, 1 / 3, 3.376107789049476),
    (16, 1 / 3, 0.237880848496492), (8, drift(3), 7.896343698285654),
    (16, drift(3), 3.850529394051585),
])
def test_published_bias_of_grids_off_the_centre(factor, centres, percent):
    """Open Athena 2026, token allocation at 3.8e25: sizes 3 times too small, or drifting to it."""
    meter = bias_on(grid(theta(), LARGE, factor, centres=centres), theta(), 3.8e25)
    assert meter.d_bias == pytest.approx(percent, rel=1e-6)


def test_vertex_is_the_closed_form_of_moments():
    """On a symmetric grid the odd part of the curve is sinh, the even part cosh, and the least
    squares line and curvature are their moments."""
    t = np.linspace(-1.9, 1.9, 11)
    alpha, q = 0.5, 0.2
    odd = np.sinh(q * t) / q - np.sinh(alpha * t) / alpha
    even = np.cosh(q * t) / q + np.cosh(alpha * t) / alpha
    m2, m4 = (t**2).mean(), (t**4).mean()
    curvature = ((t**2 - m2) * even).mean() / (m4 - m2**2)
    assert vertex_shift(alpha, q, t) == pytest.approx(-(t * odd).mean() / m2 / (2 * curvature), rel=1e-9)


@pytest.mark.parametrize("alpha, q", [(0.34, 0.28), (0.2, 0.7)])
def test_narrow_grids_follow_the_leading_order(alpha, q):
    """Cubic term over curvature: (alpha - q) m4 / (6 m2), with an error of the order of width^2."""
    for width, tolerance in ((0.4, 0.02), (0.04, 2e-4)):
        t = np.linspace(-width, width, 9)
        expected = (alpha - q) * (t**4).mean() / (6 * (t**2).mean())
        assert vertex_shift(alpha, q, t) == pytest.approx(expected, rel=tolerance)


def test_the_meter_is_the_vertex_shift_under_any_convention_and_coefficients():
    """N* of the fitted parabolas in exact closed form, C = k N^p D with p other than 1."""
    relation = FlopsRelation(4.0, 1.1, 0.0)
    for law in (theta(), theta(e=0.5, a=30, b=9000)):
        plan = [(c, k * optimal(law, c, relation)[0] * np.geomspace(0.2, 5, 7))
                for c, k in ((1e19, 0.8), (1e20, 1.0), (1e21, 1.5))]
        meter = bias_on(plan, law, 1e23, relation)
        for (c, n), row in zip(plan, meter.budgets):
            shift = vertex_shift(0.34, 1.1 * 0.28, np.log(n / row.n_law))
            assert np.log1p(row.n_bias / 100) == pytest.approx(shift, abs=1e-8)
            assert row.half_width == pytest.approx(5)
        assert [row.off_centre for row in meter.budgets] == pytest.approx([0.8, 1.0, 1.5])


def test_equal_exponents_cancel_on_centred_grids_only():
    centred = bias_on(grid(EQUAL, SMALL, 8), EQUAL, 1e24)
    assert abs(centred.d_bias) < 1e-6 and centred.width_limit is None
    assert "at any half-width" in centred.lines()[-1]
    shifted = bias_on(grid(EQUAL, SMALL, 8, centres=1 / 3), EQUAL, 1e24)
    # 419.0 billion tokens against 408.2 billion in Open Athena 2026, section 4.1
    assert shifted.d_bias == pytest.approx(100 * (419.0 / 408.2 - 1), abs=0.03)
    assert abs(shifted.n_exponent_bias) < 1e-9
    drifting = bias_on(grid(EQUAL, SMALL, 8, centres=drift(3)), EQUAL, 1e24)
    assert drifting.d_exponent_bias > 1e-3
    assert drifting.n_exponent_bias == pytest.approx(-drifting.d_exponent_bias, abs=1e-9)


def test_loss_at_the_target_is_off_by_the_parabolas_share_alone():
    """A constant shift scales L*(C) - E at every budget alike, so L*(C) keeps E and its exponent."""
    law = theta()
    meter = bias_on(grid(law, SMALL, 16), law, 1e24)

    def best(c):
        n, d = optimal(law, c)
        return 1.69 + 406.4 * n**-0.34 + 410.7 * d**-0.28

    first = meter.budgets[0]
    share = first.loss_bias * best(first.flops) / (best(first.flops) - 1.69)
    assert meter.loss_bias == pytest.approx(share * (best(1e24) - 1.69) / best(1e24), rel=1e-3)
    n, d = (v * (1 + b / 100) for v, b in zip(optimal(law, 1e24), (meter.n_bias, meter.d_bias)))
    cost = 1.69 + 406.4 * n**-0.34 + 410.7 * d**-0.28 - best(1e24)
    assert meter.excess_loss == pytest.approx(cost, rel=1e-6)


def test_the_advice_keeps_what_it_promises():
    law = theta(alpha=0.5, beta=0.25)
    bad = bias_on(grid(law, SMALL, 8, sizes=7, centres=(0.4, 0.7, 1.0, 1.4, 2.5)), law, 1e24)
    assert abs(bad.d_bias) > 3
    assert [b.flops for b in bad.to_recentre] == pytest.approx(SMALL[[0, 1, 3, 4]])
    assert any("1e+21 FLOPs: centre the sizes at" in x and "a factor of 2.50 below" in x
               for x in bad.lines())

    def recentred(width):
        return bias_on([(b.flops, b.n_law * np.geomspace(1 / width, width, 7)) for b in bad.budgets],
                       law, 1e24)

    assert abs(recentred(bad.width_limit).d_bias) == pytest.approx(1.0, abs=1e-6)
    assert abs(recentred(0.9 * bad.width_limit).d_bias) < 1.0
    assert not recentred(bad.width_limit).to_recentre


def test_the_meter_foretells_the_mean_error_of_noisy_sweeps():
    """Mean over 400 sweeps of approach 2 itself, within 4 standard errors, where it errs by far more."""
    law = theta(alpha=0.5, beta=0.25)
    plan = grid(law, SMALL, 8, sizes=9, centres=drift(1 / 2))
    meter = bias_on(plan, law, 1e24)
    n = np.concatenate([sizes for _, sizes in plan])
    c = np.repeat(SMALL, 9)
    table = pd.DataFrame({"n_params": n, "n_tokens": c / 6 / n, "train_flops": c, "tag_budget": c})
    clean = 1.69 + 406.4 * n**-0.5 + 410.7 * table.n_tokens**-0.25
    runs = usable_runs(table.assign(loss=clean))
    rng = np.random.default_rng(11)
    truth = np.log(optimal(law, 1e24))
    errors = []
    for _ in range(400):
        noisy = runs.loss + 3e-3 * rng.normal(size=len(n))
        curves, _ = usable_parabolas(dataclasses.replace(runs, loss=noisy))
        lines = [LineFit.of(SMALL, np.array([getattr(p, name) for p in curves]), np.empty((0, 5)), 0.9)
                 for name in ("n_opt", "d_opt")]
        errors.append([line.log_k + line.exponent * np.log(1e24 / line.x0) - t
                       for line, t in zip(lines, truth)] + [line.exponent for line in lines])
    mean, error = np.mean(errors, axis=0), np.std(errors, axis=0) / 20
    expected = [np.log1p(meter.n_bias / 100), np.log1p(meter.d_bias / 100),
                1 / 3 + meter.n_exponent_bias, 2 / 3 + meter.d_exponent_bias]
    assert (np.abs(mean - expected) < 4 * error).all()
    assert abs(expected[0]) > 20 * error[0]
    assert abs(meter.n_exponent_bias) > 20 * error[2]


def test_a_budget_without_a_minimum_inside_is_refused_and_listed():
    law = theta()
    plan = grid(law, SMALL, 2, centres=(1, 1, 1, 1, 0.2))
    meter = bias_on(plan, law, 1e24)
    assert meter.budgets[-1].n_bias is None and "add larger models" in meter.budgets[-1].problem
    assert meter.d_bias == pytest.approx(bias_on(plan[:-1], law, 1e24).d_bias)
    assert "refused" in "\n".join(meter.lines())
    with pytest.raises(FitError, match="0 of 5 budgets have a minimum inside"):
        bias_on(grid(law, SMALL, 2, centres=0.2), law, 1e24)


def test_a_fit_is_metered_on_its_own_grid_and_compared_with_the_law(surface, noisy):
    fit = fit_isoflop(usable_runs(noisy), bootstrap=50)
    law = theta(surface.E, surface.A, surface.B, surface.alpha, surface.beta)
    meter = bias_of(fit, law, 1e14)
    assert abs(meter.d_bias) < 1e-3  # equal exponents, centred
    n, d = surface.optimal(1e14)
    assert meter.d_gap[0] == pytest.approx(100 * (fit.optimal(1e14)["d_opt"] / d - 1), abs=1e-2)
    assert meter.d_gap[1] < meter.d_gap[0] < meter.d_gap[2]
    assert json.loads(json.dumps(meter.to_json()))["budgets"][0]["sizes"] == 6
    assert any("as measured its D* is" in line for line in meter.lines())


_BESIDE = pathlib.Path(__file__).resolve().parents[4] / "shared" / "published"
LLAMA = pathlib.Path(os.environ.get("SCALING_PUBLISHED_DATA", _BESIDE)) / "openathena_isoflops.csv"


@pytest.mark.skipif(not LLAMA.is_file(), reason="no published runs; set SCALING_PUBLISHED_DATA")
def test_llama_3_gap_of_58_percent_is_hardly_bias():
    """Open Athena 2026: approach 2 names 58% more tokens at 3.8e25 than the least-squares surface on
    Llama 3's digitised points. The gap replicates. But on this grid the parabolas themselves are off
    by less than 1% if that surface holds: the rest is noise, and a law that the points do not follow.
    """
    runs = pd.read_csv(LLAMA)
    runs = runs[runs.experiment == "llama_3__raw_loss"].rename(columns={"flops": "train_flops"})
    runs = usable_runs(runs[["n_params", "n_tokens", "train_flops", "loss"]])
    surface = fit_form(CHINCHILLA, runs.logs | {"n_params": runs.n_params, "n_tokens": runs.n_tokens},
                       runs.loss, delta=np.inf, objective="squares")
    assert surface.theta[3:] == pytest.approx([0.3100060864600114, 0.3136430673363664], rel=1e-6)
    meter = bias_of(fit_isoflop(runs, bootstrap=100), surface.theta, 3.8e25)
    assert meter.d_gap[0] == pytest.approx(58, abs=0.5)
    assert abs(meter.d_bias) < 1.0
    assert meter.d_gap[1] > 1.0
