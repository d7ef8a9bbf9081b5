import jax
import jax.numpy as jnp
import pytest

from scaling.accounting import (
    FLOPS_CONVENTIONS,
    count_parameters,
    forward_flops_per_token,
    peak_flops_per_second,
    traced_matmul_flops,
    train_flops,
)
from scaling.models import DecoderConfig, build_model

B, T = 3, 10


def exact(config: DecoderConfig, length: int, n_tokens: int) -> float:
    n_params = count_parameters(build_model(config).specs)
    return train_flops(config, n_params, length, n_tokens)["exact"]


def test_exact_flops_are_the_products_of_the_traced_training_program(config, loss_and_arguments):
    """To the digit, forward and backward."""
    loss, arguments = loss_and_arguments(config, B, T)
    assert traced_matmul_flops(jax.grad(loss), *arguments) == exact(config, T, B * T)
    forward = sum(forward_flops_per_token(config, T).values())
    assert traced_matmul_flops(loss, *arguments) == forward * B * T


@pytest.mark.parametrize("activation", ["gelu", "swiglu"])
def test_exact_flops_agree_with_xla(activation, loss_and_arguments):
    """XLA also counts elementwise operations, so its number is larger; their share falls with width.

    Unrolled, because XLA counts the body of a scan once.
    """
    shares = []
    for d_model in (64, 256):
        config = DecoderConfig(
            vocab_size=512, d_model=d_model, n_heads=4, d_ff=4 * d_model, activation=activation
        )
        loss, arguments = loss_and_arguments(config, 2, 32)
        counted = jax.jit(jax.grad(loss)).lower(*arguments).cost_analysis()["flops"]
        shares.append(counted / exact(config, 32, 2 * 32) - 1)
    assert 0 < shares[0] < 0.1
    # Elementwise work a token goes by width, products by its square (less the vocabulary's share).
    assert 0 < shares[1] < shares[0] / 2.5


def test_a_small_decoder_by_hand():
    """V = 50, D = 24, L = 3, F = 40, T = 10; a multiply-add is two operations."""
    config = DecoderConfig(vocab_size=50, d_model=24, n_layers=3, n_heads=2, d_ff=40)
    forward = {
        "attention": 3 * 4 * 2 * 24 * 24,
        "attention_scores": 3 * 2 * 2 * 10 * 24,
        "mlp": 3 * 2 * 2 * 24 * 40,
        "unembedding": 2 * 24 * 50,
    }
    assert forward_flops_per_token(config, 10) == forward
    n_params = count_parameters(build_model(config).specs)
    n = 3 * (4 * 24 * 24 + 2 * 24 * 40 + 2 * 24) + 24 + 24 * 50
    flops = train_flops(config, n_params, 10, 1000)
    assert flops == {"6nd": 6 * n * 1000, "exact": 3 * sum(forward.values()) * 1000}
    assert set(flops) == set(FLOPS_CONVENTIONS)
    tied = config.replace(tie_embeddings=True)
    tied_params = count_parameters(build_model(tied).specs)
    assert train_flops(tied, tied_params, 10, 1000) == flops  # a tied table multiplies just as much


def test_conventions_meet_where_the_body_dominates():
    """6ND leaves out attention scores and counts gains: little in a wide model on short text."""
    config = DecoderConfig(vocab_size=1000, d_model=2048, n_layers=8, n_heads=16, d_ff=8192)
    n_params = count_parameters(build_model(config).specs)
    flops = train_flops(config, n_params, 64, 10**6)
    assert flops["exact"] == pytest.approx(flops["6nd"], rel=0.01)


def test_the_counter_knows_scans_conditions_and_loops():
    x = jnp.ones((4, 4))
    one = 2 * 4**3
    assert traced_matmul_flops(lambda: x @ x) == one
    assert traced_matmul_flops(lambda: jax.jit(lambda y: y @ x)(x)) == one
    scan = lambda: jax.lax.scan(lambda c, _: (c @ x, None), x, length=7)  # noqa: E731
    assert traced_matmul_flops(scan) == 7 * one
    nested = lambda: jax.lax.scan(lambda c, _: (scan()[0], None), x, length=3)  # noqa: E731
    assert traced_matmul_flops(nested) == 21 * one
    recomputed = jax.grad(jax.checkpoint(lambda y: jnp.sin(jnp.sin(y @ x) @ x).sum()))
    assert traced_matmul_flops(recomputed, x) > traced_matmul_flops(
        jax.grad(lambda y: jnp.sin(jnp.sin(y @ x) @ x).sum()), x
    )
    with pytest.raises(ValueError, match="while"):
        traced_matmul_flops(lambda n: jax.lax.fori_loop(0, n, lambda _, c: c @ x, x), 3)
    contracted = lambda: jnp.einsum("abc,cbd->ad", jnp.ones((2, 3, 5)), jnp.ones((5, 3, 7)))  # noqa: E731
    assert traced_matmul_flops(contracted) == 2 * (2 * 7) * (3 * 5)


def test_an_unknown_device_has_no_peak():
    assert peak_flops_per_second("cpu") is None
    assert peak_flops_per_second("NVIDIA H200") == 989e12
