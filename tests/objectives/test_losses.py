"""The gradient of cross-entropy, which is written out, against autodiff of its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.objectives.losses import cross_entropy


@pytest.fixture
def batch():
    draw = np.random.default_rng(0)
    logits = jnp.asarray(6 * draw.normal(size=(2, 3, 11)), jnp.float32)
    targets = jnp.asarray(draw.integers(0, 11, (2, 3)))
    return logits, targets, jnp.asarray([[1.0, 0.0, 0.5], [1.0, 1.0, 2.0]])


def total(logits, targets, weights):
    shares = jax.nn.log_softmax(logits, axis=-1)
    return -(jnp.take_along_axis(shares, targets[..., None], -1)[..., 0] * weights).sum()


def test_values_and_gradients(batch):
    value, gradient = jax.value_and_grad(lambda x: cross_entropy(x, *batch[1:]).loss.sum())(batch[0])
    expected, autodiff = jax.value_and_grad(lambda x: total(x, *batch[1:]))(batch[0])
    assert value == pytest.approx(float(expected), rel=1e-6)
    np.testing.assert_allclose(gradient, autodiff, rtol=1e-5, atol=1e-7)
    assert (gradient[0, 1] == 0).all()  # a target of weight 0


def test_logits_of_any_size(batch):
    """Exponentials of 1e4 and -1e4 are neither infinite nor lost."""
    far = batch[0].at[0, 0, 0].set(1e4).at[0, 0, 1].set(-1e4)
    value, gradient = jax.value_and_grad(lambda x: cross_entropy(x, *batch[1:]).loss.sum())(far)
    assert np.isfinite(value) and np.isfinite(gradient).all()
    np.testing.assert_allclose(gradient.sum(-1), 0, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_of_bfloat16_logits(batch, dtype):
    """Computed in `dtype`; the gradient is of the logits' own type, as the products around it take it."""
    logits = batch[0].astype(jnp.bfloat16)
    value, gradient = jax.value_and_grad(lambda x: cross_entropy(x, *batch[1:], dtype).loss.sum())(logits)
    expected, autodiff = jax.value_and_grad(lambda x: total(x, *batch[1:]))(logits.astype(jnp.float32))
    assert gradient.dtype == jnp.bfloat16
    loose = 1e-6 if dtype == "float32" else 2e-2
    assert value == pytest.approx(float(expected), rel=loose)
    np.testing.assert_allclose(gradient.astype(jnp.float32), autodiff, atol=4e-3 + loose)
