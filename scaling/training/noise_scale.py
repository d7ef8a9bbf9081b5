"""The gradient-noise scale: how many tokens a batch can hold before averaging stops paying.

McCandlish et al. 2018 ("An Empirical Model of Large-Batch Training", appendix A.1): the squared norm
of a gradient over B tokens has the mean |G|^2 + S / B, with G the true gradient and S the trace of
the covariance of one token's. Two batch sizes give both unbiased, and B_simple = S / |G|^2. A run at
that batch needs about twice the fewest possible steps, and twice the fewest possible tokens.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax


def gradient_moments(mean_loss: Callable[[Any, Any], jax.Array]) -> Callable[[Any, Any], tuple]:
    """A function of parameters and k stacked batches: (mean of |g_i|^2, |mean of g_i|^2)."""

    def moments(params: Any, batches: Any) -> tuple[jax.Array, jax.Array]:
        def add(carry, batch):
            total, squares = carry
            gradient = jax.grad(mean_loss)(params, batch)
            return (jax.tree.map(jnp.add, total, gradient), squares + _square(gradient)), None

        start = jax.tree.map(jnp.zeros_like, params), jnp.float32(0)
        (total, squares), _ = jax.lax.scan(add, start, batches)
        k = jax.tree.leaves(batches)[0].shape[0]
        return squares / k, _square(total) / k**2

    return moments


def noise_scale(micro: float, whole: float, n_batches: int, tokens_per_batch: int) -> float | None:
    """B_simple in tokens, from the moments of `gradient_moments`; None where they cannot tell.

    They cannot where the noise is so large that the estimate of |G|^2 comes out at 0 or below.
    """
    signal = (n_batches * whole - micro) / (n_batches - 1)
    variance = (micro - whole) * n_batches / (n_batches - 1) * tokens_per_batch
    if not (math.isfinite(signal) and math.isfinite(variance)) or signal <= 0 or variance < 0:
        return None
    return variance / signal


def _square(tree: Any) -> jax.Array:
    return optax.global_norm(tree) ** 2
