"""TransferStudy: what a transfer study's gin file describes."""

import dataclasses
import re
from typing import Literal

from scaling.config import Config
from scaling.experiment import Experiment


@dataclasses.dataclass(frozen=True, kw_only=True)
class Proxies(Config):
    """A star of small runs around the base experiment: along each axis, with the others at the base.

    octaves: the learning rates tried everywhere, as whole powers of 2 over the base experiment's.
    grid_slope: octaves by which that grid's middle moves per doubling of width, rounded to whole
        ones: saves runs where the optimum is known to drift, and changes no result.
    widths, depths: d_model; layers (of each stack). batch_sizes: sequences, at the same tokens.
    horizons: training tokens over the base's.
    decay_timescales: of AdamW, over the run (see `Ladder.decay_timescale`).
    readout_rates: of the unembedding, over the base parametrization's `unembedding_lr`.
    at_every_horizon: axes that are scanned at every horizon, so that they may follow it.
    seeds: runs a point. max_epochs: the most often a run may read the corpus.
    """

    octaves: tuple[int, ...] = (-3, -2, -1, 0, 1, 2, 3)
    grid_slope: float = 0.0
    widths: tuple[int, ...] = ()
    depths: tuple[int, ...] = ()
    batch_sizes: tuple[int, ...] = ()
    horizons: tuple[float, ...] = ()
    decay_timescales: tuple[float, ...] = ()
    readout_rates: tuple[float, ...] = ()
    at_every_horizon: tuple[Literal["batch_sizes", "decay_timescales"], ...] = ()
    seeds: int = 2
    max_epochs: float = 1.0

    def validate(self) -> None:
        ordered = sorted(set(self.octaves))
        self.require(
            len(ordered) >= 3 and ordered == list(range(ordered[0], ordered[-1] + 1)),
            "octaves",
            "at least 3 whole numbers without a gap (the optimum is that of a parabola)",
        )
        for field in ("widths", "depths", "batch_sizes"):
            self.require(all(n >= 1 for n in getattr(self, field)), field, "whole numbers above 0")
        for field in ("horizons", "decay_timescales", "readout_rates"):
            self.require(all(n > 0 for n in getattr(self, field)), field, "numbers above 0")
        self.require(self.seeds >= 1, "seeds", "an integer of at least 1")
        self.require(self.max_epochs > 0, "max_epochs", "a number above 0")
        for axis in self.at_every_horizon:
            self.require(
                bool(getattr(self, axis)) and bool(self.horizons),
                "at_every_horizon",
                f"axes that are scanned; {axis} or horizons is empty",
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransferStudy(Config):
    """A base experiment, and the proxies around it.

    base: its model is the base shape; its learning rate the middle of the grid; its batch and steps
        the base's. Every proxy keeps the share of the run that warms up, and the decay timescale.
    regret_budget: nats of expected loss from mis-tuning at the target that are acceptable.
    """

    name: str
    base: Experiment
    proxies: Proxies
    regret_budget: float = 0.01

    def validate(self) -> None:
        self.require(
            re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,23}", self.name) is not None,
            "name",
            "letters, digits, '.', '_' and '-', at most 24",
        )
        self.require(self.regret_budget > 0, "regret_budget", "nats above 0")
