"""Attention and its gradients against autodiff of the textbook's formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.models.softmax_attention import mixed, scores

SHAPES = {"square": (3, 16, 16, 2, 8), "one query": (2, 1, 7, 3, 4), "more keys": (2, 5, 12, 1, 6)}
NAMES = ("query", "key", "value")


def textbook(query, key, value, mask):
    logits = jnp.einsum("bthk,bshk->bhts", query, key)
    logits = jnp.where(mask[:, None], logits, jnp.finfo(logits.dtype).min)
    return jnp.einsum("bhts,bshk->bthk", jax.nn.softmax(logits, -1), value)


def ours(query, key, value, mask, dtype="float32"):
    logits = scores(query, key).astype(dtype)
    return mixed(jnp.where(mask[:, None], logits, jnp.finfo(dtype).min), value)


def arrays(shape, seed=0, dtype="float32"):
    """Query, key, value and the cotangent of what they give; a mask with a key for every query."""
    b, t, s, h, k = shape
    draws = np.random.default_rng(seed)
    each = [(b, t, h, k), (b, s, h, k), (b, s, h, k), (b, t, h, k)]
    mask = draws.random((b, t, s)) < 0.5
    mask[..., 0] = True
    return [jnp.asarray(draws.normal(size=size), dtype) for size in each], jnp.asarray(mask)


def values_and_gradients(function, inputs, mask):
    *inputs, cotangent = inputs
    value, pull = jax.vjp(lambda *args: function(*args, mask), *inputs)
    return value, pull(cotangent)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("size", [1.0, 30.0])
def test_values_and_gradients_are_those_of_the_formula(shape, size):
    """Also of logits of some thousands, whose exponentials float32 does not hold."""
    (query, *rest), mask = arrays(shape)
    inputs = [size * query, *rest]
    with jax.enable_x64(True):
        exact = [jnp.asarray(np.asarray(x), "float64") for x in inputs]
        value, gradients = values_and_gradients(textbook, exact, mask)
    found, found_gradients = values_and_gradients(ours, inputs, mask)
    np.testing.assert_allclose(found, value, rtol=2e-4, atol=2e-5)
    for name, gradient, expected in zip(NAMES, found_gradients, gradients, strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=2e-4, err_msg=name)


def test_a_hidden_key_is_not_read_and_gets_no_gradient():
    inputs, mask = arrays(SHAPES["square"])
    mask = mask.at[:, :, 5].set(False)
    value, (_, d_key, d_value) = values_and_gradients(ours, inputs, mask)
    assert not d_key[:, 5].any() and not d_value[:, 5].any()
    query, key, of_values, cotangent = inputs
    other = [query, key.at[:, 5].set(7.0), of_values.at[:, 5].set(9.0), cotangent]
    np.testing.assert_array_equal(ours(*other[:3], mask), value)


def test_a_query_without_a_key_stays_finite_and_gives_queries_and_keys_no_gradient():
    inputs, mask = arrays(SHAPES["square"])
    value, gradients = values_and_gradients(ours, inputs, mask.at[:, 3].set(False))
    assert jnp.isfinite(value).all() and all(jnp.isfinite(g).all() for g in gradients)
    assert not gradients[0][:, 3].any()


@pytest.mark.parametrize("softmax", ["float32", "bfloat16"])
def test_bfloat16_keeps_its_dtypes_and_is_near(softmax):
    inputs, mask = arrays(SHAPES["square"], dtype="bfloat16")
    value, gradients = values_and_gradients(
        lambda *args: ours(*args, dtype=softmax), inputs, mask
    )
    assert {x.dtype for x in (value, *gradients)} == {jnp.dtype("bfloat16")}
    wide = [x.astype("float32") for x in inputs]
    exact, exact_gradients = values_and_gradients(textbook, wide, mask)
    tolerance = 0.03 if softmax == "float32" else 0.06
    for found, expected in zip((value, *gradients), (exact, *exact_gradients), strict=True):
        error = jnp.linalg.norm(found.astype("float32") - expected) / jnp.linalg.norm(expected)
        assert error < tolerance


def test_one_array_of_queries_by_keys_is_kept_for_the_backward_pass():
    """`memory_by_group` counts on it; autodiff keeps more."""
    (query, key, value, _), _ = arrays((2, 64, 64, 2, 8))
    logits = scores(query, key)
    kept = jax.tree.leaves(jax.vjp(mixed, logits, value)[1])
    assert sum(x.size >= logits.size for x in kept) == 1
    by_autodiff = jax.vjp(lambda *args: textbook(*args, jnp.ones((2, 64, 64), bool)), query, key, value)[1]
    assert sum(x.size >= logits.size for x in jax.tree.leaves(by_autodiff)) > 1
