"""Synthetic sweeps from a known Chinchilla surface, of the size of a two-core study."""

import dataclasses

import numpy as np
import pandas as pd
import pytest


@dataclasses.dataclass(frozen=True)
class Surface:
    """L = E + A N^-alpha + B D^-beta, trained under C = 6 N D."""

    E: float = 2.0
    A: float = 73.0
    B: float = 156.0
    alpha: float = 0.39
    beta: float = 0.39

    def loss(self, n, d):
        return self.E + self.A * n**-self.alpha + self.B * d**-self.beta

    def optimal(self, flops):
        """By a fine search, independent of any closed form."""
        n = np.exp(np.linspace(np.log(1e3), np.log(1e9), 2_000_001))
        best = int(np.argmin(self.loss(n, flops / 6 / n)))
        return float(n[best]), float(flops / 6 / n[best])

    def sweep(self, rng=None, noise=0.0, budgets=4, sizes=6, low=3e11, high=2.4e12, spread=2.8):
        """Budgets x sizes, sizes spread evenly in log N about each optimum."""
        rows = []
        share = self.beta / (self.alpha + self.beta)
        scale = (self.alpha * self.A / (self.beta * self.B)) ** (1 / (self.alpha + self.beta))
        for b, flops in enumerate(np.geomspace(low, high, budgets)):
            middle = scale * (flops / 6) ** share
            for s, n in enumerate(middle * np.geomspace(1 / spread, spread, sizes)):
                d = flops / 6 / n
                loss = self.loss(n, d) + (noise * rng.standard_normal() if noise else 0.0)
                rows.append((f"run-{b}-{s}", "ok", n, d, flops, flops, loss))
        columns = ["run_id", "status", "n_params", "n_tokens", "train_flops", "tag_budget", "loss"]
        return pd.DataFrame(rows, columns=columns)


@pytest.fixture(scope="session")
def surface():
    return Surface()


@pytest.fixture(scope="session")
def noisy(surface):
    return surface.sweep(np.random.default_rng(3), noise=0.012)


@pytest.fixture(scope="session")
def noisy_fits(noisy):
    from scaling.laws import fit_all

    return fit_all(noisy, bootstrap=100)
