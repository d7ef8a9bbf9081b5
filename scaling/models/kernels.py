"""Implementations of attention by name. A named one runs or says why it cannot; none is swapped."""

import jax
import jax.numpy as jnp

from scaling.models.config import TransformerConfig
from scaling.models.layers import soft_capped


def chosen_attention(config: TransformerConfig, platform: str) -> str:
    """`xla` or `cudnn`, what `config.attention` comes to on a platform (`cpu`, `gpu`, `tpu`).

    `auto` takes cuDNN where it can run. Raises `UserError` where the one that is named cannot.
    """
    if config.attention == "xla":
        return "xla"
    obstacle = _cudnn_obstacle(config, platform)
    if config.attention == "auto":
        return "xla" if obstacle else "cudnn"
    if obstacle:
        raise config.refuse("attention", f"'xla' or 'auto': cuDNN's kernel {obstacle}")
    return "cudnn"


def _cudnn_obstacle(config: TransformerConfig, platform: str) -> str | None:
    if platform != "gpu":
        return f"runs on NVIDIA GPUs, and this is a {platform}"
    if config.compute_dtype != "bfloat16":
        return f"takes bfloat16, and compute_dtype is {config.compute_dtype}"
    if config.attention_soft_cap:
        return "has no soft cap, and attention_soft_cap is set"
    if config.d_head % 8 or config.d_head > 128:
        return f"takes heads of a multiple of 8 up to 128, and theirs is {config.d_head}"
    return None


def attend(
    config: TransformerConfig,
    query_BTHK: jax.Array,
    key_BSGK: jax.Array,
    value_BSGK: jax.Array,
    mask_BTS: jax.Array,
    bias_HTS: jax.Array | None,
    tap=lambda logits: None,
) -> jax.Array:
    """[B, T, H, K]: values mixed by softmax(queries keys^T + bias) over the keys in the mask.

    Queries come scaled. A query that the mask leaves no key gets what its implementation gives.
    tap: sees the float32 logits; cuDNN has none to show.
    """
    if chosen_attention(config, jax.default_backend()) == "cudnn":
        bias = None if bias_HTS is None else bias_HTS[None].astype(query_BTHK.dtype)
        return jax.nn.dot_product_attention(
            query_BTHK, key_BSGK, value_BSGK, bias=bias, mask=mask_BTS[:, None], scale=1.0,
            implementation="cudnn",
        )
    shared = config.n_heads // config.kv_heads
    if shared > 1:
        key_BSGK, value_BSGK = (jnp.repeat(x, shared, axis=2) for x in (key_BSGK, value_BSGK))
    logits_BHTS = jnp.einsum(
        "bthk,bshk->bhts", query_BTHK, key_BSGK, preferred_element_type=jnp.float32
    )
    if bias_HTS is not None:
        logits_BHTS += bias_HTS
    logits_BHTS = soft_capped(logits_BHTS, config.attention_soft_cap)
    tap(logits_BHTS)
    logits_BHTS = logits_BHTS.astype(config.softmax_dtype)
    least = jnp.finfo(logits_BHTS.dtype).min
    logits_BHTS = jnp.where(mask_BTS[:, None], logits_BHTS, least)
    weights_BHTS = jax.nn.softmax(logits_BHTS, axis=-1).astype(query_BTHK.dtype)
    return jnp.einsum("bhts,bshk->bthk", weights_BHTS, value_BSGK)
