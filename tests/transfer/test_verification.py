"""A mid-size of a synthetic surface: the verdict, the new version, what the target's regret becomes."""

import dataclasses
import math

import pytest

from scaling.errors import UserError
from scaling.sweeps.transferred import TransferredRules
from scaling.transfer.regret import regret_at, verdict
from scaling.transfer.verification import foretold, verification_runs, verified


@pytest.fixture(scope="module")
def transfer(synthetic):
    return synthetic.tune(synthetic.make_study(), synthetic.Surface(noise=0.002))


def verify(synthetic, transfer, surface, shape=(256, 4)):
    runs = verification_runs(transfer, *shape, transfer.base.n_tokens, 2, synthetic.plenty)
    return verified(transfer, synthetic.measured(transfer.base, runs, surface, seed=9))


def judged(transfer, shape=(512, 8), tokens=204_800):
    experiment, best = foretold(transfer, transfer.rules, *shape, tokens)
    regret = regret_at(transfer, experiment.model, experiment.n_tokens, best)
    return best, regret, verdict(transfer, regret)


def test_three_rates_around_the_one_foretold(synthetic, transfer):
    runs = verification_runs(transfer, 256, 4, transfer.base.n_tokens, 2, synthetic.plenty)
    best = transfer.rules.predict(256, 4, 8, transfer.base.n_tokens).learning_rate
    rates = sorted({run.experiment.optimizer.learning_rate for run in runs})
    assert rates == pytest.approx([best / 2, best, 2 * best]) and len(runs) == 6
    assert {run.tags["role"] for run in runs} == {"verify"}
    assert {(r.experiment.model.d_model, r.experiment.model.n_layers) for r in runs} == {(256, 4)}


def test_nothing_is_go_before_a_mid_size_was_verified(transfer):
    assert "no mid-size was verified" in judged(transfer)[2].line


def test_a_mid_size_on_the_rules_is_go_and_sharpens_them(synthetic, transfer):
    update = verify(synthetic, transfer, synthetic.Surface(noise=0.002))
    assert (update.version, update.previous) == (2, transfer.content_hash)
    (seen,) = update.verifications
    assert seen.inside and abs(seen.drift) < 0.2
    before, after = judged(transfer)[0], judged(update)[0]
    assert after.standard_deviation < before.standard_deviation
    assert judged(update)[2].line == "GO"
    assert len(update.cells) == len(transfer.cells) + 1 and update.cells[-1].verified


def test_a_drift_is_no_go_and_is_carried_on_to_the_target(synthetic, transfer):
    rule = transfer.rules.predict(256, 4, 8, transfer.base.n_tokens)
    surface = synthetic.Surface(noise=0.002)
    drifted = dataclasses.replace(surface, at=surface.at - 0.8)
    update = verify(synthetic, transfer, drifted)
    (seen,) = update.verifications
    assert not seen.inside and seen.drift == pytest.approx(-0.8, abs=0.25)
    best, regret, found = judged(update)
    assert not found.go and "drifted by" in found.line and "outside the interval" in found.line
    assert best.learning_rate < judged(transfer)[0].learning_rate
    assert best.interval[1] / best.interval[0] > 2 * rule.interval[1] / rule.interval[0]
    assert regret.nats > judged(transfer)[1].nats


def test_an_optimum_beyond_the_three_rates_is_recorded_and_moves_no_rule(synthetic, transfer):
    surface = synthetic.Surface(noise=0.002)
    update = verify(synthetic, transfer, dataclasses.replace(surface, at=surface.at + 3))
    (seen,) = update.verifications
    assert seen.measured is None and seen.beyond == "above 2 lr*"
    assert update.rules == transfer.rules and "above 2 lr*" in judged(update)[2].line


def test_a_regret_over_the_budget_is_no_go(synthetic, transfer):
    update = verify(synthetic, transfer, synthetic.Surface(noise=0.002))
    strict = update.replace(regret_budget=1e-9)
    assert "over the budget of 1e-09" in judged(strict)[2].line


def test_the_same_runs_verify_once(synthetic, transfer):
    update = verify(synthetic, transfer, synthetic.Surface(noise=0.002))
    runs = verification_runs(transfer, 256, 4, transfer.base.n_tokens, 2, synthetic.plenty)
    with pytest.raises(UserError, match="d256.L4 is verified already"):
        verified(update, synthetic.measured(transfer.base, runs, synthetic.Surface(), seed=9))


def test_regret_as_compute_follows_the_proxies_power_law(transfer):
    """The surface's losses are 3 (C / 1e9)^-0.02: dL / L = -0.02 dC / C."""
    best, regret, _ = judged(transfer)
    loss = 3 * (regret.flops / 1e9) ** -0.02
    expected = math.expm1(best.mistuning_nats / (0.02 * loss))
    assert regret.equivalent_share == pytest.approx(expected, rel=0.3)


@pytest.mark.parametrize("shape", [(48, 2), (64, 3)])
def test_a_target_that_is_no_multiple_of_the_base_is_refused(transfer, shape):
    with pytest.raises(UserError, match=f"{max(shape, key=lambda n: n % 2 or n == 48)}, is no multiple"):
        foretold(transfer, transfer.rules, *shape, 102_400)


def test_rules_are_checked():
    with pytest.raises(UserError, match="learning_rate"):
        TransferredRules(
            source="", base_d_model=1, base_n_layers=1, base_batch_size=1, base_n_tokens=1,
            learning_rate=0.0, exponents=(0, 0, 0, 0), measured=(), covariance=((0.0,) * 5,) * 5,
            scatter=0.0, degrees_of_freedom=1.0, far_distance=0.0, far_residual=0.0, curvature=1.0,
            batch_size=1.0, batch_horizon_exponent=0.0, decay_timescale=0.0, warmup_fraction=0.1,
            unembedding_lr=1.0,
        )
