"""Next-token prediction over packed documents."""

import dataclasses

import jax
import numpy as np

from scaling.objectives.losses import LossSums, cross_entropy


@dataclasses.dataclass(frozen=True)
class CausalLM:
    """Each token of a document is predicted from those before it in the same document.

    bos_id: the token that opens every document; it is an input and never a target.
    """

    bos_id: int

    def example(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Batch from packed rows, int [..., T + 1]; every array is [..., T].

        A row may hold the end of one document and the start of the next: each gets a segment of
        its own, positions that start at 0, and no target crosses between them.
        """
        inputs, targets = rows[..., :-1], rows[..., 1:]
        starts = inputs == self.bos_id
        index = np.arange(inputs.shape[-1], dtype=np.int32)
        last_start = np.maximum.accumulate(np.where(starts, index, 0), axis=-1)
        return {
            "decoder_input_tokens": inputs.astype(np.int32),
            "decoder_target_tokens": targets.astype(np.int32),
            "decoder_loss_weights": (targets != self.bos_id).astype(np.float32),
            "decoder_segment_ids": np.cumsum(starts, axis=-1, dtype=np.int32),
            "decoder_positions": (index - last_start).astype(np.int32),
        }

    def loss(self, logits: jax.Array, batch: dict[str, jax.Array]) -> LossSums:
        """Row sums [B] of nats and of weights."""
        return cross_entropy(
            logits, batch["decoder_target_tokens"], batch["decoder_loss_weights"]
        )
