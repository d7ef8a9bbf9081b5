"""Rules from synthetic proxies: what was put in comes out."""

import dataclasses
import math

import numpy as np
import pytest

from scaling.errors import UserError
from scaling.models import EncoderDecoderConfig
from scaling.transfer.proxies import proxy_runs, settings
from scaling.transfer.tuning import tuned


def test_every_axis_and_constant_is_recovered_without_noise(synthetic):
    surface = synthetic.Surface(readout=1.0, best_batch=(1.2, 0.5))
    study = synthetic.make_study(
        batch_sizes=(4, 16, 32, 64, 128), at_every_horizon=("batch_sizes",), readout_rates=(2.0, 4.0)
    )
    rules = synthetic.tune(study, surface).rules
    assert rules.measured == ("width", "depth", "batch", "horizon")
    assert rules.exponents == pytest.approx(surface.exponents, abs=1e-6)
    assert math.log2(rules.learning_rate) == pytest.approx(surface.at, abs=1e-6)
    assert rules.curvature == pytest.approx(surface.curvature)
    assert rules.unembedding_lr == 2.0
    assert math.log2(rules.batch_size / 8) == pytest.approx(1.2, abs=0.02)
    assert rules.batch_horizon_exponent == pytest.approx(0.5, abs=0.02)
    assert rules.decay_timescale == pytest.approx(1 / (0.01 * 200))
    assert rules.warmup_fraction == pytest.approx(20 / 200)


def test_a_target_gets_what_the_surface_says(synthetic):
    surface = synthetic.Surface()
    rules = synthetic.tune(synthetic.make_study(), surface).rules
    best = rules.predict(512, 8, 16, 8 * 102_400)
    expected = surface.at + np.dot(surface.exponents, (4, 2, 1, 3))
    assert math.log2(best.learning_rate) == pytest.approx(expected, abs=1e-5)
    assert best.interval[0] <= best.learning_rate <= best.interval[1]


def test_an_encoder_decoder_is_tuned_alike(synthetic):
    model = EncoderDecoderConfig(vocab_size=257, d_model=32, n_heads=2, d_ff=128)
    study = synthetic.make_study(
        base={"model": model, "objective": "prefix_lm"}, widths=(64,), depths=(8,), horizons=(),
        batch_sizes=(),
    )
    found = synthetic.tune(study)
    assert found.rules.exponents[:2] == pytest.approx(synthetic.Surface().exponents[:2], abs=1e-6)
    assert sorted({(c.d_model, c.n_layers) for c in found.cells}) == [(32, 4), (32, 8), (64, 4)]


def test_an_axis_that_was_not_scanned_is_not_extrapolated(synthetic):
    rules = synthetic.tune(synthetic.make_study(depths=())).rules
    assert "depth" not in rules.measured
    rules.predict(512, 2, 8, 102_400)
    with pytest.raises(UserError, match="did not scan the depth, and this run's is 2 times"):
        rules.predict(512, 4, 8, 102_400)


@pytest.mark.slow
def test_intervals_of_the_target_hold_its_optimum_at_their_rate(synthetic):
    study, surface = synthetic.make_study(batch_sizes=(), depths=()), synthetic.Surface(noise=0.01)
    expected = surface.at + 3 * surface.exponents[0]
    hits, runs = 0, proxy_runs(study, synthetic.plenty)
    for seed in range(60):
        records = synthetic.measured(study.base, runs, surface, seed)
        found = tuned(study, [run.experiment.run_id for run in runs], records)
        low, high = found.rules.predict(256, 2, 8, 102_400).interval
        hits += low <= 2**expected <= high
    assert 0.8 <= hits / 60 <= 1.0  # 90% nominal; below 0.8 has a chance of 1% by luck


def test_more_noise_is_a_wider_interval_and_more_regret(synthetic):
    study = synthetic.make_study()
    tuned_at = [synthetic.tune(study, synthetic.Surface(noise=s)).rules for s in (0.002, 0.02)]
    quiet, loud = (rules.predict(256, 4, 8, 204_800) for rules in tuned_at)
    assert loud.standard_deviation > 3 * quiet.standard_deviation
    assert loud.mistuning_nats > 9 * quiet.mistuning_nats


def test_regret_is_curvature_times_variance_and_squared_bias(synthetic):
    rules = synthetic.tune(synthetic.make_study(), synthetic.Surface(noise=0.01)).rules
    best = rules.predict(256, 4, 8, 204_800)
    variance = best.standard_deviation**2 + best.bias**2
    assert best.mistuning_nats == pytest.approx(rules.curvature * variance)


def test_a_constant_no_better_than_noise_stays(synthetic):
    study = synthetic.make_study(decay_timescales=(0.25, 1.0), readout_rates=(2.0,))
    found = synthetic.tune(study, synthetic.Surface(noise=0.003))
    assert found.rules.decay_timescale == 0.5 and found.rules.unembedding_lr == 1.0
    assert sum("is kept" in note for note in found.notes) == 2


def test_the_best_batch_has_an_interval_that_holds_it(synthetic):
    study = synthetic.make_study(
        batch_sizes=(4, 16, 32, 64, 128), at_every_horizon=("batch_sizes",), horizons=(2.0, 4.0)
    )
    surface = synthetic.Surface(best_batch=(1.2, 0.5), noise=0.004)
    rules = synthetic.tune(study, surface).rules
    low, high = rules.batch_interval(8 * 102_400)
    expected = 8 * 2 ** (1.2 + 0.5 * 3)
    assert low < expected < high and low < rules.batch_at(8 * 102_400) < high
    near = rules.batch_interval(2 * 102_400)
    assert high / low > near[1] / near[0]  # less is known further away


