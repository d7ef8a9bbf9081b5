"""The real compiler: libtpu, for pods that are not there."""

import importlib.util

import pytest

from scaling.accounting import forward_flops
from scaling.aot.step import compile_step
from scaling.aot.target import Target
from scaling.errors import UserError
from scaling.gin_config import load_experiment
from scaling.partitioning import MeshConfig

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed: pip install 'scaling[tpu]'"
)


def test_a_step_of_four_chips():
    experiment = load_experiment("models/decoder_tiny.gin", ["DecoderConfig.scan_layers=True"]).config
    step = compile_step(experiment, Target.parse("v5e:2x2"), MeshConfig(data=2, fsdp=2))
    assert step.fits
    assert step.cost.flops == pytest.approx(step.exact_flops, rel=0.01)
    state = step.memory["donated"]  # all but the metrics
    n_bytes = 3 * 4 * 90_400 / 2  # parameters and two moments in float32, over fsdp
    assert n_bytes <= state <= 1.5 * n_bytes  # small vectors are padded to a tile
    assert {"all-gather"} <= {c.kind for c in step.cost.collectives}


@pytest.mark.parametrize(("name", "bindings", "mesh"), [
    ("decoder_tiny",
     ("DataConfig.sequence_length=512", "DecoderConfig.n_heads=2", "DecoderConfig.window=100",
      "DecoderConfig.scan_layers=True"), MeshConfig(data=2, tensor=2)),
    ("encoder_decoder_prefix_lm", ("DataConfig.sequence_length=255",), MeshConfig(data=2, fsdp=2)),
])
def test_splash_attention_is_what_auto_takes(name, bindings, mesh):
    """Products that its backward pass makes again are in the program, and not in the convention."""
    experiment = load_experiment(f"models/{name}.gin", bindings).config
    model = experiment.model.replace(attention="auto", compute_dtype="bfloat16")
    experiment = experiment.replace(model=model, batch_size=4)
    scores = forward_flops(model, experiment.lengths)["attention_scores"]  # of one device: a row a device
    steps = {
        attention: compile_step(
            experiment.replace(model=model.replace(attention=attention)), Target.parse("v5e:2x2"), mesh
        )
        for attention in ("auto", "xla")
    }
    auto = steps["auto"]
    assert auto.cost.unknown_loops == ()
    assert auto.cost.flops == pytest.approx(auto.exact_flops + 1.5 * scores, rel=0.01)
    assert auto.cost.flops > 1.02 * steps["xla"].cost.flops


def test_splash_attention_of_rows_that_are_no_whole_blocks():
    experiment = load_experiment("models/decoder_tiny.gin", ["DecoderConfig.attention='splash'"]).config
    with pytest.raises(UserError, match="a multiple of 128, and the decoder's have 64"):
        compile_step(experiment, Target.parse("v5e:2x2"), MeshConfig(data=4))


def test_a_layout_that_there_is_not():
    divisible = ["Experiment.batch_size=6", "EvaluationConfig.batch_size=6"]
    experiment = load_experiment("models/decoder_tiny.gin", divisible).config
    with pytest.raises(UserError, match="v5e:3x1: libtpu makes no such layout .*usual ones: 1x1"):
        compile_step(experiment, Target.parse("v5e:3x1"), MeshConfig(data=3))


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["2x2x4", "4x4x8", "8x8x8"])
@pytest.mark.parametrize("name", ["decoder_1b", "decoder_7b", "encoder_decoder_3b"])
def test_big_models_on_pods(name, layout):
    """What scanned blocks run again is the forward pass but the head's: under a third more products, and
    those that splash makes again in its backward pass."""
    target = Target.parse(f"v5p:{layout}")
    batch = {"2x2x4": 64, "4x4x8": 512, "8x8x8": 512}[layout]
    experiment = load_experiment(f"models/{name}.gin", [f"Experiment.batch_size={batch}"]).config
    step = compile_step(experiment, target, target.default_mesh(experiment))
    assert step.fits
    scores = forward_flops(experiment.model, experiment.lengths)["attention_scores"] * batch
    most = 4 / 3 * step.exact_flops + 1.5 * scores / target.n_devices
    assert step.exact_flops <= step.cost.flops <= most
    sent = sum(c.sent for c in step.cost.collectives)  # of whatever kinds XLA makes of FSDP
    n_bytes = 2 * {"decoder_1b": 1.06e9, "decoder_7b": 6.6e9, "encoder_decoder_3b": 2.8e9}[name]
    assert sent >= 2 * n_bytes * (1 - 1 / step.mesh.fsdp)  # bfloat16 weights, forward and backward
