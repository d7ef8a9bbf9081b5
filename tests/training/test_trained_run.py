"""A run's folder opened again holds the model that was trained."""

import jax
import pytest

from scaling.models import DecoderConfig
from scaling.partitioning import MeshConfig
from scaling.training import train
from scaling.training.evaluation import evaluate
from scaling.training.program import program_for
from scaling.training.trained_run import open_trained


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_opened_model_is_the_trained_one_in_its_precision(experiment, data, tmp_path, dtype):
    model = DecoderConfig(vocab_size=257, d_model=8, n_layers=1, n_heads=1, d_ff=32, param_dtype=dtype)
    config = experiment(model=model)
    record = train(config, tmp_path)
    trained, step = open_trained(tmp_path)
    assert step == config.n_steps
    assert {leaf.dtype.name for leaf in jax.tree.leaves(trained.params)} == {dtype}
    program, _ = program_for(config, MeshConfig(), data.bos_id)
    again = evaluate(program, trained.params, program.hyperparameters(config), data, 64, step, 0)
    assert again.loss == record.final.loss