def test_constants_as_good_as_the_chosen_one_are_said(synthetic):
    study = synthetic.make_study(readout_rates=(2.0, 4.0, 16.0))
    rules = synthetic.tune(study, synthetic.Surface(noise=0.001, readout=1.5)).rules
    low, high = rules.unembedding_lr_range  # 2 and 4 are as good as each other
    assert (low, high) in ((2.0, 4.0), (2.0, 2.0), (4.0, 4.0)) and low <= rules.unembedding_lr <= high
    assert rules.decay_timescale_range is None


def test_a_batch_at_the_edge_of_its_scan_is_held_and_said(synthetic):
    study = synthetic.make_study(batch_sizes=(16, 32))
    found = synthetic.tune(study, synthetic.Surface(best_batch=(-2.0, 0.0)))
    assert found.rules.batch_size == 8 and found.rules.batch_horizon_exponent == 0
    assert found.rules.batch_interval(409_600) is None
    assert any("the best batch is the smallest scanned" in note for note in found.notes)


def test_the_grid_can_follow_a_known_drift(synthetic):
    study = synthetic.make_study(grid_slope=-1.0, widths=(64, 256))
    rates = {}
    for run in proxy_runs(study, synthetic.plenty):
        rates.setdefault(run.experiment.model.d_model, set()).add(run.experiment.optimizer.learning_rate)
    assert max(rates[32]) == 2 * max(rates[64]) == 8 * max(rates[256])


def test_proxies_differ_in_what_is_scanned_and_keep_the_rest(synthetic):
    study = synthetic.make_study()
    runs = [run.experiment for run in proxy_runs(study, synthetic.plenty)]
    assert len({e.run_id for e in runs}) == len(runs) == len(settings(study)) * 8 * 2
    for e in runs:
        assert e.optimizer.weight_decay * e.n_steps == pytest.approx(2.0)  # the decay timescale
        assert e.schedule.warmup_steps(e.n_steps) == pytest.approx(e.n_steps / 10, abs=0.5)
        assert e.model.d_head == 16 and e.model.d_ff == 4 * e.model.d_model
    tokens = {e.n_tokens for e in runs if e.batch_size == 16}
    assert tokens == {study.base.n_tokens}


def records_of(synthetic, study):
    runs = proxy_runs(study, synthetic.plenty)
    records = synthetic.measured(study.base, runs, synthetic.Surface())
    return runs, [run.experiment.run_id for run in runs], records


def test_an_optimum_at_the_edge_is_refused(synthetic):
    study = synthetic.make_study(octaves=(0, 1, 2, 3))
    with pytest.raises(UserError, match=r"d32.L2, batch 8, .* is the smallest of its grid; widen"):
        tuned(study, *records_of(synthetic, study)[1:])


def test_a_diverged_proxy_is_left_out_and_flagged(synthetic):
    study = synthetic.make_study()
    runs, planned, records = records_of(synthetic, study)
    lost = next(i for i, r in enumerate(runs) if r.experiment.optimizer.learning_rate == 2.0**-3)
    records[lost] = synthetic.record_of(runs[lost], None)
    found = tuned(study, planned, records)
    assert found.notes[0].startswith("d32.L2") and "diverged at learning rate 0.125" in found.notes[0]
    assert found.rules.exponents == pytest.approx(synthetic.Surface().exponents, abs=1e-6)


def test_divergence_beside_the_optimum_is_an_edge(synthetic):
    study = synthetic.make_study()
    runs, planned, records = records_of(synthetic, study)
    for i, run in enumerate(runs):
        if run.experiment.model.d_model == 128 and run.experiment.optimizer.learning_rate > 2**-7:
            records[i] = synthetic.record_of(run, None)
    with pytest.raises(UserError, match="d128.L2.*the largest of its grid.*diverged at"):
        tuned(study, planned, records)


def test_a_missing_a_failed_and_a_foreign_proxy_are_refused(synthetic):
    study = synthetic.make_study()
    _, planned, records = records_of(synthetic, study)
    with pytest.raises(UserError, match="1 of .* proxies have no record yet"):
        tuned(study, planned, records[1:])
    failed = dataclasses.replace(records[0], status="failed", reason="its worker died 3 times")
    with pytest.raises(UserError, match="failed .its worker died 3 times"):
        tuned(study, planned, [failed, *records[1:]])
    foreign = dataclasses.replace(records[0], data={"corpus": "x", "content_hash": "e" * 32})
    with pytest.raises(UserError, match="2 different data sets"):
        tuned(study, planned, [foreign, *records[1:]])


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"octaves": (0, 1)}, "at least 3"),
        ({"octaves": (0, 1, 3)}, "without a gap"),
        ({"widths": (0,)}, "above 0"),
        ({"horizons": (-1.0,)}, "above 0"),
        ({"seeds": 0}, "at least 1"),
        ({"batch_sizes": (), "at_every_horizon": ("batch_sizes",)}, "empty"),
    ],
)
def test_impossible_studies_are_refused(synthetic, changes, words):
    with pytest.raises(UserError, match=words):
        synthetic.make_study(**changes)


def test_widths_that_are_no_multiples_and_repeated_data_are_refused(synthetic):
    with pytest.raises(UserError, match="its width, 48, is no multiple of the base shape's, 32"):
        proxy_runs(synthetic.make_study(widths=(48,)), synthetic.plenty)
    with pytest.raises(UserError, match="reads the corpus 4.00 times"):
        proxy_runs(synthetic.make_study(), 102_400)
