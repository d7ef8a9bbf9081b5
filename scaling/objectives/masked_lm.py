"""Masked language modelling for an encoder (Devlin et al. 2019)."""

import numpy as np

from scaling.objectives.config import NoiseConfig
from scaling.objectives.documents import document_positions
from scaling.objectives.draws import Draws
from scaling.objectives.lengths import Lengths
from scaling.objectives.objective import Objective, Vocabulary


class MaskedLM(Objective):
    """Of a row's text tokens a share is selected and predicted in place, from both sides.

    Of those, `mask_share` are read as the mask (the first sentinel), `random_share` as a token drawn
    evenly from the vocabulary, the rest as they are. BOS is never selected. As with span corruption
    the first T of a row's T + 1 tokens are used.
    """

    side = "encoder"

    def __init__(self, vocabulary: Vocabulary, config: NoiseConfig, length: int):
        self.vocabulary, self.config = vocabulary, config
        self.lengths = Lengths(encoder=length, decoder=0)
        special = (vocabulary.bos_id, *vocabulary.sentinel_ids)
        self._text_ids = np.setdiff1d(np.arange(vocabulary.size), special)

    def example(
        self, rows: np.ndarray, seed: int = 0, indices: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """Arrays [..., T]: `encoder_input_tokens`, `_target_tokens` (what was there), `_loss_weights`
        (1 where selected), `_segment_ids` and `_positions` (of each document's piece)."""
        tokens = rows[..., :-1].astype(np.int64)
        flat = tokens.reshape(-1, tokens.shape[-1])
        numbers = np.arange(len(flat)) if indices is None else np.reshape(indices, -1)
        inputs, weights = flat.copy(), np.zeros(flat.shape, np.float32)
        for r, number in enumerate(numbers):
            draws = Draws(seed, int(number))
            candidates = np.flatnonzero(flat[r] != self.vocabulary.bos_id)
            n = round(len(candidates) * self.config.density)
            chosen = candidates[draws.subset(len(candidates), min(max(n, 1), len(candidates)))]
            lot = draws.uniform(len(chosen))
            swapped = self._text_ids[draws.below(len(self._text_ids), len(chosen))]
            masked = lot < self.config.mask_share
            random = ~masked & (lot < self.config.mask_share + self.config.random_share)
            inputs[r, chosen[masked]] = self.vocabulary.sentinel_ids[0]
            inputs[r, chosen[random]] = swapped[random]
            weights[r, chosen] = 1
        segments, positions = document_positions(tokens, self.vocabulary.bos_id)
        return {
            "encoder_input_tokens": inputs.reshape(tokens.shape).astype(np.int32),
            "encoder_target_tokens": tokens.astype(np.int32),
            "encoder_loss_weights": weights.reshape(tokens.shape),
            "encoder_segment_ids": segments + 1,
            "encoder_positions": positions,
        }
