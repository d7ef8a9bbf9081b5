import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.errors import UserError
from scaling.models import DecoderConfig, EncoderDecoderConfig, ForwardMultipliers, build_model
from scaling.models.forward import no_constraint
from scaling.models.kernels import MAX_PARTS, attend, chosen_attention

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


def test_cudnn_needs_rows_of_an_even_length():
    """Its backward pass refuses others where there is a mask."""
    config = EncoderDecoderConfig(**SHAPE, attention="cudnn", compute_dtype="bfloat16")
    with pytest.raises(UserError, match="an even length, and the decoder's have 255"):
        chosen_attention(config, "gpu", {"encoder": 256, "decoder": 255})
    assert chosen_attention(config, "gpu", {"encoder": 254, "decoder": 256}) == "cudnn"


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


class Threads(type(no_constraint)):
    def __init__(self, threads: int):
        self.threads = threads


@pytest.mark.parametrize("n_kv_heads", [1, 2])
def test_rows_in_parts_give_the_same_bits(n_kv_heads):
    """Of values and of gradients; six rows are in parts of equal size, whatever the threads."""
    config = DecoderConfig(**SHAPE, n_kv_heads=n_kv_heads)
    draws = np.random.default_rng(0)
    sizes = [(6, 16, heads, 16) for heads in (2, n_kv_heads, n_kv_heads)]
    arrays = [jnp.asarray(draws.normal(size=size), "f4") for size in sizes]
    mask = jnp.broadcast_to(jnp.tril(jnp.ones((16, 16), bool)), (6, 16, 16))
    bias = jnp.asarray(draws.normal(size=(2, 16, 16)), "f4")

    def found(threads):
        seen = []
        constrain, tap = Threads(threads), lambda logits: seen.append(len(logits))

        @jax.jit
        def step(query, key, value):
            def loss(*arrays):
                mixed = attend(config, *arrays, mask, bias, constrain=constrain, tap=tap)
                return jnp.sin(mixed).sum(), mixed

            return jax.value_and_grad(loss, (0, 1, 2), has_aux=True)(query, key, value)

        return jax.tree.leaves(step(*arrays)), seen

    whole, rows = found(1)
    assert rows == [6] and MAX_PARTS == 4
    for threads, parts in ((2, [3, 3]), (4, [2, 2, 2]), (16, [2, 2, 2])):
        again, rows = found(threads)
        assert rows == parts
        for one, other in zip(whole[1:], again[1:], strict=True):  # but for the sum in one number
            np.testing.assert_array_equal(one, other)
