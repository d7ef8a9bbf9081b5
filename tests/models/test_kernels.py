import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.errors import UserError
from scaling.models import DecoderConfig, ForwardMultipliers, build_model
from scaling.models.kernels import chosen_attention

SHAPE = dict(vocab_size=20, d_model=32, n_heads=2, d_ff=48)


@pytest.mark.parametrize(
    ("changes", "platform", "reason"),
    [
        ({"compute_dtype": "bfloat16"}, "cpu", "runs on NVIDIA GPUs, and this is a cpu"),
        ({}, "gpu", "takes bfloat16, and compute_dtype is float32"),
        ({"compute_dtype": "bfloat16", "attention_soft_cap": 30.0}, "gpu", "no soft cap"),
        ({"compute_dtype": "bfloat16", "d_model": 24}, "gpu", "a multiple of 8 up to 128"),
    ],
)
def test_what_is_named_and_cannot_run_says_why_and_auto_takes_another(changes, platform, reason):
    config = DecoderConfig(**SHAPE | changes, attention="cudnn")
    with pytest.raises(UserError, match="DecoderConfig.attention = 'cudnn'") as error:
        chosen_attention(config, platform)
    assert reason in str(error.value)
    assert chosen_attention(config.replace(attention="auto"), platform) == "xla"


def test_auto_takes_cudnn_where_it_runs():
    config = DecoderConfig(**SHAPE, compute_dtype="bfloat16", attention="auto")
    assert chosen_attention(config, "gpu") == "cudnn"
    assert chosen_attention(config.replace(attention="xla"), "gpu") == "xla"


@pytest.mark.parametrize("scan_layers", [False, True])
def test_rematerialisation_changes_memory_and_not_gradients(scan_layers):
    tokens = jnp.asarray(np.random.default_rng(0).integers(0, 20, (4, 64)))
    batch = {
        "decoder_input_tokens": tokens, "decoder_segment_ids": jnp.ones_like(tokens),
        "decoder_positions": jnp.broadcast_to(jnp.arange(64), tokens.shape),
    }
    gradients, memory = {}, {}
    for remat in ("none", "dots", "full"):
        config = DecoderConfig(**SHAPE, n_layers=4, scan_layers=scan_layers, remat=remat)
        model = build_model(config)
        draws = np.random.default_rng(0)
        params = jax.tree.map(lambda s: jnp.asarray(draws.normal(s.start, 0.2, s.shape), "f4"), model.specs)

        def loss(params, model=model):
            return (model.apply(params, batch, ForwardMultipliers(0.25)) ** 2).mean()

        compiled = jax.jit(jax.grad(loss)).lower(params).compile()
        gradients[remat] = jax.tree.leaves(compiled(params))
        memory[remat] = compiled.memory_analysis().temp_size_in_bytes
    for remat in ("dots", "full"):
        for ours, theirs in zip(gradients[remat], gradients["none"], strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-6, rtol=1e-4)
    if scan_layers:  # unrolled, the CPU backend drops the barriers that keep it from saving again
        assert memory["full"] < memory["none"]
