"""Span corruption: hidden spans, predicted one after the other (Raffel et al. 2020)."""

import numpy as np

from scaling.objectives.config import NoiseConfig
from scaling.objectives.documents import without_last
from scaling.objectives.draws import Draws
from scaling.objectives.objective import PairObjective, Vocabulary, stack_lengths
from scaling.objectives.pairs import Pair, fitted
from scaling.objectives.spans import corrupt, noise_counts, noise_mask


class SpanCorruption(PairObjective):
    """Hides spans of each document's piece behind sentinels, which its targets spell out.

    Of a row's T + 1 tokens the first T are used, so that no token is hidden in two rows. BOS opens a
    piece as any token would; it is first, so never hidden. A piece of n tokens gives n - hidden +
    spans inputs and hidden + spans + 1 targets: what the arrays of a row of one piece hold exactly.
    """

    def __init__(self, vocabulary: Vocabulary, config: NoiseConfig, family: str, length: int):
        self.config = config
        inputs, targets = self._sizes(length)
        super().__init__(vocabulary, stack_lengths(inputs, targets, family))

    @staticmethod
    def n_sentinels(config: NoiseConfig, length: int) -> int:
        """Sentinels that a row of `length` tokens may need."""
        return noise_counts(length, config.density, config.mean_span_length)[1] + 1

    def pairs(self, row_pieces: list[np.ndarray], draws: Draws) -> list[Pair]:
        made = []
        for piece in fitted(without_last(row_pieces), self._sizes, self.lengths):
            hidden, spans = self._counts(len(piece))
            mask = noise_mask(draws, len(piece), hidden, spans)
            made.append(corrupt(piece, mask, np.array(self.vocabulary.sentinel_ids)))
        return made

    def _counts(self, n: int) -> tuple[int, int]:
        return noise_counts(n, self.config.density, self.config.mean_span_length)

    def _sizes(self, n: int) -> tuple[int, int]:
        hidden, spans = self._counts(n)
        return n - hidden + spans, hidden + spans + 1
