import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.errors import UserError
from scaling.models import DecoderConfig, EncoderDecoderConfig, ForwardMultipliers, build_model
from scaling.models.kernels import chosen_attention

SHAPE = dict(vocab_size=20, d_model=32, n_heads=2, d_ff=48)


LENGTHS = {"encoder": 0, "decoder": 256}


@pytest.mark.parametrize(
    ("name", "changes", "platform", "reason"),
    [
        ("cudnn", {"compute_dtype": "bfloat16"}, "cpu", "runs on NVIDIA GPUs, and this is a cpu"),
        ("cudnn", {}, "gpu", "takes bfloat16, and compute_dtype is float32"),
        ("cudnn", {"compute_dtype": "bfloat16", "attention_soft_cap": 30.0}, "gpu", "no soft cap"),
        ("cudnn", {"compute_dtype": "bfloat16", "d_model": 24}, "gpu", "a multiple of 8 up to 128"),
        ("splash", {}, "gpu", "runs on TPUs, and this is a gpu"),
        ("splash", {"compute_dtype": "float16"}, "tpu", "compute_dtype is float16"),
        ("splash", {"softmax_dtype": "bfloat16"}, "tpu", "softmax_dtype is bfloat16"),
        ("splash", {"positions": "relative"}, "tpu", "adds no bias, and positions is 'relative'"),
    ],
)
def test_what_is_named_and_cannot_run_says_why_and_auto_takes_another(name, changes, platform, reason):
    config = DecoderConfig(**SHAPE | changes, attention=name)
    with pytest.raises(UserError, match=f"DecoderConfig.attention = '{name}'") as error:
        chosen_attention(config, platform, LENGTHS)
    assert reason in str(error.value)
    assert chosen_attention(config.replace(attention="auto"), platform, LENGTHS) == "xla"


def test_splash_needs_whole_blocks_and_no_prefix():
    config = EncoderDecoderConfig(**SHAPE, attention="splash")
    with pytest.raises(UserError, match="a multiple of 128, and the encoder's have 64"):
        chosen_attention(config, "tpu", {"encoder": 64, "decoder": 128})
    with pytest.raises(UserError, match="a multiple of 128, and the decoder's have 130"):
        chosen_attention(config, "tpu", {"encoder": 128, "decoder": 130})
    decoder = DecoderConfig(**SHAPE, attention="splash")
    with pytest.raises(UserError, match="no mask for a prefix"):
        chosen_attention(decoder, "tpu", LENGTHS, prefix=True)
    assert chosen_attention(decoder.replace(attention="auto"), "tpu", LENGTHS, prefix=True) == "xla"


def test_auto_takes_what_the_platform_has_where_it_runs():
    config = DecoderConfig(**SHAPE, compute_dtype="bfloat16", attention="auto")
    assert chosen_attention(config, "gpu", LENGTHS) == "cudnn"
    assert chosen_attention(config, "tpu", LENGTHS) == "splash"
    assert chosen_attention(config, "cpu", LENGTHS) == "xla"
    assert chosen_attention(config.replace(attention="xla"), "gpu", LENGTHS) == "xla"


def test_auto_is_replaced_before_anything_is_computed():
    """Or a platform's choice would be made where its record does not see it."""
    model = build_model(DecoderConfig(**SHAPE, attention="auto"))
    tokens = jnp.zeros((1, 128), jnp.int32)
    batch = {f"decoder_{name}": tokens for name in ("input_tokens", "segment_ids", "positions")}
    params = jax.tree.map(lambda s: jnp.zeros(s.shape), model.specs)
    with pytest.raises(ValueError, match="chosen_attention"):
        model.apply(params, batch, ForwardMultipliers(0.25))


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
