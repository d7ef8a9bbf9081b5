"""A straight line in logs, y = k x^p: how N* and D* go with C in approaches 1 and 2."""

import dataclasses

import numpy as np

from scaling.errors import UserError
from scaling.laws.uncertainty.bootstrap import interval


@dataclasses.dataclass(frozen=True)
class LineFit:
    """y = k x^exponent by least squares of logs; draws: (replicates, 2) [log k at x0, exponent]."""

    x0: float
    log_k: float
    exponent: float
    draws: np.ndarray
    level: float

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray, replicates: np.ndarray, level: float) -> "LineFit":
        """x, y (points,); replicates (replicates, points) of y."""
        log_x = np.log(x)
        centred = log_x - log_x.mean()
        if centred @ centred <= 0:
            raise UserError("a line through points at one x has no slope")
        both = np.log(np.concatenate([y[None], replicates]))
        slope = both @ centred / (centred @ centred)
        lines = np.stack([both.mean(axis=1), slope], axis=1)
        return cls(float(np.exp(log_x.mean())), *map(float, lines[0]), lines[1:], level)

    def at(self, x: float) -> tuple[float, list[float]]:
        """y at x, and its interval."""
        step = np.log(x / self.x0)
        draws = np.exp(self.draws[:, 0] + self.draws[:, 1] * step)
        return float(np.exp(self.log_k + self.exponent * step)), interval(draws, self.level)

    def to_json(self) -> dict:
        return {
            "law": "line",
            "x0": self.x0,
            "params": {"k": float(np.exp(self.log_k)), "exponent": self.exponent},
            "intervals": {
                "k": interval(np.exp(self.draws[:, 0]), self.level),
                "exponent": interval(self.draws[:, 1], self.level),
            },
            "level": self.level,
        }
