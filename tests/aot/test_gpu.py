"""XLA's compiler for NVIDIA GPUs, for devices that are not there."""

import importlib.util

import pytest

from scaling.accounting import forward_flops
from scaling.aot.compilers import CUDA_PLUGINS
from scaling.aot.step import compile_step
from scaling.aot.target import Target
from scaling.gin_config import load_experiment
from scaling.partitioning import MeshConfig

pytestmark = pytest.mark.skipif(
    not any(map(importlib.util.find_spec, CUDA_PLUGINS)),
    reason="jax's CUDA plugin is not installed: pip install 'scaling[cuda]'",
)


def compiled(target, mesh=MeshConfig(), *bindings, name="decoder_tiny", n_nodes=1):
    experiment = load_experiment(f"models/{name}.gin", ["DecoderConfig.scan_layers=True", *bindings]).config
    return compile_step(experiment, Target.parse(target, n_nodes), mesh)


@pytest.mark.parametrize("gpu", ["a100", "h100", "h200", "b200"])
def test_a_step_of_one_gpu(gpu):
    step = compiled(f"{gpu}:1")
    assert step.fits and step.cost.collectives == () and step.cost.unknown_loops == ()
    assert step.cost.flops == pytest.approx(step.exact_flops, rel=0.01)
    n_bytes = 3 * 4 * 90_400  # parameters and two moments in float32
    assert n_bytes <= step.memory["donated"] <= 1.05 * n_bytes


def test_cudnn_attention_is_what_auto_takes():
    """Causal, so that it skips half of the square; its backward pass makes the scores again."""
    auto = ("DecoderConfig.attention='auto'", "DecoderConfig.compute_dtype='bfloat16'")
    step = compiled("h200:1", MeshConfig(), *auto)
    scores = forward_flops(step.experiment.model, step.experiment.lengths)["attention_scores"]
    again = scores / 2 * step.experiment.batch_size
    assert step.cost.flops == pytest.approx(step.exact_flops + again, rel=0.01)


def test_what_goes_over_nvlink_and_what_between_nodes():
    """Parameters are gathered inside a node; gradients are summed between nodes, each device its share."""
    step = compiled("h100:4", MeshConfig(data=2, fsdp=4), "Experiment.batch_size=8", n_nodes=2)
    assert step.fits
    inside = [c for c in step.cost.collectives if not c.between_slices]
    between = [c for c in step.cost.collectives if c.between_slices]
    assert {c.kind for c in inside} >= {"all-gather"}
    (summed,) = (c for c in between if (c.kind, c.group) == ("all-reduce", 2))
    assert summed.nbytes == pytest.approx(4 * 90_400 / 4, rel=0.01)
    assert step.seconds["ici"] > 0 and step.seconds["dcn"] > 0


@pytest.mark.slow
@pytest.mark.parametrize(("name", "gpus", "batch"), [
    ("decoder_125m", 1, 32), ("decoder_350m", 1, 32), ("decoder_1b", 8, 128), ("decoder_7b", 8, 64),
    ("encoder_decoder_3b", 8, 128),
])
def test_big_models(name, gpus, batch):
    target = Target.parse(f"h200:{gpus}")
    experiment = load_experiment(f"models/{name}.gin", [f"Experiment.batch_size={batch}"]).config
    step = compile_step(experiment, target, target.default_mesh(experiment))
    assert step.fits
    assert step.exact_flops <= step.cost.flops <= 1.45 * step.exact_flops
