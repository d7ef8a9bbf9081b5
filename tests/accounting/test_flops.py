import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.accounting import (
    FLOPS_CONVENTIONS,
    exact_train_flops,
    forward_flops,
    peak_flops_per_second,
    traced_matmul_flops,
    train_flops,
    unmasked_score_flops,
)
from scaling.gin_config import configs_dir, load_experiment
from scaling.models import DecoderConfig, EncoderDecoderConfig, build_model
from scaling.objectives import Lengths
from scaling.parametrizations import forward_multipliers

B, T = 3, 10


def lengths_of(arguments) -> Lengths:
    batch = arguments[1]
    sizes = (batch.get(f"{side}_positions") for side in ("encoder", "decoder"))
    return Lengths(*(0 if size is None else size.shape[1] for size in sizes))


def test_exact_flops_are_the_products_of_the_traced_training_program(config, loss_and_arguments):
    """To the digit, forward and backward, for every family and option."""
    loss, arguments = loss_and_arguments(config, B, T)
    lengths = lengths_of(arguments)
    assert traced_matmul_flops(jax.grad(loss), *arguments) == train_flops(config, lengths, B)["exact"]
    forward = sum(forward_flops(config, lengths).values())
    assert traced_matmul_flops(loss, *arguments) == forward * B


MODELS = sorted(
    path.name for path in (configs_dir() / "models").glob("*.gin") if "include" in path.read_text()
)


@pytest.mark.parametrize("name", MODELS)
def test_exact_flops_of_every_shipped_model_are_those_of_its_traced_program(name):
    """Under its own objective, whose batches say how long each stack's arrays are. Nothing is run twice:
    what rematerialisation repeats is in the program and not in the count."""
    experiment = load_experiment(f"models/{name}").config
    experiment = experiment.replace(model=experiment.model.replace(remat="none", attention="xla"))
    model, lengths = build_model(experiment.model), experiment.lengths
    objective = experiment.build_objective(bos_id=1)
    batch = objective.example(np.full((2, experiment.data.sequence_length + 1), 7))
    params = jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, jnp.float32), model.specs)
    multipliers = forward_multipliers(experiment.parametrization, model.specs)

    def loss(params):
        return objective.loss(model.apply(params, batch, multipliers), batch).loss.sum()

    flops = train_flops(experiment.model, lengths, 2)
    assert traced_matmul_flops(jax.grad(loss), params) == flops["exact"]
    assert 0.5 < flops["6nd"] / flops["exact"] < 1.2


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
        shares.append(counted / train_flops(config, Lengths(0, 32), 2)["exact"] - 1)
    assert 0 < shares[0] < 0.1
    # Elementwise work a token goes by width, products by its square (less the vocabulary's share).
    assert 0 < shares[1] < shares[0] / 2.5


def test_a_small_decoder_by_hand():
    """V = 50, D = 24, L = 3, F = 40, T = 10; a multiply-add is two operations."""
    config = DecoderConfig(vocab_size=50, d_model=24, n_layers=3, n_heads=2, d_ff=40)
    forward = {
        "attention": 10 * 3 * 4 * 2 * 24 * 24,
        "attention_scores": 10 * 3 * 2 * 2 * 10 * 24,
        "mlp": 10 * 3 * 2 * 2 * 24 * 40,
        "router": 0,
        "experts": 0,
        "unembedding": 10 * 2 * 24 * 50,
    }
    assert forward_flops(config, Lengths(0, 10)) == forward
    lower_triangle = np.tril(np.ones((10, 10))).sum()
    assert unmasked_score_flops(config, Lengths(0, 10)) == 3 * 2 * 2 * lower_triangle * 24
    n = 3 * (4 * 24 * 24 + 2 * 24 * 40 + 2 * 24) + 24 + 24 * 50
    flops = train_flops(config, Lengths(0, 10), 1000)
    six_nd, exact = 6 * n * 10, 3 * sum(forward.values())
    assert flops == {
        "6nd": six_nd * 1000,
        "palm": (six_nd + 12 * 3 * 24 * 10 * 10) * 1000,  # 12 L H Q T a position, H Q = D
        "chinchilla": (exact + 3 * (2 * 10 * 50 * 24 + 3 * 3 * 2 * 10 * 10)) * 1000,
        "exact": exact * 1000,
    }
    assert set(flops) == set(FLOPS_CONVENTIONS)
    tied = config.replace(tie_embeddings=True)
    assert train_flops(tied, Lengths(0, 10), 1000) == flops  # a tied table multiplies just as much


