"""Which runs to add: the choice, within a budget, that leaves a target the least variance.

Everything is in whitened coordinates of the runs that are there: their information is the identity, a
candidate adds z z^T to it, and the target's variance is h^T (I + sum z z^T)^-1 h. There may be several
draws of the law; the mean of the log variance over them is what counts (a pseudo-Bayesian c-optimal
design, Chaloner and Verdinelli 1995).
"""

import dataclasses
import itertools

import numpy as np

_PAIRS_UP_TO = 12  # runs: beyond, exchanging two at a time takes minutes
_BETTER = 1e-10  # of log variance


@dataclasses.dataclass(frozen=True)
class Choice:
    """What may be chosen, and for what.

    h: (draws, p), the target's gradient. z: (draws, candidates, p). flops: (candidates,). budget: of all
    chosen together. repeats: whether a candidate may be chosen twice. A choice is a list of indices.
    """

    h: np.ndarray
    z: np.ndarray
    flops: np.ndarray
    budget: float
    repeats: bool = True

    def log_variance(self, chosen: list[int]) -> float:
        """Mean over draws of the log of the target's variance, with the chosen runs added."""
        return float(np.log(np.einsum("sp,spq,sq->s", self.h, self._inverse(chosen), self.h)).mean())

    def best(self, runs: int) -> list[int]:
        """Up to `runs` candidates, ascending.

        Greedy from three sides (by gain, by gain per FLOP, by gain in equal shares of the budget), then
        Fedorov's exchange of one run at a time, then of two, since moving FLOPs from one run to
        another changes two. For one run and for two this is an exhaustive search.
        """
        nothing = len(self.flops)
        with_nothing = dataclasses.replace(  # one more candidate: no run
            self, z=np.concatenate([self.z, np.zeros_like(self.z[:, :1])], axis=1),
            flops=np.append(self.flops, 0.0),
        )
        chosen = with_nothing._search(runs)
        return sorted(i for i in chosen if i != nothing)

    def width(self, chosen: list[int]) -> float:
        """The target's standard deviation with the chosen runs added, over that without (a geometric
        mean over draws)."""
        return float(np.exp((self.log_variance(chosen) - self.log_variance([])) / 2))

    def in_order_of_gain(self, chosen: list[int]) -> tuple[list[int], list[float]]:
        """The chosen, each the one that narrows most after those before it; the width after none, one,
        ... of them."""
        left, ordered, widths = list(chosen), [], [1.0]
        while left:
            after = [self.width([*ordered, i]) for i in left]
            ordered.append(left.pop(int(np.argmin(after))))
            widths.append(min(after))
        return ordered, widths

    def _search(self, runs: int) -> list[int]:
        starts = [self._greedy(runs, rule) for rule in ("gain", "per_flop", "share")]
        best = min((self._exchange(start, 1) for start in starts), key=self.log_variance)
        return self._exchange(best, 2) if 1 < runs <= _PAIRS_UP_TO else best

    def _greedy(self, runs: int, rule: str) -> list[int]:
        chosen: list[int] = []
        for _ in range(runs):
            gains = self._gains(chosen)
            if rule == "per_flop":
                gains = gains / np.where(self.flops > 0, self.flops, 1.0)
            if rule == "share":
                gains = np.where(self.flops <= self.budget / runs, gains, -np.inf)
            chosen.append(int(np.argmax(gains)))
        return chosen

    def _exchange(self, chosen: list[int], at_a_time: int) -> list[int]:
        """Replaces one or two runs at a time by the best that fit, until none is better."""
        value, improved = self.log_variance(chosen), True
        while improved:
            improved = False
            for places in itertools.combinations(range(len(chosen)), at_a_time):
                rest = [c for i, c in enumerate(chosen) if i not in places]
                gains = self._gains(rest) if at_a_time == 1 else self._pair_gains(rest)
                best = np.unravel_index(int(np.argmax(gains)), gains.shape)
                after = self.log_variance(rest) - gains[best]
                if after < value - _BETTER:
                    chosen, value, improved = [*rest, *map(int, best)], float(after), True
        return chosen

    def _inverse(self, chosen: list[int]) -> np.ndarray:
        rows = self.z[:, chosen]
        return np.linalg.inv(np.eye(self.z.shape[2]) + np.einsum("sip,siq->spq", rows, rows))

    def _gains(self, rest: list[int]) -> np.ndarray:
        """What each candidate takes off the mean log variance, added to the rest: (candidates,).
        -inf where it does not fit."""
        inverse = self._inverse(rest)
        seen = np.einsum("sp,spq,smq->sm", self.h, inverse, self.z)
        variance = np.einsum("sp,spq,sq->s", self.h, inverse, self.h)[:, None]
        own = np.einsum("smp,spq,smq->sm", self.z, inverse, self.z)
        gains = -np.log1p(-(seen**2) / (1 + own) / variance).mean(axis=0)
        return np.where(self._fits(self.flops, rest) & self._new(rest), gains, -np.inf)

    def _pair_gains(self, rest: list[int]) -> np.ndarray:
        """The same for every two candidates, (candidates, candidates)."""
        total = np.zeros((len(self.flops), len(self.flops)))
        for h, z, inverse in zip(self.h, self.z, self._inverse(rest)):
            seen = z @ (inverse @ h)
            both = z @ inverse @ z.T
            own = 1 + np.diagonal(both)
            shrink = seen**2 * own[:, None]
            shrink = shrink + shrink.T - 2 * np.outer(seen, seen) * both
            shrink /= own[:, None] * own - both**2
            total -= np.log1p(-shrink / (h @ inverse @ h))
        new = self._new(rest)
        allowed = self._fits(self.flops[:, None] + self.flops, rest) & new[:, None] & new
        if not self.repeats:
            allowed &= ~np.eye(len(new), dtype=bool) | (self.flops == 0)
        return np.where(allowed, total / len(self.h), -np.inf)

    def _fits(self, cost: np.ndarray, rest: list[int]) -> np.ndarray:
        # a hair of slack: k times a k-th of the budget may come out above it
        return cost + self.flops[rest].sum() <= self.budget * (1 + 1e-9)

    def _new(self, rest: list[int]) -> np.ndarray:
        """Which candidates may be chosen beside the rest."""
        free = np.ones(len(self.flops), bool)
        if not self.repeats:
            free[rest] = False
            free[self.flops == 0] = True
        return free
