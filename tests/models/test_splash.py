"""The splash kernel itself, interpreted on the CPU, against plain XLA.

That a TPU's compiler takes it is in tests/aot.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel

from scaling.models import DecoderConfig, EncoderDecoderConfig, ForwardMultipliers, build_model
from scaling.models.attention import self_mask
from scaling.models.kernels import attend
from scaling.models.splash import Pattern

SHAPE = dict(vocab_size=20, d_model=32, n_heads=4, n_kv_heads=2, d_ff=48)


@pytest.fixture(autouse=True)
def interpreted(monkeypatch):
    make = splash_attention_kernel.make_splash_mha_single_device
    monkeypatch.setattr(
        splash_attention_kernel, "make_splash_mha_single_device", functools.partial(make, interpret=True)
    )


def segments(draws, *shape):
    """int, sorted along each row; 0 is padding."""
    return jnp.asarray(np.sort(draws.integers(0, 3, shape), axis=1))


def difference(a, b) -> float:
    return max(float(jnp.abs(x - y).max()) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)))


@pytest.mark.parametrize(
    ("causal", "window", "soft_cap"), [(True, 0, 0.0), (False, 0, 5.0), (True, 50, 5.0), (False, 150, 0.0)]
)
def test_values_and_gradients_are_those_of_xla(causal, window, soft_cap):
    draws, B, T = np.random.default_rng(0), 2, 256
    config = DecoderConfig(**SHAPE, attention="splash", attention_soft_cap=soft_cap)
    shapes = [(B, T, config.n_heads, config.d_head), *[(B, T, config.kv_heads, config.d_head)] * 2]
    arrays = [jnp.asarray(draws.normal(size=shape), "f4") for shape in shapes]
    weights = jnp.asarray(draws.normal(size=shapes[0]), "f4")
    ids = segments(draws, B, T)
    mask, pattern = self_mask(ids, causal, window), Pattern(ids, ids, causal, window)

    def mixed(config, *arrays):
        return (weights * attend(config, *arrays, mask, None, pattern)).sum()

    found = [
        jax.jit(jax.value_and_grad(functools.partial(mixed, c), (0, 1, 2)))(*arrays)
        for c in (config, config.replace(attention="xla"))
    ]
    assert difference(*found) < 1e-4
    blind = Pattern(ids, ids, not causal, window)  # the comparison can fail
    other = attend(config, *arrays, mask, None, blind)
    assert difference(other, attend(config, *arrays, mask, None, pattern)) > 0.1


def test_an_encoder_decoder_whole():
    """Rows of several segments and padding; one decoder segment has no encoder segment to read."""
    draws, B = np.random.default_rng(0), 2
    lengths = {"encoder": 256, "decoder": 128}
    batch = {}
    for side, n in lengths.items():
        batch[f"{side}_input_tokens"] = jnp.asarray(draws.integers(0, 20, (B, n)))
        batch[f"{side}_segment_ids"] = segments(draws, B, n)
        batch[f"{side}_positions"] = jnp.broadcast_to(jnp.arange(n), (B, n))
    batch["decoder_segment_ids"] = batch["decoder_segment_ids"].at[0, -20:].set(7)
    config = EncoderDecoderConfig(**SHAPE, n_encoder_layers=1, n_decoder_layers=1, attention="splash")
    params = jax.tree.map(
        lambda s: jnp.asarray(draws.normal(s.start, 0.2, s.shape), "f4"), build_model(config).specs
    )

    def loss(params, config):
        return jnp.square(build_model(config).apply(params, batch, ForwardMultipliers(0.35))).mean()

    found = [
        jax.jit(jax.value_and_grad(functools.partial(loss, config=c)))(params)
        for c in (config, config.replace(attention="xla"))
    ]
    assert np.isfinite(found[0][0])
    assert difference(*found) < 1e-4
