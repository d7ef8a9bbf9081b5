"""Which tokens of a text are hidden, and how sentinels stand for them (Raffel et al. 2020)."""

import numpy as np

from scaling.objectives.draws import Draws
from scaling.objectives.pairs import Pair


def noise_counts(n: int, density: float, mean_length: float) -> tuple[int, int]:
    """(hidden tokens, spans) in a text of n tokens, n at least 2, as T5 counts them.

    At least one token is hidden and at least one is kept before each span.
    """
    hidden = min(max(round(n * density), 1), n - 1)
    spans = min(max(round(hidden / mean_length), 1), hidden, n - hidden)
    return hidden, spans


def noise_mask(draws: Draws, n: int, hidden: int, spans: int) -> np.ndarray:
    """bool [n], true where hidden: kept and hidden stretches take turns, a kept one first.

    The lengths of either kind are a random composition of their sum: T5's `random_spans_noise_mask`.
    """
    kept_lengths = draws.composition(n - hidden, spans)
    hidden_lengths = draws.composition(hidden, spans)
    lengths = np.stack([kept_lengths, hidden_lengths], axis=1).ravel()
    return np.repeat(np.arange(2 * spans) % 2 == 1, lengths)


def corrupt(tokens: np.ndarray, mask: np.ndarray, sentinels: np.ndarray) -> Pair:
    """Each hidden span becomes one sentinel in the inputs, and sentinel plus span in the targets.

    mask: bool [n], its first entry false and its last true. The targets end with one sentinel more,
    which says that the last span is over (Raffel et al. 2020, figure 2). `rebuild` undoes it.
    """
    begins = np.diff(mask, prepend=not mask[0])  # of a stretch, kept or hidden
    ids = sentinels[(np.cumsum(begins) - 1) // 2]  # the first kept and first hidden stretch share one
    inputs = np.where(mask, ids, tokens)[~mask | begins]
    targets = np.where(mask, tokens, ids)[mask | begins]
    return Pair(inputs, np.append(targets, sentinels[np.count_nonzero(begins) // 2]))


def rebuild(pair: Pair, sentinels: np.ndarray) -> np.ndarray:
    """The text that `corrupt` was given."""
    starts = np.flatnonzero(np.isin(pair.targets, sentinels))
    spans = {
        int(pair.targets[start]): pair.targets[start + 1 : stop]
        for start, stop in zip(starts, [*starts[1:], len(pair.targets)])
    }
    parts = [spans.get(int(token), [token]) for token in pair.inputs]
    return np.concatenate(parts).astype(np.int64)
