"""Random choices that depend on (seed, example index) and on nothing else."""

import numpy as np


class Draws:
    """The random numbers of one example: the same on every host, in any order of examples.

    A Philox stream keyed by (seed, index) (Salmon et al. 2011). Only its uniform doubles are used:
    NumPy may change how its other methods consume a stream, and a run must give the same batches.
    """

    def __init__(self, seed: int, index: int):
        self._generator = np.random.Generator(np.random.Philox(key=[seed, index]))

    def uniform(self, n: int) -> np.ndarray:
        """n numbers in [0, 1)."""
        return self._generator.random(n)

    def below(self, bound: int, n: int) -> np.ndarray:
        """n integers in [0, bound)."""
        return (self.uniform(n) * bound).astype(np.int64)

    def subset(self, n: int, k: int) -> np.ndarray:
        """k distinct integers below n, ascending, every subset as likely."""
        return np.sort(np.argsort(self.uniform(n), kind="stable")[:k])

    def composition(self, total: int, parts: int) -> np.ndarray:
        """Positive integers that sum to `total`, every composition as likely."""
        cuts = self.subset(total - 1, parts - 1) + 1
        return np.diff(np.concatenate([[0], cuts, [total]]))
