"""The loss of all targets, with the logits of some positions at a time.

Logits are the largest array of a small model with a large vocabulary: positions x vocabulary, in
float32 with their gradient eight bytes each. In chunks of positions, made again in the backward pass, they
cost one chunk.
"""

from typing import Any

import jax
import jax.numpy as jnp

from scaling.models import ForwardMultipliers, Model
from scaling.models.forward import Constrain
from scaling.objectives import LossSums, Objective


def targets_loss(
    model: Model,
    objective: Objective,
    params: Any,
    hidden_BTD: jax.Array,
    batch: dict[str, jax.Array],
    forward: ForwardMultipliers,
    constrain: Constrain,
    with_penalty: bool,
) -> tuple[LossSums, jax.Array]:
    """Row sums [B] of nats and weights, and the sum that z-loss penalises (0 unless it is asked for)."""
    dtype, chunk = model.config.loss_dtype, model.config.loss_chunk

    def of(params: Any, hidden: jax.Array, part: dict[str, jax.Array]) -> tuple[LossSums, jax.Array]:
        logits = model.readout(params, hidden, forward, constrain)
        with jax.named_scope("loss"):
            sums = objective.loss(logits, part, dtype)
            return sums, objective.z_penalty(logits, part, dtype) if with_penalty else jnp.float32(0)

    asked = {name: batch[name] for name in objective.asked}
    length = hidden_BTD.shape[1]
    if not chunk or chunk >= length:
        return of(params, hidden_BTD, asked)
    n_chunks = -(-length // chunk)

    def in_chunks(x: jax.Array) -> jax.Array:
        """[B, T, ...] as [chunks, B, chunk, ...]; what is padded has weight 0."""
        padding = [(0, 0), (0, n_chunks * chunk - length), *[(0, 0)] * (x.ndim - 2)]
        x = jnp.pad(x, padding)
        return x.reshape(x.shape[0], n_chunks, chunk, *x.shape[2:]).swapaxes(0, 1)

    def add(total: tuple[LossSums, jax.Array], parts: tuple) -> tuple[tuple[LossSums, jax.Array], None]:
        return jax.tree.map(jnp.add, total, jax.checkpoint(of)(params, *parts)), None

    rows = jnp.zeros(hidden_BTD.shape[0], jnp.float32)
    start = LossSums(rows, rows), jnp.float32(0)
    return jax.lax.scan(add, start, jax.tree.map(in_chunks, (hidden_BTD, asked)))[0]
