"""The rest of each document's piece, predicted from its beginning (Raffel et al. 2020)."""

import numpy as np

from scaling.objectives.config import NoiseConfig
from scaling.objectives.draws import Draws
from scaling.objectives.lengths import Lengths
from scaling.objectives.objective import PairObjective, Vocabulary, stack_lengths
from scaling.objectives.pairs import Pair, fitted


class PrefixLM(PairObjective):
    """A piece of n tokens is split in two; both families are asked for the same suffix.

    The whole row, T + 1 tokens, is used: the token it shares with the next row is a target once.
    """

    def __init__(self, vocabulary: Vocabulary, config: NoiseConfig, family: str, length: int):
        """length: T, the targets of a row under causal LM."""
        self.config = config
        if config.prefix == "fixed" or family == "decoder":
            n_inputs = prefix_size(length + 1, config.prefix_fraction)
            lengths = stack_lengths(n_inputs, length + 1 - n_inputs, family)
        else:
            lengths = Lengths(length, length)
        super().__init__(vocabulary, lengths)

    def pairs(self, row_pieces: list[np.ndarray], draws: Draws) -> list[Pair]:
        points = draws.uniform(len(row_pieces))

        def split(n: int) -> tuple[int, int]:
            return (n_inputs := prefix_size(n, self.config.prefix_fraction)), n - n_inputs

        if self.config.prefix == "fixed":
            kept = fitted(row_pieces, split, self.lengths)
            return [Pair(*np.split(piece, [split(len(piece))[0]])) for piece in kept]
        # any split of whole pieces fits: where there are two stacks, each has room for all but one
        kept = fitted(row_pieces, lambda n: (1, n - 1), self.lengths)
        return [
            Pair(*np.split(piece, [1 + int(point * (len(piece) - 1))]))
            for piece, point in zip(kept, points)
        ]


def prefix_size(n: int, fraction: float) -> int:
    """Inputs among n tokens, n at least 2; at least one, and at least one target."""
    return min(max(round(n * fraction), 1), n - 1)
