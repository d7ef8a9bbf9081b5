"""The critical batch by the gradient noise of proxies, and how it grows with training tokens.

A batch of B tokens needs 1 + B / B* times the fewest tokens, and 1 + B* / B times the fewest steps
(McCandlish et al. 2018). B* is estimated by the noise scale of the gradient at the end of a run, which
is cheap and rough: within a factor of a few of what steps to one loss at several batches say (the law
`critical_batch_steps`).
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from scaling.experiment import Experiment
from scaling.transfer.cells import Cell

# A noise scale this many times the tokens it was measured over is lost in its own noise: the squared
# mean gradient is then the small difference of two large numbers, known to a few percent of them.
RESOLUTION = 10.0


@dataclasses.dataclass(frozen=True)
class CriticalBatch:
    """tokens: B* at the end of the longest of the runs looked at, which trained on n_tokens tokens.

    exponent: of B* along training tokens; None where they are of one length.
    bound: the tokens up to which it can be told; tokens is None where all of the runs lie above.
    """

    tokens: float | None
    n_tokens: int
    exponent: float | None
    bound: float

    def at(self, n_tokens: float) -> float | None:
        """Carried on to another number of training tokens; where no exponent is known, as it is."""
        if self.tokens is None:
            return None
        return self.tokens * (n_tokens / self.n_tokens) ** (self.exponent or 0.0)

    def excess_tokens(self, batch_tokens: float, n_tokens: float) -> float:
        """Share of tokens beyond the fewest that a batch costs; at most so where B* is above its bound."""
        return batch_tokens / (self.at(n_tokens) or self.bound)


def critical_batch(base: Experiment, cells: Sequence[Cell]) -> CriticalBatch | None:
    """From the cells that differ in their tokens alone from the first, the base's; None if noise was not
    measured (`EvaluationConfig.noise_scale_batches`)."""
    fields = ("d_model", "n_layers", "batch_size", "decay_timescale", "unembedding_lr")
    alike = [
        c for c in cells
        if c.noise_scale and not c.verified and all(getattr(c, f) == getattr(cells[0], f) for f in fields)
    ]
    if not alike:
        return None
    bound = RESOLUTION * base.evaluation.noise_scale_batches * base.tokens_per_step
    longest = max(c.n_tokens for c in alike)
    if any(c.noise_scale > bound for c in alike):
        return CriticalBatch(None, longest, None, bound)
    x, y = np.log([c.n_tokens for c in alike]), np.log([c.noise_scale for c in alike])
    if np.ptp(x) < np.log(1.5):
        return CriticalBatch(float(np.exp(y.mean())), longest, None, bound)
    exponent, start = np.polyfit(x, y, 1)
    return CriticalBatch(float(np.exp(start + exponent * np.log(longest))), longest, float(exponent), bound)
