"""The decoder-only transformer."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from scaling.models.config import DecoderConfig
from scaling.models.forward import Forward, no_tap, scaled
from scaling.models.layers import Block, RMSNorm, parameter, product, rotation
from scaling.models.parameter import Stack


class Decoder(nnx.Module):
    """Tokens in, next-token logits out; attention is causal and stays inside a segment."""

    def __init__(self, config: DecoderConfig):
        table = {"vocab": config.vocab_size, "embed": config.d_model}
        # A tied table counts as unembedding: that is where it takes part in a matrix product.
        group, in_axes = ("unembedding", ("embed",)) if config.tie_embeddings else ("embedding", ())
        self.embedding = parameter(None, table, "embed", group, in_axes)
        stack = Stack("decoder", config.n_layers, config.scan_layers)
        if config.scan_layers:
            self.layers = Block(config, stack)
        else:
            self.layers = nnx.Dict(
                {f"{i:03d}": Block(config, stack) for i in range(config.n_layers)}
            )
        self.final_norm = RMSNorm("embed", config.d_model, config.norm_epsilon)
        if not config.tie_embeddings:
            head = {"embed": config.d_model, "vocab": config.vocab_size}
            self.unembedding = parameter(None, head, "unembed", "unembedding", ("embed",))
        self.config = config

    def __call__(
        self,
        tokens_BT: jax.Array,
        positions_BT: jax.Array,
        segments_BT: jax.Array,
        forward: Forward,
    ) -> jax.Array:
        """Logits [B, T, V] in the compute dtype.

        positions_BT: within each document, below T.
        segments_BT: positions attend only to their own segment (packed documents).
        """
        dtype = jnp.dtype(self.config.compute_dtype)
        x_BTD = jnp.take(self.embedding[...], tokens_BT, axis=0).astype(dtype)
        x_BTD = forward.constrain(x_BTD, ("batch", "length", "embed"))
        forward.tap("embedding", x_BTD)
        by = rotation(positions_BT, self.config.d_head, self.config.rope_base)
        length = tokens_BT.shape[1]
        causal_TT = jnp.tril(jnp.ones((length, length), bool))
        mask_BTT = causal_TT & (segments_BT[:, :, None] == segments_BT[:, None, :])
        if self.config.scan_layers:
            graph, stacked = nnx.split(self.layers)
            unseen = dataclasses.replace(forward, tap=no_tap)

            def body(x, leaves):
                block = nnx.merge(graph, leaves)
                return block(x, by, mask_BTT, unseen), None

            x_BTD, _ = jax.lax.scan(body, x_BTD, stacked)
        else:
            for name in sorted(self.layers):
                x_BTD = self.layers[name](x_BTD, by, mask_BTT, forward)
        x_BTD = self.final_norm(x_BTD)
        forward.tap("final", x_BTD)
        x_BTD = scaled(x_BTD, forward.multipliers.readout)
        if self.config.tie_embeddings:
            logits_BTV = product(x_BTD, self.embedding[...].T)
        else:
            logits_BTV = product(x_BTD, self.unembedding[...])
        forward.tap("output", logits_BTV)
        return forward.constrain(logits_BTV, ("batch", "length", "vocab"))
