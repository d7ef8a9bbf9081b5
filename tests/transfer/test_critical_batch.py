"""The critical batch from noise scales of proxies."""

import dataclasses

import pytest

from scaling.experiment import EvaluationConfig
from scaling.transfer.cells import Cell
from scaling.transfer.critical_batch import critical_batch

BASE = Cell(name="base", d_model=32, n_layers=2, batch_size=8, n_tokens=100_000, horizon=1.0,
            decay_timescale=0.0, unembedding_lr=1.0, log2_rate=-6.0, standard_error=0.1, curvature=0.02,
            loss=3.0, train_flops=1e10, noise_scale=4_000.0)


@pytest.fixture(scope="module")
def base(synthetic):
    """Measured over 8 batches of 512 tokens: tells up to 40,960."""
    return synthetic.make_study(base={"evaluation": EvaluationConfig(noise_scale_batches=8)}).base


def cell(**changes):
    return dataclasses.replace(BASE, **changes)


def test_it_follows_tokens_at_the_base_shape(base):
    cells = [
        BASE,
        cell(n_tokens=200_000, noise_scale=4_000.0 * 2**0.5),
        cell(n_tokens=400_000, noise_scale=8_000.0),
        cell(d_model=128, n_tokens=100_000, noise_scale=1e6),  # of another shape: not looked at
        cell(n_tokens=800_000, noise_scale=None),  # not measured
        cell(n_tokens=800_000, noise_scale=1e6, verified=True),
    ]
    found = critical_batch(base, cells)
    assert (found.n_tokens, found.tokens) == (400_000, pytest.approx(8_000))
    assert found.exponent == pytest.approx(0.5)
    assert found.at(1_600_000) == pytest.approx(16_000)
    # at the critical batch twice the fewest tokens: as many again
    assert found.excess_tokens(16_000, 1_600_000) == pytest.approx(1.0)


def test_at_one_length_it_is_not_carried_on(base):
    found = critical_batch(base, [BASE, cell(d_model=64, noise_scale=5_000.0)])
    assert found.exponent is None and found.at(1e9) == pytest.approx(4_000)


def test_without_measurements_there_is_none(base):
    assert critical_batch(base, [cell(noise_scale=None), cell(d_model=64)]) is None


def test_what_so_few_batches_cannot_tell_is_a_bound(base):
    found = critical_batch(base, [BASE, cell(n_tokens=200_000, noise_scale=60_000.0)])
    assert found.bound == 10 * 8 * 512
    assert found.tokens is None and found.exponent is None and found.at(1e6) is None
    assert found.excess_tokens(4_096, 1e6) == pytest.approx(0.1)  # at most
