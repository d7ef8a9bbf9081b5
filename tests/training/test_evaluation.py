"""The validation loss, its standard error, and bits per byte."""

import math

import jax
import numpy as np
import pytest

from scaling.experiment import EvaluationConfig
from scaling.partitioning import MeshConfig
from scaling.training.evaluation import evaluate
from scaling.training.program import program_for


@pytest.fixture(scope="module")
def trained(experiment, data):
    """A program, parameters after a few updates (rows then differ in difficulty), and row sums."""
    config = experiment()
    program, _ = program_for(config, MeshConfig(), data.bos_id)
    state, hp = program.init(config), program.hyperparameters(config)
    for start in range(0, 40, 4):
        rows = np.stack([data.train_rows[i] for i in range(start, start + 4)])[None]
        state, _ = program.train_chunk(state, rows, hp)
    nats, weights = [], []
    for row in data.validation_rows:  # each row alone, in a batch of copies
        batch = program.objective.example(np.repeat(row[None], 64, axis=0))
        sums = program.evaluate_batch(state.params, batch, hp)
        nats.append(float(sums.loss[0]))
        weights.append(float(sums.weight[0]))
    return (program, state.params, hp), np.array(nats), np.array(weights)


@pytest.fixture(scope="module")
def evaluation(trained, data):
    return evaluate(*trained[0], data, 64, step=7, n_tokens_seen=448)


def test_the_loss_is_total_nats_over_total_targets(trained, evaluation):
    _, nats, weights = trained
    assert evaluation.loss == pytest.approx(nats.sum() / weights.sum(), rel=1e-6)
    assert (evaluation.step, evaluation.n_tokens_seen) == (7, 448)


def test_bits_per_byte_count_the_bytes_of_the_text(trained, evaluation, data):
    _, nats, _ = trained
    targets = data.validation_rows[:, 1:]
    n_bytes = sum(len(data.tokenizer.decode(row).encode("utf-8")) for row in targets)
    assert n_bytes == (targets != data.bos_id).sum()  # one byte a token, none for a BOS
    assert evaluation.bits_per_byte == pytest.approx(nats.sum() / math.log(2) / n_bytes, rel=1e-6)


def test_the_standard_error_is_that_of_resampled_rows(trained, evaluation):
    _, nats, weights = trained
    draw = np.random.default_rng(0)
    rows = draw.integers(0, len(nats), (20_000, len(nats)))
    resampled = nats[rows].sum(axis=1) / weights[rows].sum(axis=1)
    # bootstrap variance is (n - 1) / n of the unbiased one; 20,000 draws give 0.5%
    expected = resampled.std() * math.sqrt(len(nats) / (len(nats) - 1))
    assert evaluation.standard_error == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_last_batch_may_be_short(experiment, trained, evaluation, data, batch_size):
    """100 rows in batches of 64 pad the last one by 28; in 3s by 2; alone by none."""
    config = experiment(evaluation=EvaluationConfig(n_evaluations=1, batch_size=batch_size))
    program, _ = program_for(config, MeshConfig(), data.bos_id)
    _, params, hp = trained[0]
    params = jax.tree.map(np.asarray, params)
    other = evaluate(program, params, hp, data, batch_size, step=7, n_tokens_seen=448)
    assert other.loss == pytest.approx(evaluation.loss, rel=1e-6)
    assert other.standard_error == pytest.approx(evaluation.standard_error, rel=1e-5)
    assert other.bits_per_byte == pytest.approx(evaluation.bits_per_byte, rel=1e-6)


def test_a_loss_that_is_no_number_is_null(trained, data):
    program, params, hp = trained[0]
    broken = jax.tree.map(lambda leaf: np.full(leaf.shape, np.nan, leaf.dtype), params)
    found = evaluate(program, broken, hp, data, 64, step=1, n_tokens_seen=64)
    assert (found.loss, found.standard_error, found.bits_per_byte) == (None, None, None)
