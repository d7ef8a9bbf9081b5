"""Losses as sums, so that microbatches, devices and evaluation shards add exactly."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp


class LossSums(NamedTuple):
    """loss: sum of weighted nats; weight: sum of weights. Arrays of one common shape."""

    loss: jax.Array
    weight: jax.Array

    def __add__(self, other: "LossSums") -> "LossSums":
        return LossSums(self.loss + other.loss, self.weight + other.weight)


def cross_entropy(
    logits_BTV: jax.Array, targets_BT: jax.Array, weights_BT: jax.Array, dtype: str = "float32"
) -> LossSums:
    """Negative log-likelihood in nats, summed over each row: two arrays [B], in float32.

    dtype: of each target's.
    """
    nats_BT = _nats(logits_BTV, targets_BT, dtype) * weights_BT
    return LossSums(nats_BT.sum(axis=-1), weights_BT.sum(axis=-1))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _nats(logits_BTV: jax.Array, targets_BT: jax.Array, dtype: str) -> jax.Array:
    """Of each target, float32. Its gradient is written in one go, in the dtype of the logits: autodiff
    would add to one entry of each row of an array of its own, as large as the logits, in `dtype`."""
    return _nats_forward(logits_BTV, targets_BT, dtype)[0]


def _nats_forward(logits_BTV, targets_BT, dtype):
    wide_BTV = logits_BTV.astype(dtype)
    most_BT1 = wide_BTV.max(axis=-1, keepdims=True)
    exponentials_BTV = jnp.exp(wide_BTV - most_BT1)
    total_BT1 = exponentials_BTV.sum(axis=-1, keepdims=True)
    target_BT1 = jnp.take_along_axis(wide_BTV, targets_BT[..., None], axis=-1)
    nats_BT1 = jnp.log(total_BT1) + (most_BT1 - target_BT1)
    # narrower logits are kept in their place, and raised again
    kept_BTV = exponentials_BTV if logits_BTV.dtype == dtype else logits_BTV
    return nats_BT1[..., 0].astype(jnp.float32), (kept_BTV, targets_BT, most_BT1, total_BT1)


def _nats_backward(dtype, residuals, d_nats_BT):
    kept_BTV, targets_BT, most_BT1, total_BT1 = residuals
    # or XLA would find that where the targets are is known before the update, and write it out
    targets_BT, total_BT1 = jax.lax.optimization_barrier((targets_BT, total_BT1))
    exponentials_BTV = kept_BTV
    if kept_BTV.dtype != dtype:
        exponentials_BTV = jnp.exp(kept_BTV.astype(dtype) - most_BT1)
    d_BT1 = d_nats_BT[..., None].astype(dtype)
    here_BTV = targets_BT[..., None] == jnp.arange(kept_BTV.shape[-1])
    d_logits_BTV = jnp.where(here_BTV, exponentials_BTV - total_BT1, exponentials_BTV) * (d_BT1 / total_BT1)
    return d_logits_BTV.astype(kept_BTV.dtype), None


_nats.defvjp(_nats_forward, _nats_backward)


def z_penalty(logits_BTV: jax.Array, weights_BT: jax.Array, dtype: str = "float32") -> jax.Array:
    """Sum of weighted squared log-normalisers, float32: what z-loss keeps small (de Brebisson &
    Vincent 2016; Chowdhery et al. 2022 take 1e-4 of it)."""
    log_normaliser_BT = jax.nn.logsumexp(logits_BTV.astype(dtype), axis=-1).astype(jnp.float32)
    return (log_normaliser_BT**2 * weights_BT).sum()
