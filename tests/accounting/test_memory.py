import jax
import jax.numpy as jnp
import pytest

from scaling.accounting import count_parameters, memory_by_group
from scaling.models import DecoderConfig, EncoderDecoderConfig, build_model
from scaling.objectives import Lengths
from scaling.optim import AdamWConfig, Hyperparameters, Optimizer, ScheduleConfig
from scaling.parametrizations import ParametrizationConfig, parameter_rules

SHAPES = {  # batch, length, fields of the model: each makes another group the largest
    "logits": (8, 32, dict(vocab_size=4096)),
    "attention": (4, 128, dict(vocab_size=64)),
    "parameters": (2, 16, dict(vocab_size=64, d_model=192, d_ff=768, n_heads=6)),
    "activations": (16, 32, dict(vocab_size=64, n_layers=4, activation="swiglu")),
    "encoder-decoder": (8, 64, dict(vocab_size=64, n_encoder_layers=3, n_decoder_layers=3)),
    "scanned": (16, 32, dict(vocab_size=64, n_layers=4, scan_layers=True)),
    "scanned, qk norm": (16, 32, dict(vocab_size=64, n_layers=4, scan_layers=True, qk_norm=True)),
}


@pytest.mark.parametrize(("batch_size", "length", "fields"), SHAPES.values(), ids=SHAPES)
def test_the_estimate_is_within_a_fifth_of_the_compiled_step(
    batch_size, length, fields, loss_and_arguments
):
    family = EncoderDecoderConfig if "n_encoder_layers" in fields else DecoderConfig
    config = family(**dict(d_model=64, n_heads=2, d_ff=256) | fields)
    specs = build_model(config).specs
    loss, (params, batch) = loss_and_arguments(config, batch_size, length)
    rules = parameter_rules(ParametrizationConfig(), specs)
    optimizer = Optimizer(AdamWConfig(), "linear", specs)
    hp = Hyperparameters.of(AdamWConfig(), ScheduleConfig(), 10, rules)

    def step(params, state, batch):
        gradients = jax.grad(loss)(params, batch)
        return optimizer.update(hp, params, state, gradients, jnp.int32(0))

    state = jax.eval_shape(optimizer.init, params)
    compiled = jax.jit(step, donate_argnums=(0, 1)).lower(params, state, batch).compile()
    memory = compiled.memory_analysis()
    allocated = memory.temp_size_in_bytes + memory.argument_size_in_bytes
    both = family is EncoderDecoderConfig
    lengths = Lengths(length + 2, length) if both else Lengths(0, length)
    estimate = sum(memory_by_group(config, count_parameters(specs), batch_size, lengths).values())
    assert estimate == pytest.approx(allocated, rel=0.2)


def test_half_the_bytes_of_bfloat16_are_the_activations():
    config = DecoderConfig(vocab_size=64)
    n_params = count_parameters(build_model(config).specs)
    full = memory_by_group(config, n_params, 8, Lengths(0, 32))
    half = memory_by_group(config.replace(compute_dtype="bfloat16"), n_params, 8, Lengths(0, 32))
    assert half["activations"] < full["activations"]
    assert {k: v for k, v in half.items() if k != "activations"} == {
        k: v for k, v in full.items() if k != "activations"
    }
