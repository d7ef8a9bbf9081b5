"""Splash attention, JAX's Pallas kernel for TPUs: no array of queries x keys is ever held.

It makes its mask from segment ids and a pattern that is known before the batch is.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import jax

from scaling.models.config import TransformerConfig

LANES = 128  # of a TPU's vector unit: rows are computed in blocks of a multiple of it
MAX_BLOCK = 512


class Pattern(NamedTuple):
    """Which keys a query may read, said without a batch: those of its own segment (ids int [B, T] and
    [B, S]) at its place or before it (`causal`), less than `window` places away (0: at any)."""

    asking_BT: jax.Array
    read_BS: jax.Array
    causal: bool = False
    window: int = 0


def obstacle(
    config: TransformerConfig, platform: str, lengths: Mapping[str, int], prefix: bool
) -> str | None:
    """Why it cannot run, or None. lengths: of each stack's rows. prefix: whether rows have one."""
    if platform != "tpu":
        return f"runs on TPUs, and this is a {platform}"
    if config.compute_dtype == "float16":
        return "takes bfloat16 and float32, and compute_dtype is float16"
    if config.softmax_dtype != "float32":
        return f"computes its softmax in float32, and softmax_dtype is {config.softmax_dtype}"
    if config.positions == "relative":
        return "adds no bias, and positions is 'relative'"
    if prefix:
        return "has no mask for a prefix that is read in both directions, and the objective makes one"
    for stack in config.depths:
        if lengths[stack] % LANES:
            return f"takes rows of a multiple of {LANES}, and the {stack}'s have {lengths[stack]}"
    return None


def splash(
    config: TransformerConfig,
    query_BTHK: jax.Array,
    key_BSGK: jax.Array,
    value_BSGK: jax.Array,
    pattern: Pattern,
) -> jax.Array:
    """[B, T, H, K], of one device's rows and heads; queries come scaled.

    A query without any key to read gets some average of values, and sends no gradient where that is
    not used.
    """
    # imported where it is used: a quarter of a second
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernel
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    queries, keys = query_BTHK.shape[1], key_BSGK.shape[1]
    shape, window = (queries, keys), pattern.window - 1 if pattern.window else None
    if window is not None:
        mask = masks.LocalMask(shape, (window, 0 if pattern.causal else window), offset=0)
    else:
        mask = masks.CausalMask(shape) if pattern.causal else masks.FullMask(shape)
    q, k = math.gcd(queries, MAX_BLOCK), math.gcd(keys, MAX_BLOCK)
    attention = kernel.make_splash_mha_single_device(
        masks.MultiHeadMask([mask] * query_BTHK.shape[2]),
        block_sizes=kernel.BlockSizes(
            block_q=q, block_kv=k, block_q_dkv=q, block_kv_dkv=k, block_q_dq=q, block_kv_dq=k
        ),
        attn_logits_soft_cap=config.attention_soft_cap or None,
    )
    heads_first = (x.swapaxes(1, 2) for x in (query_BTHK, key_BSGK, value_BSGK))
    segments = kernel.SegmentIds(pattern.asking_BT, pattern.read_BS)
    return jax.vmap(attention)(*heads_first, segments).swapaxes(1, 2)

