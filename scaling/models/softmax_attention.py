"""Attention in XLA's own operations: products of queries and keys, and values mixed by their softmax.

Gradients are written out, for those that autodiff finds read and write arrays of queries x keys twice
as often. Weights are left unnormalised and what they mix is divided instead, and the sum over keys in
the softmax's gradient is taken over the head instead (Dao et al. 2022, appendix B.2). Gradients of keys
and values are computed transposed, as XLA's CPU backend has its fast product only where the last axis of
the left side is contracted.
"""

import jax
import jax.numpy as jnp

Residuals = tuple[jax.Array, ...]


@jax.custom_vjp
def scores(query_BTHK: jax.Array, key_BSHK: jax.Array) -> jax.Array:
    """Products of queries and keys, [B, H, T, S] in float32."""
    return _scores_forward(query_BTHK, key_BSHK)[0]


def _scores_forward(query_BTHK: jax.Array, key_BSHK: jax.Array) -> tuple[jax.Array, Residuals]:
    query_BHTK, key_BHKS = query_BTHK.transpose(0, 2, 1, 3), key_BSHK.transpose(0, 2, 3, 1)
    return _product(query_BHTK, key_BHKS), (query_BTHK, key_BSHK)


def _scores_backward(residuals: Residuals, d_logits_BHTS: jax.Array) -> Residuals:
    query_BTHK, key_BSHK = residuals
    d_logits_BHTS = d_logits_BHTS.astype(query_BTHK.dtype)
    d_query_BHTK = _product(d_logits_BHTS, key_BSHK.transpose(0, 2, 1, 3))
    d_key_BHKS = _product(query_BTHK.transpose(0, 2, 3, 1), d_logits_BHTS)
    return (
        d_query_BHTK.transpose(0, 2, 1, 3).astype(query_BTHK.dtype),
        d_key_BHKS.transpose(0, 3, 1, 2).astype(key_BSHK.dtype),
    )


scores.defvjp(_scores_forward, _scores_backward)


@jax.custom_vjp
def mixed(logits_BHTS: jax.Array, value_BSHK: jax.Array) -> jax.Array:
    """Values mixed by the softmax of logits over S, [B, T, H, K] in the dtype of the values.

    A key is hidden by a logit far below a query's others; its gradient is then 0.
    """
    return _mixed_forward(logits_BHTS, value_BSHK)[0]


def _mixed_forward(logits_BHTS: jax.Array, value_BSHK: jax.Array) -> tuple[jax.Array, Residuals]:
    weights_BHTS = jnp.exp(logits_BHTS - logits_BHTS.max(-1, keepdims=True))
    total_BTH1 = weights_BHTS.sum(-1, dtype=jnp.float32).transpose(0, 2, 1)[..., None]
    weights_BHTS = weights_BHTS.astype(value_BSHK.dtype)
    sum_BHTK = _product(weights_BHTS, value_BSHK.transpose(0, 2, 1, 3))
    mixed_BTHK = (sum_BHTK.transpose(0, 2, 1, 3) / total_BTH1).astype(value_BSHK.dtype)
    no_logits = jnp.zeros(0, logits_BHTS.dtype)  # a residual is an array: only the dtype is wanted
    return mixed_BTHK, (weights_BHTS, total_BTH1, value_BSHK, mixed_BTHK, no_logits)


def _mixed_backward(residuals: Residuals, d_mixed_BTHK: jax.Array) -> Residuals:
    weights_BHTS, total_BTH1, value_BSHK, mixed_BTHK, no_logits = residuals
    d_sum_BTHK = d_mixed_BTHK.astype(jnp.float32) / total_BTH1
    inner_BHT1 = (d_sum_BTHK * mixed_BTHK).sum(-1).transpose(0, 2, 1)[..., None]
    d_sum_BTHK = d_sum_BTHK.astype(value_BSHK.dtype)
    d_weights_BHTS = _product(d_sum_BTHK.transpose(0, 2, 1, 3), value_BSHK.transpose(0, 2, 3, 1))
    d_logits_BHTS = weights_BHTS * (d_weights_BHTS - inner_BHT1)
    d_value_BHKS = _product(d_sum_BTHK.transpose(0, 2, 3, 1), weights_BHTS)
    return (
        d_logits_BHTS.astype(no_logits.dtype),
        d_value_BHKS.transpose(0, 3, 1, 2).astype(value_BSHK.dtype),
    )


mixed.defvjp(_mixed_forward, _mixed_backward)


def _product(left: jax.Array, right: jax.Array) -> jax.Array:
    """Of each row's and head's matrices, in float32."""
    return jnp.matmul(left, right, preferred_element_type=jnp.float32)
