"""Implementations of attention by name. A named one runs or says why it cannot; none is swapped."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from scaling.models import splash
from scaling.models.config import TransformerConfig
from scaling.models.forward import Constrain, no_constraint
from scaling.models.layers import soft_capped
from scaling.models.softmax_attention import mixed, scores
from scaling.models.splash import Pattern

MAX_PARTS = 4  # each is compiled


def chosen_attention(
    config: TransformerConfig, platform: str, lengths: Mapping[str, int], prefix: bool = False
) -> str:
    """`xla`, `cudnn` or `splash`, what `config.attention` comes to on a platform (`cpu`, `gpu`, `tpu`).

    `auto` takes cuDNN or splash where it can run. lengths: of each stack's rows. prefix: whether a
    decoder's rows have a part that is read in both directions.
    Raises `UserError` where the one that is named cannot run.
    """
    if config.attention == "xla":
        return "xla"
    obstacles = {
        "cudnn": _cudnn_obstacle(config, platform, lengths),
        "splash": splash.obstacle(config, platform, lengths, prefix),
    }
    if config.attention == "auto":
        return next((name for name, obstacle in obstacles.items() if not obstacle), "xla")
    if obstacle := obstacles[config.attention]:
        kernel = {"cudnn": "cuDNN's kernel", "splash": "the splash kernel"}[config.attention]
        raise config.refuse("attention", f"'xla' or 'auto': {kernel} {obstacle}")
    return config.attention


def _cudnn_obstacle(
    config: TransformerConfig, platform: str, lengths: Mapping[str, int]
) -> str | None:
    if platform != "gpu":
        return f"runs on NVIDIA GPUs, and this is a {platform}"
    if config.compute_dtype != "bfloat16":
        return f"takes bfloat16, and compute_dtype is {config.compute_dtype}"
    if config.attention_soft_cap:
        return "has no soft cap, and attention_soft_cap is set"
    if config.d_head % 8 or config.d_head > 128:
        return f"takes heads of a multiple of 8 up to 128, and theirs is {config.d_head}"
    for stack in config.depths:
        if lengths[stack] % 2:
            return f"takes rows of an even length, and the {stack}'s have {lengths[stack]}"
    return None


@jax.named_scope("attention_scores")
def attend(
    config: TransformerConfig,
    query_BTHK: jax.Array,
    key_BSGK: jax.Array,
    value_BSGK: jax.Array,
    mask_BTS: jax.Array,
    bias_HTS: jax.Array | None,
    pattern: Pattern | None = None,
    constrain: Constrain = no_constraint,
    tap=lambda logits: None,
) -> jax.Array:
    """[B, T, H, K]: values mixed by softmax(queries keys^T + bias) over the keys in the mask.

    By the implementation that the config names; `auto` is for `chosen_attention` to replace.
    Queries come scaled. A query that the mask leaves no key gets what its implementation gives.
    pattern: what splash makes its mask of. tap: sees the float32 logits, of some rows at a time where a
    device has threads; only `xla` has them to show.
    """
    if config.attention == "auto":
        raise ValueError("attention is 'auto': chosen_attention says what that comes to")
    if config.attention == "splash":
        if pattern is None:
            raise ValueError("splash attention of a mask that is no pattern")
        heads = ("batch", "length", "heads", "kv")
        kv_heads = ("batch", "length", "heads" if config.kv_heads == config.n_heads else "kv_heads", "kv")
        rows = ("batch", "length")

        def on_device(query, key, value, asking, read):
            parts = pattern._replace(asking_BT=asking, read_BS=read)
            return splash.splash(config, query, key, value, parts)

        return constrain.on_each_device(on_device, (heads, kv_heads, kv_heads, rows, rows), heads)(
            query_BTHK, key_BSGK, value_BSGK, pattern.asking_BT, pattern.read_BS
        )
    if config.attention == "cudnn":
        bias = None if bias_HTS is None else bias_HTS[None].astype(query_BTHK.dtype)
        return jax.nn.dot_product_attention(
            query_BTHK, key_BSGK, value_BSGK, bias=bias, mask=mask_BTS[:, None], scale=1.0,
            is_causal=pattern is not None and pattern.causal,  # half of the mask's blocks are skipped
            implementation="cudnn",
        )
    # XLA's CPU backend multiplies small matrices on one thread: rows in parts keep the others at work
    most = min(constrain.threads, MAX_PARTS)
    parts = max(n for n in range(1, most + 1) if len(query_BTHK) % n == 0)
    each = zip(*(jnp.split(x, parts) for x in (query_BTHK, key_BSGK, value_BSGK, mask_BTS)))
    return jnp.concatenate([_by_xla(config, *rows, bias_HTS, tap) for rows in each])


def _by_xla(
    config: TransformerConfig,
    query_BTHK: jax.Array,
    key_BSGK: jax.Array,
    value_BSGK: jax.Array,
    mask_BTS: jax.Array,
    bias_HTS: jax.Array | None,
    tap,
) -> jax.Array:
    shared = config.n_heads // config.kv_heads
    if shared > 1:
        key_BSGK, value_BSGK = (jnp.repeat(x, shared, axis=2) for x in (key_BSGK, value_BSGK))
    logits_BHTS = scores(query_BTHK, key_BSGK)
    if bias_HTS is not None:
        logits_BHTS += bias_HTS
    logits_BHTS = soft_capped(logits_BHTS, config.attention_soft_cap)
    tap(logits_BHTS)
    logits_BHTS = logits_BHTS.astype(config.softmax_dtype)
    least = jnp.finfo(logits_BHTS.dtype).min
    return mixed(jnp.where(mask_BTS[:, None], logits_BHTS, least), value_BSGK)
