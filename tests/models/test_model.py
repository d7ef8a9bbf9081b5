import dataclasses
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.errors import UserError
from scaling.models import DecoderConfig, ParamSpec, build_model
from scaling.models.model import Model
from scaling.objectives import CausalLM

ROWS = [[[1, 2, 3], [4, 5, 6]], [[7, 8, 9, 10, 11, 12]]]
TARGETS = np.array([[2, 3, 4, 5, 6, 7], [8, 9, 10, 11, 12, 13]])


def stacked(params):
    """Unrolled layers as one stacked tree, which is what `scan_layers` holds."""
    layers = [params["layers"][name] for name in sorted(params["layers"])]
    return params | {"layers": jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers)}


def mean_loss(tiny, batch):
    def loss(params):
        log_p = jax.nn.log_softmax(tiny.apply(params, batch).astype(jnp.float32))
        return -jnp.take_along_axis(log_p, TARGETS[..., None], -1).mean()

    return loss


@pytest.mark.parametrize(
    "options", [{}, {"activation": "swiglu", "qk_norm": True, "tie_embeddings": True}],
    ids=["plain", "swiglu qk norm tied"],
)
def test_scanned_layers_are_the_unrolled_ones(make_tiny, packed_batch, options):
    """The same numbers at init, the same logits and the same gradients."""
    unrolled, scanned = make_tiny(**options), make_tiny(scan_layers=True, **options)
    params = unrolled.draw(0)
    jax.tree.map(np.testing.assert_array_equal, stacked(params), scanned.draw(0))
    batch = packed_batch(ROWS)
    np.testing.assert_allclose(
        unrolled.logits(params, batch), scanned.logits(stacked(params), batch), atol=1e-5
    )
    gradient = jax.jit(jax.grad(mean_loss(unrolled, batch)))(params)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6, rtol=1e-4),
        stacked(gradient), jax.jit(jax.grad(mean_loss(scanned, batch)))(stacked(params)),
    )
    for leaf in jax.tree.leaves(gradient):  # no parameter is idle
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0


def test_bfloat16_stays_near_float32(make_tiny, packed_batch):
    exact, rounded = make_tiny(), make_tiny(compute_dtype="bfloat16")
    jax.tree.map(np.testing.assert_array_equal, exact.params, rounded.params)
    assert {leaf.dtype for leaf in jax.tree.leaves(rounded.params)} == {jnp.float32.dtype}
    batch = packed_batch(ROWS)
    logits = rounded.logits(rounded.params, batch)
    reference = exact.logits(exact.params, batch)
    assert logits.dtype == jnp.bfloat16 and reference.dtype == jnp.float32
    # Eight bits of mantissa, a handful of roundings deep, of logits with a spread of about 1.
    error = np.abs(np.asarray(logits, np.float32) - reference)
    assert error.max() < 0.1 and error.mean() < 0.02
    labelled = batch | {
        "decoder_target_tokens": TARGETS, "decoder_loss_weights": np.ones(TARGETS.shape, "f4"),
    }
    sums = CausalLM(bos_id=0, length=6).loss(logits, labelled)
    assert sums.loss.dtype == sums.weight.dtype == jnp.float32


def test_initial_standard_deviations_follow_the_rules(make_tiny):
    """Each leaf, against its rule: within 5 standard errors, mean 0; gains are 1."""
    tiny = make_tiny(vocab_size=300, d_model=64, d_ff=192, activation="swiglu", qk_norm=True)
    trees = tiny.draw(0), tiny.rules, tiny.model.specs
    for leaf, rule, spec in zip(*map(jax.tree.leaves, trees), strict=True):
        if spec.role == "vector":
            assert (leaf == 1).all()
            continue
        assert rule.init_std > 0
        assert np.std(leaf) == pytest.approx(rule.init_std, rel=5 / np.sqrt(2 * leaf.size))
        assert abs(np.mean(leaf)) < 5 * rule.init_std / np.sqrt(leaf.size)


def test_no_two_parameters_and_no_two_seeds_start_alike(make_tiny):
    tiny = make_tiny()
    matrices = [
        np.asarray(leaf).ravel()
        for seed in (0, 1)
        for leaf, spec in zip(
            jax.tree.leaves(tiny.draw(seed)), jax.tree.leaves(tiny.model.specs), strict=True
        )
        if spec.role != "vector"
    ]
    starts = np.array([m[:64] / m.std() for m in matrices])
    correlation = np.corrcoef(starts) - np.eye(len(starts))
    assert np.abs(correlation).max() < 0.6  # of 64 draws each
    again = tiny.draw(1)
    jax.tree.map(np.testing.assert_array_equal, again, tiny.draw(1))


