"""Approach 1: right on curves of a known law, deaf to the ends of the ladder, honest about clusters."""

import json
import os
import pathlib

import numpy as np
import pandas as pd
import pytest

from scaling.laws.approaches.curves import Curves
from scaling.laws.approaches.envelope import fit_envelope
from scaling.laws.fitting.point_fit import FitError
from scaling.laws.table.runs import usable_runs

E, A, B, ALPHA, BETA = 1.69, 406.4, 410.7, 0.34, 0.28  # Hoffmann et al. 2022, equation 10
N_EXPONENT = BETA / (ALPHA + BETA)


def law(n, d):
    return E + A * n**-ALPHA + B * d**-BETA


def n_opt(flops):
    return (ALPHA * A / (BETA * B)) ** (1 / (ALPHA + BETA)) * (flops / 6) ** N_EXPONENT


def curves(sizes=12, checkpoints=40, noise=0.0, seed=0, unfinished=0.0, horizon=None):
    """Losses along training, from 2 to 1000 tokens per parameter (or to `horizon` tokens).

    noise: of a whole run's log loss. unfinished: added to the loss at the start of a run, falling
    to nothing at its end, as a learning rate that has still to decay does.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for i, n in enumerate(np.geomspace(2e7, 2e9, sizes)):
        luck = np.exp(noise * rng.standard_normal())
        end = horizon or 1000 * n
        for d in np.geomspace(2 * n, end, checkpoints):
            loss = luck * law(n, d) + unfinished * (1 - d / end)
            rows.append((f"run {i}", n, d, 6 * n * d, loss))
    return pd.DataFrame(rows, columns=["run_id", "n_params", "n_tokens", "train_flops", "loss"])


def envelope(frame, **options):
    return fit_envelope(usable_runs(frame), **{"bootstrap": 60, "points": 600, **options})


@pytest.mark.parametrize("sizes", [6, 12])
def test_the_laws_exponents_and_optima_come_back(sizes):
    """Six sizes make a coarse staircase: a line through all its points would be flatter."""
    fit = envelope(curves(sizes))
    assert fit.exponents["n_opt"] == pytest.approx(N_EXPONENT, abs=2e-3)
    assert fit.exponents["n_opt"] + fit.exponents["d_opt"] == pytest.approx(1.0, abs=1e-9)
    at = fit.optimal(1e20)
    assert at["n_opt"] == pytest.approx(n_opt(1e20), rel=0.01)
    assert at["d_opt"] == pytest.approx(1e20 / 6 / n_opt(1e20), rel=0.01)


def test_the_loss_along_the_envelope_is_the_laws():
    at = envelope(curves()).optimal(1e20)
    assert at["loss"] == pytest.approx(law(n_opt(1e20), 1e20 / 6 / n_opt(1e20)), rel=1e-3)


def test_every_stretch_begins_and_ends_by_being_overtaken():
    fit = envelope(curves())
    sizes = np.geomspace(2e7, 2e9, 12)
    won = [s.n_params for s in fit.stretches]
    assert min(won) > sizes[0] * 1.01 and max(won) < sizes[-1] * 0.99
    for s in fit.stretches:  # the size is optimal somewhere between the two crossings
        assert n_opt(s.flops_from) < s.n_params < n_opt(s.flops_to)


def test_finished_runs_of_different_lengths_serve_as_the_curve_of_their_size():
    frame = curves()
    frame["run_id"] = [f"run {i}" for i in range(len(frame))]
    frame["n_params"] *= 1 + 1e-6 * np.arange(len(frame)) / len(frame)  # as digitised
    fit = envelope(frame)
    assert fit.kind == "size" and fit.n_curves == 12
    assert fit.exponents["n_opt"] == pytest.approx(N_EXPONENT, abs=2e-3)


def test_more_checkpoints_of_the_same_runs_do_not_narrow_the_interval():
    def width(checkpoints):
        low, high = envelope(curves(checkpoints=checkpoints, noise=0.003),
                             bootstrap=300).exponents["n_opt_interval"]
        return high - low

    assert width(160) > 0.8 * width(20)


def test_noisy_curves_hold_the_truth_in_their_interval():
    low, high = envelope(curves(noise=0.003), bootstrap=300).exponents["n_opt_interval"]
    assert low < N_EXPONENT < high


def test_ends_of_runs_of_one_schedule_length_are_not_taken_for_the_optimum():
    """All runs end at the same D and are decayed only there. From where the first run ends on, the
    plain minimum follows the ends, along which N grows like C itself. No lead changes there by a
    crossing, so there is no answer."""
    frame = curves(horizon=2e10, unfinished=0.6)
    found = Curves.of(usable_runs(frame), 600)
    best = found.sizes[found.size[found.lowest(np.ones((1, len(found)), bool))[0]]]
    ending = found.log_flops > np.log(6 * 2e7 * 2e10)
    assert np.polyfit(found.log_flops[ending], np.log(best[ending]), 1)[0] > 0.9
    with pytest.raises(FitError, match="0 of 12 sizes take and lose the lead"):
        envelope(frame)


def test_one_point_a_run_is_refused():
    frame = curves(checkpoints=2).groupby("run_id").tail(1)
    with pytest.raises(FitError, match="no loss curves: every run has one point.*there are 0 such"):
        envelope(frame)


def test_sizes_that_do_not_overlap_in_compute_are_refused():
    frame = curves(sizes=3)
    frame = frame[frame.n_tokens < 20 * frame.n_params]  # 12 to 120 N^2 FLOPs, N ten times apart
    with pytest.raises(FitError, match="must overlap in C"):
        envelope(frame)


def test_runs_that_stop_at_their_optimum_are_refused():
    """Where each size ends before the next one overtakes it, no lead changes by a crossing."""
    frame = curves()
    frame = frame[frame.n_params > n_opt(frame.train_flops)]
    with pytest.raises(FitError, match="0 of 12 sizes take and lose the lead"):
        envelope(frame)


def test_a_run_of_two_sizes_is_refused():
    frame = curves()
    frame.loc[3, "n_params"] *= 2
    with pytest.raises(FitError, match="run run 0 has rows of different n_params"):
        envelope(frame)


def test_same_input_same_answer_as_json():
    first, second = (envelope(curves(noise=0.003)) for _ in range(2))
    assert json.dumps(first.to_json()) == json.dumps(second.to_json())
    assert len(first.lines()) == len(first.stretches) + 6


_BESIDE = pathlib.Path(__file__).resolve().parents[4] / "shared" / "published"
CHINCHILLA = pathlib.Path(os.environ.get("SCALING_PUBLISHED_DATA", _BESIDE)) / "chinchilla_epoch.csv"


@pytest.mark.skipif(not CHINCHILLA.is_file(), reason="no published runs; set SCALING_PUBLISHED_DATA")
def test_chinchillas_own_runs_give_its_published_exponents():
    """Hoffmann et al. 2022, table 2: approach 1 gives a = 0.50 and b = 0.50."""
    runs = pd.read_csv(CHINCHILLA).rename(columns={"flops": "train_flops"})
    fit = envelope(runs, points=1500, bootstrap=300)
    low, high = fit.exponents["n_opt_interval"]
    assert low < 0.50 < high
    assert fit.exponents["n_opt"] == pytest.approx(0.50, abs=0.03)
