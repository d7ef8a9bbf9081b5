"""UL2's mixture of denoisers (Tay et al. 2022)."""

from typing import NamedTuple

import numpy as np

from scaling.objectives.config import NoiseConfig
from scaling.objectives.documents import without_last
from scaling.objectives.draws import Draws
from scaling.objectives.objective import PairObjective, Vocabulary, stack_lengths
from scaling.objectives.pairs import Pair, fitted
from scaling.objectives.prefix_lm import prefix_size
from scaling.objectives.spans import corrupt, noise_counts, noise_mask

MODES = ("R", "S", "X")


class Denoiser(NamedTuple):
    """mean_span_length None: the S-denoiser, whose one hidden stretch is the end of the text."""

    mode: str
    density: float
    mean_span_length: float | None


class MixtureOfDenoisers(PairObjective):
    """Each row is given to one of UL2's seven denoisers, all as likely.

    R is span corruption with short or long spans, S predicts the end of a piece, X hides much or in
    extreme spans. The inputs of each pair begin with a token that names the mode (the last three
    sentinels). The arrays have room for the longest inputs and the longest targets of any denoiser;
    what is padding in a row is computed all the same, and counted.
    """

    def __init__(self, vocabulary: Vocabulary, config: NoiseConfig, family: str, length: int):
        self.config = config
        self.denoisers = denoisers(config)
        sizes = [self._sizes(denoiser, length) for denoiser in self.denoisers]
        lengths = stack_lengths(max(i for i, _ in sizes), max(t for _, t in sizes), family)
        if family == "decoder":
            lengths = lengths._replace(decoder=max(i + t for i, t in sizes) - 1)
        super().__init__(vocabulary, lengths)

    @staticmethod
    def n_sentinels(config: NoiseConfig, length: int) -> int:
        """Sentinels that a row of `length` tokens may need, those that name modes included."""
        counts = [_counts(denoiser, length)[1] for denoiser in denoisers(config)]
        return max(counts) + 1 + len(MODES) * config.mode_tokens

    def pairs(self, row_pieces: list[np.ndarray], draws: Draws) -> list[Pair]:
        denoiser = self.denoisers[int(draws.below(len(self.denoisers), 1)[0])]
        sentinels, made = np.array(self.vocabulary.sentinel_ids), []
        prefix = sentinels[-len(MODES) :][[MODES.index(denoiser.mode)]]
        prefix = prefix[: int(self.config.mode_tokens)]
        for piece in fitted(
            without_last(row_pieces), lambda n: self._sizes(denoiser, n), self.lengths
        ):
            hidden, spans = _counts(denoiser, len(piece))
            if denoiser.mean_span_length is None:
                mask = np.arange(len(piece)) >= len(piece) - hidden
            else:
                mask = noise_mask(draws, len(piece), hidden, spans)
            pair = corrupt(piece, mask, sentinels)
            made.append(Pair(np.concatenate([prefix, pair.inputs]), pair.targets))
        return made

    def _sizes(self, denoiser: Denoiser, n: int) -> tuple[int, int]:
        hidden, spans = _counts(denoiser, n)
        return n - hidden + spans + self.config.mode_tokens, hidden + spans + 1


def denoisers(config: NoiseConfig) -> tuple[Denoiser, ...]:
    """The seven (Tay et al. 2022, table 1), from their numbers."""
    short, long, extreme = (
        config.mean_span_length, config.long_span_length, config.extreme_span_length
    )
    return (
        Denoiser("R", config.density, short),
        Denoiser("R", config.density, long),
        Denoiser("S", config.suffix_fraction, None),
        Denoiser("X", config.extreme_density, short),
        Denoiser("X", config.extreme_density, long),
        Denoiser("X", config.density, extreme),
        Denoiser("X", config.extreme_density, extreme),
    )


def _counts(denoiser: Denoiser, n: int) -> tuple[int, int]:
    if denoiser.mean_span_length is None:
        return n - prefix_size(n, 1 - denoiser.density), 1
    return noise_counts(n, denoiser.density, denoiser.mean_span_length)