def test_a_small_encoder_decoder_by_hand():
    """V = 50, D = 24, H = 4, G = 2 (K = 6), F = 40; 2 encoder layers on 7, 1 decoder layer on 5."""
    config = EncoderDecoderConfig(
        vocab_size=50, d_model=24, n_heads=4, n_kv_heads=2, d_ff=40, n_encoder_layers=2,
        n_decoder_layers=1,
    )
    square, narrow = 24 * 24, 24 * 12
    own = 2 * square + 2 * narrow
    forward = {
        "attention": 2 * (2 * 7 * own + 5 * own + 5 * 2 * square + 7 * 2 * narrow),
        "attention_scores": 4 * 24 * (2 * 7 * 7 + 5 * 5 + 5 * 7),
        "mlp": 2 * 2 * 24 * 40 * (2 * 7 + 5),
        "router": 0,
        "experts": 0,
        "unembedding": 2 * 5 * 24 * 50,
    }
    assert forward_flops(config, Lengths(7, 5)) == forward
    left = 4 * 24 * (2 * 7 * 7 + (1 + 2 + 3 + 4 + 5) + 5 * 7)
    assert unmasked_score_flops(config, Lengths(7, 5)) == left
    encoder = 2 * (own + 2 * 24 * 40 + 2 * 24)
    decoder = own + 2 * square + 2 * narrow + 2 * 24 * 40 + 3 * 24
    counted = encoder * 7 + (decoder + 2 * 24 + 24 * 50) * 5
    assert train_flops(config, Lengths(7, 5), 3)["6nd"] == 6 * counted * 3


def test_a_small_mixture_of_experts_by_hand():
    """D = 24, F = 40, 8 gated experts, 2 a token, on 10 positions; of a row an expert takes
    1.5 * 2 * 10 / 8 = 3.75 assignments, so 4, where it has a capacity."""
    config = DecoderConfig(
        vocab_size=50, d_model=24, n_layers=3, n_heads=2, d_ff=40, activation="swiglu", n_experts=8,
        shared_expert=True,
    )
    expert, plain = 3 * 24 * 40, config.replace(n_experts=0, shared_expert=False)
    dense = forward_flops(plain, Lengths(0, 10))
    experts = {"router": 3 * 2 * 10 * 24 * 8, "experts": 3 * 2 * 10 * 2 * expert}
    assert forward_flops(config, Lengths(0, 10)) == dense | experts  # the shared one is the dense MLP
    alone = forward_flops(config.replace(shared_expert=False), Lengths(0, 10))
    assert alone == dense | experts | {"mlp": 0}
    slots = {"experts": 3 * 2 * 8 * 4 * expert}
    assert forward_flops(config.replace(capacity_factor=1.5), Lengths(0, 10)) == dense | experts | slots
    more = 3 * (24 * 8 + 2 * expert)  # parameters beside the dense model's that a token meets
    of_dense = train_flops(plain, Lengths(0, 10), 1)["6nd"]
    assert train_flops(config, Lengths(0, 10), 1)["6nd"] == of_dense + 6 * more * 10


def test_conventions_meet_where_the_body_dominates():
    """6ND leaves out attention scores and counts gains: little in a wide model on short text."""
    config = DecoderConfig(vocab_size=1000, d_model=2048, n_layers=8, n_heads=16, d_ff=8192)
    flops = train_flops(config, Lengths(0, 64), 10**4)
    assert flops["exact"] == pytest.approx(flops["6nd"], rel=0.01)


@pytest.mark.parametrize("config", [
    DecoderConfig(vocab_size=50, d_model=64, n_heads=4, n_kv_heads=2, n_layers=3, scan_layers=True),
    EncoderDecoderConfig(vocab_size=50, d_model=64, n_heads=4, n_encoder_layers=3),
], ids=lambda config: config.family)
def test_the_splash_kernel_counts_as_plain_attention(config, loss_and_arguments):
    """Nothing is compiled. Its backward pass makes the scores and their gradient's products again, 3 of
    9 products, and sums outputs times their gradients."""
    config = config.replace(attention="splash")
    lengths = Lengths(256 if config.family == "encoder_decoder" else 0, 128)
    loss, arguments = loss_and_arguments(config, 2, lengths)
    forward = forward_flops(config, lengths)
    assert traced_matmul_flops(loss, *arguments) == 2 * sum(forward.values())
    again = 3 * forward["attention_scores"] // 2
    outputs = sum(depth * getattr(lengths, stack) for stack, depth in config.depths.items())
    outputs += lengths.decoder * config.n_decoder_layers if lengths.encoder else 0
    sums = 2 * outputs * config.d_model
    assert traced_matmul_flops(jax.grad(loss), *arguments) == 2 * (
        exact_train_flops(config, lengths) + again + sums
    )


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
