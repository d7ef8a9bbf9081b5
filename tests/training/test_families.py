"""Every shipped small model learns under its own objective, through the program that trains it."""

import numpy as np
import pytest

from scaling.gin_config import configs_dir, load_experiment
from scaling.partitioning import MeshConfig
from scaling.training.program import Program

SMALL = sorted(
    path.name for path in (configs_dir() / "models").glob("*.gin")
    if "include" in path.read_text() and path.name not in ("decoder_125m.gin",)
)


@pytest.mark.parametrize("name", SMALL)
def test_two_updates_on_one_batch_lower_its_loss(name):
    experiment = load_experiment(f"models/{name}").config
    experiment = experiment.replace(
        batch_size=2, n_steps=2, z_loss=1e-4,
        data=experiment.data.replace(sequence_length=32),
        evaluation=experiment.evaluation.replace(batch_size=2),
    )
    program = Program(experiment, MeshConfig(), bos_id=1)
    rows = np.random.default_rng(0).integers(100, experiment.model.vocab_size, (1, 2, 33))
    state, hyperparameters = program.init(experiment), program.hyperparameters(experiment)
    batch = program.objective.example(rows[0])
    losses = []
    for _ in range(2):
        sums = program.evaluate_batch(state.params, batch, hyperparameters)
        losses.append(float(sums.loss.sum() / sums.weight.sum()))
        state, metrics = program.train_chunk(state, rows, hyperparameters)
        assert float(metrics["loss"][0]) == pytest.approx(losses[-1], rel=1e-5)  # without z-loss
    assert np.isfinite(losses).all() and losses[1] < losses[0]
