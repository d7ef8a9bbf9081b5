"""What every family has around its stacks: tables of tokens and positions, and the readout."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from scaling.models.attention import Scope, self_mask
from scaling.models.config import TransformerConfig
from scaling.models.forward import Forward, scaled
from scaling.models.layers import parameter, product, soft_capped
from scaling.models.parameter import StackName
from scaling.models.positions import relative_buckets, rotation
from scaling.models.splash import Pattern


class Inputs(NamedTuple):
    """One stack's part of a batch, int arrays [B, T].

    positions: count up from 0 within a segment. segments: positions attend only to their own
    segment; 0 is padding. prefix: 1 where the whole segment may read, to the left of it too; None: nowhere.
    """

    tokens: jax.Array
    positions: jax.Array
    segments: jax.Array
    prefix: jax.Array | None = None

    @classmethod
    def of(cls, batch: dict[str, jax.Array], side: StackName) -> "Inputs":
        names = ("input_tokens", "positions", "segment_ids")
        prefix = batch.get(f"{side}_prefix")
        return cls(*(batch[f"{side}_{name}"] for name in names), prefix)

    def in_use(self, forward: Forward) -> Forward:
        """The forward pass that knows which of these positions are padding."""
        return dataclasses.replace(forward, live_BT=self.segments > 0)


class Row(NamedTuple):
    """The row that some inputs are a part of: int [B, S] arrays as in `Inputs`, and their places in it."""

    segments: jax.Array
    prefix: jax.Array | None
    asking_T: jax.Array | None = None


class Transformer(nnx.Module):
    """Base of the families: embeds tokens, says what attention may see, reads logits out.

    All families share the names `embedding` and `unembedding`. A table of positions or of relative
    biases belongs to a stack: the encoder's begin with `encoder_`.
    """

    def __init__(self, config: TransformerConfig):
        table = {"vocab": config.vocab_size, "embed": config.d_model}
        # A tied table counts as unembedding: that is where it takes part in a matrix product.
        group, in_axes = ("unembedding", ("embed",)) if config.tie_embeddings else ("embedding", ())
        self.embedding = parameter(None, table, "embed", group, in_axes)
        if not config.tie_embeddings:
            head = {"embed": config.d_model, "vocab": config.vocab_size}
            self.unembedding = parameter(None, head, "unembed", "unembedding", ("embed",))
        for side in config.depths:
            if config.positions == "learned":
                dims = {"length": config.max_length, "embed": config.d_model}
                table = parameter(None, dims, "embed", "position")
                setattr(self, stack_leaf(side, "position_embedding"), table)
            elif config.positions == "relative":
                dims = {"buckets": config.relative_buckets, "heads": config.n_heads}
                table = parameter(None, dims, "vector", "position")
                setattr(self, stack_leaf(side, "relative_bias"), table)
        self.config = config

    @jax.named_scope("embedding")
    def embed(self, inputs: Inputs, side: StackName, forward: Forward) -> jax.Array:
        """[B, T, D] in the compute dtype."""
        dtype = jnp.dtype(self.config.compute_dtype)
        x_BTD = jnp.take(self.embedding[...], inputs.tokens, axis=0).astype(dtype)
        if self.config.positions == "learned":
            table = getattr(self, stack_leaf(side, "position_embedding"))[...]
            x_BTD = x_BTD + jnp.take(table, inputs.positions, axis=0).astype(dtype)
        x_BTD = forward.dropped(x_BTD, self.config.dropout)
        x_BTD = forward.constrain(x_BTD, ("batch", "length", "embed"))
        forward.tap("embedding", x_BTD)
        return x_BTD

    def scope(self, inputs: Inputs, side: StackName, row: Row | None = None) -> Scope:
        """Of a stack's attention to itself. row: where `inputs` are a part of one; None: all of it."""
        config, causal = self.config, side == "decoder"
        whole = row or Row(inputs.segments, inputs.prefix)
        mask_BTS = self_mask(whole.segments, causal, config.window, whole.prefix, whole.asking_T)
        length = whole.segments.shape[1]
        pattern = None
        if row is None and inputs.prefix is None:
            pattern = Pattern(inputs.segments, inputs.segments, causal, config.window)
        if config.positions == "rope":
            turns = rotation(inputs.positions, config.d_head, config.rope_base, length)
            return Scope(mask_BTS, turns, pattern=pattern)
        if config.positions == "relative":
            # a prefix is read from its left too, so distances of both signs have meaning there
            buckets = relative_buckets(
                np.arange(1 - length, length), causal and whole.prefix is None,
                config.relative_buckets, config.relative_max_distance,
            )
            every_S = np.arange(length)
            asking_T = every_S if whole.asking_T is None else whole.asking_T
            behind_TS = asking_T[:, None] - every_S
            table = getattr(self, stack_leaf(side, "relative_bias"))[...]
            bias_TSH = table[jnp.asarray(buckets)[behind_TS + length - 1]]
            return Scope(mask_BTS, None, jnp.moveaxis(bias_TSH, -1, 0))
        return Scope(mask_BTS, pattern=pattern)

    @jax.named_scope("unembedding")
    def readout(self, x_BTD: jax.Array, forward: Forward) -> jax.Array:
        """Logits [B, T, V] in the compute dtype."""
        forward.tap("final", x_BTD)
        x_BTD = scaled(x_BTD, forward.multipliers.readout)
        if self.config.tie_embeddings:
            logits_BTV = product(x_BTD, self.embedding[...].T)
        else:
            logits_BTV = product(x_BTD, self.unembedding[...])
        logits_BTV = soft_capped(logits_BTV, self.config.logit_soft_cap)
        forward.tap("output", logits_BTV)
        return forward.constrain(logits_BTV, ("batch", "length", "vocab"))


def stack_leaf(side: StackName, name: str) -> str:
    """The name of a leaf that belongs to a stack as a whole."""
    return f"encoder_{name}" if side == "encoder" else name