def test_a_layer_starts_the_same_whatever_the_depth(make_tiny):
    shallow, deep = make_tiny(n_layers=1), make_tiny()
    jax.tree.map(
        np.testing.assert_array_equal,
        shallow.draw(0)["layers"]["000"], deep.draw(0)["layers"]["000"],
    )


def test_specs_describe_every_parameter(tiny):
    specs = jax.tree.leaves(tiny.model.specs)
    assert all(isinstance(spec, ParamSpec) for spec in specs)
    assert jax.tree.structure(tiny.model.specs) == jax.tree.structure(tiny.params)
    for spec, leaf in zip(specs, jax.tree.leaves(tiny.params), strict=True):
        assert spec.shape == leaf.shape
        named = {
            "vocab": tiny.config.vocab_size, "embed": tiny.config.d_model, "mlp": tiny.config.d_ff,
            "heads": tiny.config.n_heads, "kv": tiny.config.d_head, "layers": tiny.config.n_layers,
            "kv_heads": tiny.config.kv_heads,
        }
        assert spec.shape == tuple(named[axis] for axis in spec.axes)


def test_a_model_is_built_without_allocating_it():
    config = DecoderConfig(vocab_size=50_000, d_model=16_384, n_layers=4, n_heads=128, d_ff=65_536)
    model = build_model(config)
    assert isinstance(model, Model)
    assert sum(spec.size for spec in jax.tree.leaves(model.specs)) > 10**10


def test_initial_numbers_do_not_depend_on_the_process():
    """The names of parameters are hashed; Python's own hash would differ in each process."""
    program = """
import jax, numpy as np
from scaling.models import DecoderConfig, build_model
model = build_model(DecoderConfig(vocab_size=8, d_model=4, n_layers=1, n_heads=1, d_ff=4))
params = jax.jit(lambda: model.init(3, jax.tree.map(lambda spec: 1.0, model.specs)))()
numbers = b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(params)).hex()
"""
    there = subprocess.run(
        [sys.executable, "-c", program + "print(numbers)"],
        capture_output=True, text=True, check=True, env=os.environ | {"PYTHONHASHSEED": "1"},
    )
    here: dict = {}
    exec(program, here)
    assert there.stdout.strip() == here["numbers"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"d_model": 0}, "DecoderConfig.d_model = 0"),
        ({"n_heads": 3}, "DecoderConfig.n_heads = 3: expected a divisor of d_model = 16"),
        ({"d_model": 6, "n_heads": 2}, "an even head size (rotary positions turn pairs), not 3"),
        ({"n_layers": 0}, "DecoderConfig.n_layers = 0"),
        ({"activation": "gelo"}, "did you mean 'gelu'?"),
        ({"rope_base": 1.0}, "DecoderConfig.rope_base = 1.0"),
        ({"norm_epsilon": 0.0}, "DecoderConfig.norm_epsilon = 0.0"),
    ],
)
def test_impossible_shapes_are_refused(changes, named):
    shape = dict(vocab_size=20, d_model=16, n_layers=2, n_heads=2, d_ff=24)
    with pytest.raises(UserError) as error:
        DecoderConfig(**shape | changes)
    assert named in str(error.value) and "\n" not in str(error.value)


def test_a_spec_whose_axes_do_not_fit_is_refused():
    good = dict(shape=(2, 3), axes=("embed", "mlp"), role="hidden", group="mlp", in_axes=("embed",))
    assert ParamSpec(**good).fan_in == 2
    with pytest.raises(ValueError, match="length"):
        ParamSpec(**good | {"axes": ("embed",)})
    with pytest.raises(ValueError, match="in_axes"):
        dataclasses.replace(ParamSpec(**good), in_axes=("vocab",))


@pytest.mark.parametrize("d_model", [16, 128])
def test_tied_table_starts_near_the_uniform_guess(make_tiny, packed_batch, d_model):
    """Drawn with the embedding's own deviation of 1, its logits would grow as sqrt(d_model)."""
    tiny = make_tiny(tie_embeddings=True, d_model=d_model, vocab_size=500)
    batch = packed_batch(ROWS)
    std = jax.tree.map(lambda rule: rule.init_std, tiny.rules)
    losses = [mean_loss(tiny, batch)(tiny.model.init(seed, std)) for seed in range(4)]
    assert abs(np.mean(losses) - np.log(500)) < 1
