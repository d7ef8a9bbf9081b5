"""Norms over the last axis, in float32, that keep little for their gradients.

Autodiff keeps the input in float32 and the normalised input; written out, the gradient needs the input as
it came and one number a row (Zhang & Sennrich 2019, section 4, give it for the root mean square).
"""

import functools

import jax
import jax.numpy as jnp


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def normalized(
    x: jax.Array, gain: jax.Array | None, bias: jax.Array | None, centred: bool, epsilon: float
) -> jax.Array:
    """x / rms(x), or where it is `centred` (x - mean(x)) / std(x); times gain, plus bias, in x's dtype.

    x: [..., D]. gain, bias: [D] or None. What overflows when it is squared is no number any more: it
    would be 0, and a run that is lost would go on.
    """
    return _forward(x, gain, bias, centred, epsilon)[0]


def _forward(x, gain, bias, centred, epsilon):
    x32 = _centred(x, centred)
    mean_square = jnp.mean(x32 * x32, axis=-1, keepdims=True)
    scale = jnp.where(jnp.isfinite(mean_square), jax.lax.rsqrt(mean_square + epsilon), jnp.nan)
    y = x32 * scale
    if gain is not None:
        y = y * gain
    if bias is not None:
        y = y + bias
    return y.astype(x.dtype), (x, scale, gain, bias)


def _backward(centred, epsilon, residuals, dy):
    x, scale, gain, bias = residuals
    unit, dy32, rows = _centred(x, centred) * scale, dy.astype(jnp.float32), tuple(range(dy.ndim - 1))
    d_unit = dy32 if gain is None else dy32 * gain
    dx = d_unit - unit * jnp.mean(d_unit * unit, axis=-1, keepdims=True)
    if centred:
        dx = dx - jnp.mean(d_unit, axis=-1, keepdims=True)
    d_gain = None if gain is None else (dy32 * unit).sum(rows).astype(gain.dtype)
    d_bias = None if bias is None else dy32.sum(rows).astype(bias.dtype)
    return (dx * scale).astype(x.dtype), d_gain, d_bias


normalized.defvjp(_forward, _backward)


def _centred(x: jax.Array, centred: bool) -> jax.Array:
    x32 = x.astype(jnp.float32)
    return x32 - jnp.mean(x32, axis=-1, keepdims=True) if centred else x32
