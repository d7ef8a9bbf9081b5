"""Learning-rate schedules as factors in [0, 1] of the peak rate."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

from scaling.config import Config


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScheduleConfig(Config):
    """Linear warm-up, then a shape.

    shape: `cosine` and `linear` fall over all the steps after warm-up; `wsd` stays at the peak and
        falls linearly over the last `decay_fraction` of the run (Hu et al. 2024; Hägele et al. 2024);
        `inverse_sqrt` falls as the root of warm-up over steps done (Vaswani et al. 2017), whatever
        the run's length; `constant` stays at the peak.
    warmup_fraction: of the run's steps, at most `max_warmup_steps`.
    final_fraction: of the peak rate, reached at the last step; `inverse_sqrt` stays above it.
    """

    shape: Literal["cosine", "linear", "wsd", "inverse_sqrt", "constant"] = "linear"
    warmup_fraction: float = 0.1
    max_warmup_steps: int = 50
    decay_fraction: float = 0.2
    final_fraction: float = 0.0

    def validate(self) -> None:
        for field in ("warmup_fraction", "decay_fraction", "final_fraction"):
            self.require(0 <= getattr(self, field) <= 1, field, "a fraction between 0 and 1")
        self.require(self.max_warmup_steps >= 0, "max_warmup_steps", "an integer of at least 0")

    def warmup_steps(self, n_steps: int) -> int:
        return min(self.max_warmup_steps, round(self.warmup_fraction * n_steps))

    def decay_steps(self, n_steps: int) -> int:
        """Steps at the end over which the rate falls; 0 if it does not."""
        if self.shape in ("constant", "inverse_sqrt"):
            return 0
        if self.shape == "wsd":
            return max(1, round(self.decay_fraction * n_steps))
        return max(1, n_steps - self.warmup_steps(n_steps))


def schedule_factor(
    shape: str,
    step: jax.Array,
    n_steps: jax.Array,
    warmup_steps: jax.Array,
    decay_steps: jax.Array,
    final_fraction: jax.Array,
) -> jax.Array:
    """Factor of the peak rate for update number `step` (from 0). All but `shape` may be traced.

    Warm-up reaches 1 at update `warmup_steps`; the fall ends at `final_fraction` where the next
    update, number `n_steps`, would be.
    """
    step = jnp.asarray(step, jnp.float32)
    rising = jnp.minimum(1.0, (step + 1) / (jnp.asarray(warmup_steps, jnp.float32) + 1))
    remaining = (n_steps - step) / jnp.maximum(decay_steps, 1).astype(jnp.float32)
    remaining = jnp.clip(remaining, 0.0, 1.0)
    if shape == "constant":
        return rising
    if shape == "inverse_sqrt":
        falling = jnp.sqrt((jnp.asarray(warmup_steps, jnp.float32) + 1) / (step + 1))
        return jnp.minimum(rising, jnp.maximum(final_fraction, falling))
    if shape == "cosine":
        remaining = 0.5 * (1 - jnp.cos(jnp.pi * remaining))
    return jnp.minimum(rising, final_fraction + (1 - final_fraction) * remaining)
