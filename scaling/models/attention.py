"""Attention, of a stack to itself and of a decoder to an encoder."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from scaling.models.config import TransformerConfig
from scaling.models.forward import Forward, KeysValues, scaled
from scaling.models.kernels import attend
from scaling.models.layers import Dense, Norm
from scaling.models.parameter import Stack
from scaling.models.positions import Rotation, rotate
from scaling.models.splash import Pattern


class Scope(NamedTuple):
    """What one kind of attention may see, the same in every layer of a stack.

    mask_BTS: bool, true where query t may read key s.
    rotation: of queries and keys, for rotary positions. bias_HTS: added to the logits.
    pattern: what the mask comes from, where that can be said without a batch.
    """

    mask_BTS: jax.Array
    rotation: Rotation | None = None
    bias_HTS: jax.Array | None = None
    pattern: Pattern | None = None


def self_mask(
    segments_BS: jax.Array,
    causal: bool,
    window: int,
    prefix_BS: jax.Array | None = None,
    asking_T: jax.Array | None = None,
) -> jax.Array:
    """bool [B, T, S]: within a segment; if causal, to the left or in the segment's prefix.

    window: keys less than so many positions away, or 0 for all. asking_T: places of the queries in
    the row; None: every place asks.
    """
    every_S = jnp.arange(segments_BS.shape[1])
    asking_BT = segments_BS if asking_T is None else segments_BS[:, asking_T]
    behind_TS = (every_S if asking_T is None else asking_T)[:, None] - every_S
    seen_BTS = asking_BT[:, :, None] == segments_BS[:, None, :]
    if causal and prefix_BS is not None:
        seen_BTS &= (behind_TS >= 0) | (prefix_BS[:, None, :] > 0)
    elif causal:
        seen_BTS &= behind_TS >= 0
    return seen_BTS & (jnp.abs(behind_TS) < window) if window else seen_BTS


class Attention(Dense):
    """Multi-head attention over the positions that the mask allows.

    cross: queries from one stack, keys and values from another. A query without any key to read (a
    decoder segment whose encoder segment is empty) gets zeros.
    """

    def __init__(self, config: TransformerConfig, stack: Stack, cross: bool = False):
        super().__init__(config, stack, "attention")
        embed = {"embed": config.d_model}
        kv_heads = "heads" if config.kv_heads == config.n_heads else "kv_heads"
        self.add("query", embed, {"heads": config.n_heads, "kv": config.d_head})
        self.add("key", embed, {kv_heads: config.kv_heads, "kv": config.d_head})
        self.add("value", embed, {kv_heads: config.kv_heads, "kv": config.d_head})
        self.add("out", {"heads": config.n_heads, "kv": config.d_head}, embed)
        if config.qk_norm:
            self.query_norm = Norm(config, "kv", stack)
            self.key_norm = Norm(config, "kv", stack)
        self._prefix = "cross_" if cross else ""

    @jax.named_scope("attention")
    def __call__(
        self, x_BTD: jax.Array, source_BSD: jax.Array | None, scope: Scope, forward: Forward
    ) -> jax.Array:
        """x_BTD asks, source_BSD answers; they are the same in self-attention.

        A decoder that generates is given keys and values by `forward.recall`: of what it read before,
        too, or (in cross-attention, without a source) of what it read once.
        """

        def project(name: str, x: jax.Array, heads: str) -> jax.Array:
            return forward.constrain(self.apply(name, x), ("batch", "length", heads, "kv"))

        def of_source() -> KeysValues:
            key, value = (project(name, source_BSD, "kv_heads") for name in ("key", "value"))
            if config.qk_norm:
                key = self.key_norm(key)
            forward.tap(self._prefix + "key", key)
            forward.tap(self._prefix + "value", value)
            return KeysValues(key if scope.rotation is None else rotate(key, scope.rotation), value)

        config = self._config
        query = project("query", x_BTD, "heads")
        if config.qk_norm:
            query = self.query_norm(query)
        forward.tap(self._prefix + "query", query)
        if scope.rotation is not None:
            query = rotate(query, scope.rotation)
        query = scaled(query, forward.multipliers.attention)
        key, value = forward.recall(self._prefix + "attention", of_source)
        mixed_BTHK = attend(
            config, query, key, value, scope.mask_BTS, scope.bias_HTS, scope.pattern, forward.constrain,
            tap=lambda logits: forward.tap(self._prefix + "attention_logits", logits),
        )
        if self._prefix:  # in self-attention a query always has itself to read
            some_BT11 = scope.mask_BTS.any(-1)[:, :, None, None]
            mixed_BTHK = jnp.where(some_BT11, mixed_BTHK, 0)
        return self.apply("out", mixed_BTHK, n_in=2)
