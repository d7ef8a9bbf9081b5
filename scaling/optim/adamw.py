"""AdamW with per-parameter learning-rate multipliers and independent weight decay."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from scaling.config import Config
from scaling.optim.schedules import ScheduleConfig, schedule_factor


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdamWConfig(Config):
    """Adam (Kingma & Ba 2015) with decoupled decay (Loshchilov & Hutter 2019).

    learning_rate: peak rate of hidden matrices at the parametrization's base shape.
    weight_decay: *independent*: the share of a matrix's weights removed per update at the peak of
        the schedule, whatever the learning rate, so that it does not change with width. Norm gains
        do not decay.
    clip_norm: gradients are scaled down to this global norm where they exceed it.
    """

    learning_rate: float = 0.01
    b1: float = 0.9
    b2: float = 0.95
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    clip_norm: float = 1.0

    def validate(self) -> None:
        self.require(self.learning_rate > 0, "learning_rate", "a number above 0")
        self.require(0 <= self.b1 < 1, "b1", "a number in [0, 1)")
        self.require(0 <= self.b2 < 1, "b2", "a number in [0, 1)")
        self.require(self.epsilon > 0, "epsilon", "a number above 0")
        self.require(0 <= self.weight_decay < 1, "weight_decay", "a number in [0, 1)")
        self.require(self.clip_norm > 0, "clip_norm", "a number above 0")


class Hyperparameters(NamedTuple):
    """Everything about one run that a compiled program takes as an argument, not as a constant.

    lr_mult, eps_mult, decay: trees of scalars with the structure of the parameters.
    """

    learning_rate: jax.Array
    b1: jax.Array
    b2: jax.Array
    epsilon: jax.Array
    clip_norm: jax.Array
    n_steps: jax.Array
    warmup_steps: jax.Array
    decay_steps: jax.Array
    final_fraction: jax.Array
    lr_mult: Any
    eps_mult: Any
    decay: Any

    @classmethod
    def of(
        cls, config: AdamWConfig, schedule: ScheduleConfig, n_steps: int, rules: Any
    ) -> "Hyperparameters":
        """Scalars (float32, int32) from configs and the parametrization's tree of rules."""
        return cls(
            learning_rate=jnp.float32(config.learning_rate),
            b1=jnp.float32(config.b1),
            b2=jnp.float32(config.b2),
            epsilon=jnp.float32(config.epsilon),
            clip_norm=jnp.float32(config.clip_norm),
            n_steps=jnp.int32(n_steps),
            warmup_steps=jnp.int32(schedule.warmup_steps(n_steps)),
            decay_steps=jnp.int32(schedule.decay_steps(n_steps)),
            final_fraction=jnp.float32(schedule.final_fraction),
            lr_mult=jax.tree.map(lambda r: jnp.float32(r.lr_mult), rules),
            eps_mult=jax.tree.map(lambda r: jnp.float32(r.eps_mult), rules),
            decay=jax.tree.map(lambda r: jnp.float32(config.weight_decay * r.wd_mult), rules),
        )


def _adam(hp: Hyperparameters) -> optax.GradientTransformation:
    return optax.scale_by_adam(b1=hp.b1, b2=hp.b2, eps=hp.epsilon)


def init_adamw(params: Any) -> optax.ScaleByAdamState:
    """Zero moments; they do not depend on any hyperparameter."""
    return optax.scale_by_adam().init(params)


def apply_adamw(
    shape: str, hp: Hyperparameters, params: Any, state: Any, gradients: Any, step: jax.Array
) -> tuple[Any, Any, dict[str, jax.Array]]:
    """One update: clip, Adam, per-parameter rate and epsilon, independent decay, schedule.

    Adam's direction is m / (sqrt(v) + epsilon): of a gradient divided by a leaf's multiplier it is
    that of the gradient itself with epsilon times the multiplier.

    shape: of the schedule. Returns new parameters, new state and the scalars worth logging:
    `learning_rate` (now), `gradient_norm` (before clipping).
    """
    norm = optax.global_norm(gradients)
    scale = jnp.minimum(1.0, hp.clip_norm / jnp.maximum(norm, jnp.finfo(jnp.float32).tiny))
    gradients = jax.tree.map(lambda g, mult: g * scale / mult, gradients, hp.eps_mult)
    directions, state = _adam(hp).update(gradients, state)
    factor = schedule_factor(
        shape, step, hp.n_steps, hp.warmup_steps, hp.decay_steps, hp.final_fraction
    )
    rate = hp.learning_rate * factor

    def moved(param, direction, lr_mult, decay):
        return param - rate * lr_mult * direction - factor * decay * param

    params = jax.tree.map(moved, params, directions, hp.lr_mult, hp.decay)
    return params, state, {"learning_rate": rate, "gradient_norm": norm}
