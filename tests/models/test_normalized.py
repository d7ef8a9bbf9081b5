"""Norms whose gradients are written out, against autodiff of their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.models.normalized import normalized

EPSILON = 0.02  # large, so that a gradient that forgets it is seen


def definition(x, gain, bias, centred):
    x = x - x.mean(-1, keepdims=True) if centred else x
    y = x / jnp.sqrt((x**2).mean(-1, keepdims=True) + EPSILON)
    y = y if gain is None else y * gain
    return y if bias is None else y + bias


@pytest.fixture
def arrays():
    draw = np.random.default_rng(0)
    return {name: jnp.asarray(draw.normal(size=shape), jnp.float32)
            for name, shape in {"x": (3, 5, 16), "gain": (16,), "bias": (16,), "dy": (3, 5, 16)}.items()}


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("given", [(), ("gain",), ("gain", "bias")])
def test_values_and_gradients(arrays, centred, given):
    params = {name: arrays[name] for name in given}

    def value(function):
        def of(x, params):
            y = function(x, params.get("gain"), params.get("bias"))
            return (y * arrays["dy"]).sum(), y
        return jax.value_and_grad(of, argnums=(0, 1), has_aux=True)(arrays["x"] * 0.3, params)

    (_, y), gradients = value(lambda *a: normalized(*a, centred, EPSILON))
    (_, expected), autodiff = value(lambda *a: definition(*a, centred))
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6), gradients, autodiff)


def test_what_is_kept_for_the_gradient_is_as_the_input_came(arrays):
    """Of a bfloat16 input, and a number a row: autodiff keeps float32 arrays of the input's shape."""
    x = arrays["x"].astype(jnp.bfloat16)
    _, gradient = jax.vjp(lambda x, gain: normalized(x, gain, None, False, EPSILON), x, arrays["gain"])
    kept = sum(leaf.nbytes for leaf in jax.tree.leaves(gradient))
    assert kept == 2 * x.size + 4 * (3 * 5 + 16)
    assert gradient(jnp.ones_like(x))[0].dtype == jnp.bfloat16


def test_what_overflows_is_seen(arrays):
    far = arrays["x"].at[0, 0].set(1e20)
    y = normalized(far, arrays["gain"], None, False, EPSILON)
    assert jnp.isnan(y[0, 0]).all() and jnp.isfinite(y[0, 1:]).all() and jnp.isfinite(y[1:]).all()
