"""coordinate_check: slopes against size, and which of them are out of bounds."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from scaling.errors import UserError
from scaling.models import ModelConfig
from scaling.optim import AdamWConfig, OptimizerConfig
from scaling.parametrizations.config import ParametrizationConfig
from scaling.parametrizations.coordinate_check.measure import Measurement, Resolve, measure, resolve
from scaling.parametrizations.coordinate_check.shapes import AXES, Axis, shape_at

LEARNING_RATE = 2.0**-7
BATCH, LENGTH = 8, 16

# Bounds of a slope. Along width an activation may move a little more or less, finite sizes being
# what they are; logits of attention and a readout that does not start at zero approach their limit
# from above.
TAP_BOUNDS = (-0.30, 0.20)
SLOW_TAP_BOUNDS = (-0.50, 0.20)
UPDATE_BOUNDS = (-0.10, 0.10)
DECAY_BOUNDS = (-0.01, 0.01)
EPSILON_BOUNDS = (-0.50, 0.50)
STREAM_DEPTH_BOUNDS = (-0.35, 0.25)
PROJECTION_DEPTH_BOUNDS = (-0.30, 0.25)
DEPTH_TAPS = {
    **dict.fromkeys(("residual", "final", "output"), STREAM_DEPTH_BOUNDS),
    **dict.fromkeys(("query", "key", "value"), PROJECTION_DEPTH_BOUNDS),
}


@dataclasses.dataclass(frozen=True)
class Finding:
    """One slope: kind is `tap`, `update`, `epsilon` or `decay`; bounds None where none are set.

    values: mean over seeds, one a size.
    """

    kind: str
    name: str
    values: tuple[float, ...]
    slope: float
    bounds: tuple[float, float] | None

    @property
    def ok(self) -> bool:
        return self.bounds is None or self.bounds[0] <= self.slope <= self.bounds[1]

    def __str__(self) -> str:
        low, high = self.bounds or (-np.inf, np.inf)
        return f"{self.kind} {self.name}: slope {self.slope:+.2f}, allowed {low:+.2f} to {high:+.2f}"


@dataclasses.dataclass(frozen=True)
class CoordinateCheck:
    """Slopes of log2 size on log2 of `factors`, along one axis."""

    axis: Axis
    factors: tuple[int, ...]
    findings: tuple[Finding, ...]

    @property
    def failures(self) -> list[Finding]:
        return [finding for finding in self.findings if not finding.ok]

    @property
    def ok(self) -> bool:
        return not self.failures

    def slope(self, kind: str, name: str) -> float:
        return next(f.slope for f in self.findings if (f.kind, f.name) == (kind, name))


def coordinate_check(
    config: ParametrizationConfig,
    base: ModelConfig,
    axis: Axis,
    *,
    factors: Sequence[int] = (1, 2, 4, 8),
    seeds: Sequence[int] = (0, 1),
    optimizer: OptimizerConfig = AdamWConfig(),
    learning_rate: float = LEARNING_RATE,
    resolve: Resolve = resolve,
) -> CoordinateCheck:
    """Trains `base` at each factor along an axis for five updates and fits slopes.

    Queries and the readout start at zero, the batch is one and the same, the rate is constant.
    Four things must not depend on size: how far updates move activations, the effective size of
    each leaf's change (a norm gain's wrong rate is invisible in activations), a leaf's gradient over
    its epsilon, and the share of a leaf that decay takes (times what the config asks of it).

    base: the shape at factor 1, and the parametrization's base shape is set to it.
    learning_rate: of hidden matrices at the base. resolve: rules to check in place of the config's.

    Raises `UserError` for fewer than two factors or an unknown axis.
    """
    if axis not in AXES:
        raise UserError(f"axis {axis!r}: valid: {', '.join(AXES)}")
    if len(set(factors)) < 2 or min(factors) < 1:
        raise UserError(f"factors {tuple(factors)}: expected at least two different ones, from 1 up")
    optimizer = optimizer.replace(learning_rate=learning_rate)
    config = at_base(config, base)
    tokens = _tokens(base.vocab_size)
    measured = [
        [
            measure(shape_at(base, axis, factor), config, optimizer, tokens, seed, resolve)
            for seed in seeds
        ]
        for factor in factors
    ]
    findings = []
    for kind in Measurement._fields:
        for name in getattr(measured[0][0], kind):
            values = [[getattr(m, kind)[name] for m in at_factor] for at_factor in measured]
            if not np.any(values):  # a leaf that does not decay
                continue
            pooled = np.sqrt(np.mean(np.square(values), axis=1))
            with np.errstate(divide="ignore"):
                slope = np.polyfit(np.log2(factors), np.log2(pooled), 1)[0]
            bounds = _bounds(kind, name, axis, config, base)
            findings.append(Finding(kind[:-1], name, tuple(map(float, pooled)), float(slope), bounds))
    return CoordinateCheck(axis, tuple(factors), tuple(findings))


def at_base(config: ParametrizationConfig, base: ModelConfig) -> ParametrizationConfig:
    """`config` with the shape `base` as its base."""
    return config.replace(
        base_d_model=base.d_model,
        base_d_ff=base.d_ff,
        base_d_head=base.d_head,
        **{f"base_{stack}_layers": depth for stack, depth in base.depths.items()},
    )


def _bounds(
    kind: str, name: str, axis: Axis, config: ParametrizationConfig, base: ModelConfig
) -> tuple[float, float] | None:
    if kind == "updates":
        return UPDATE_BOUNDS
    if kind == "epsilons":
        # biases of keys and values have gradients that no size of their own tells
        follow = _gradients_follow(config, axis) and not name.endswith("bias")
        return EPSILON_BOUNDS if follow else None
    if kind == "decays":
        return DECAY_BOUNDS if config.decay_width_exponent == 0 else None
    if axis == "depth":
        return DEPTH_TAPS.get(name.removeprefix("encoder_"))
    slow = name.endswith("attention_logits") or (name == "output" and base.tie_embeddings)
    return SLOW_TAP_BOUNDS if slow else TAP_BOUNDS


def _gradients_follow(config: ParametrizationConfig, axis: Axis) -> bool:
    """Where gradients go as the table says: with a readout at zero, as muP's and CompleteP's does.

    All widths must grow together, and depth be scaled with alpha = 1.
    """
    if config.name not in ("mup", "completep") or config.epsilon_rule == "constant":
        return False
    deep = config.name == "completep" and config.depth_alpha == 1
    return axis in ("width", "head_size") or (axis == "depth" and deep)


def _tokens(vocab_size: int) -> np.ndarray:
    """One batch, int [B, T + 1]: a few frequent tokens and many rare ones, as in text."""
    draws = np.random.default_rng(0)
    share = 1 / np.arange(1, vocab_size + 1)
    return draws.choice(vocab_size, (BATCH, LENGTH + 1), p=share / share.sum())
