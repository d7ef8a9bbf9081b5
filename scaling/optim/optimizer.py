"""The update of all optimizers: clip, per-leaf epsilon, algorithm, per-leaf rate, decay, schedule."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from scaling.optim.config import OptimizerConfig
from scaling.optim.schedules import ScheduleConfig, schedule_factor


class Hyperparameters(NamedTuple):
    """Everything about one run that a compiled program takes as an argument, not as a constant.

    algorithm: scalars of the optimizer's own, by name.
    lr_mult, eps_mult, decay: trees of scalars with the structure of the parameters.
    """

    learning_rate: jax.Array
    clip_norm: jax.Array
    algorithm: dict[str, jax.Array]
    n_steps: jax.Array
    warmup_steps: jax.Array
    decay_steps: jax.Array
    final_fraction: jax.Array
    lr_mult: Any
    eps_mult: Any
    decay: Any

    @classmethod
    def of(
        cls, config: OptimizerConfig, schedule: ScheduleConfig, n_steps: int, rules: Any
    ) -> "Hyperparameters":
        """Scalars (float32, int32) from configs and the parametrization's tree of rules."""

        def rate(rule: Any) -> float:
            return getattr(rule, config.rate_multiplier)

        def decay(rule: Any) -> float:
            coupled = config.learning_rate * rate(rule) if config.decay == "coupled" else 1.0
            return config.weight_decay * rule.wd_mult * coupled

        return cls(
            learning_rate=jnp.float32(config.learning_rate),
            clip_norm=jnp.float32(config.clip_norm),
            algorithm={name: jnp.float32(x) for name, x in config.scalars().items()},
            n_steps=jnp.int32(n_steps),
            warmup_steps=jnp.int32(schedule.warmup_steps(n_steps)),
            decay_steps=jnp.int32(schedule.decay_steps(n_steps)),
            final_fraction=jnp.float32(schedule.final_fraction),
            lr_mult=jax.tree.map(lambda r: jnp.float32(rate(r)), rules),
            eps_mult=jax.tree.map(lambda r: jnp.float32(r.eps_mult), rules),
            decay=jax.tree.map(lambda r: jnp.float32(decay(r)), rules),
        )


class Optimizer:
    """An optimizer and a schedule's shape for one model; everything else is traced.

    specs: tree of `scaling.models.ParamSpec`.
    """

    def __init__(self, config: OptimizerConfig, schedule_shape: str, specs: Any):
        self._config = config
        self._schedule_shape = schedule_shape
        self._specs = specs

    def init(self, params: Any) -> Any:
        """The state before the first update; it does not depend on any hyperparameter.

        Its moments are float32, whatever the parameters are.
        """
        params = jax.tree.map(_float32, params)
        return self._config.algorithm(self._config.scalars(), self._specs).init(params)

    @jax.named_scope("optimizer")
    def update(
        self, hp: Hyperparameters, params: Any, state: Any, gradients: Any, step: jax.Array
    ) -> tuple[Any, Any, dict[str, jax.Array]]:
        """One update. Returns new parameters, new state and the scalars worth logging.

        These are `learning_rate` (now), `gradient_norm` (before clipping), `clipped` (1 or 0).

        Adam's direction is m / (sqrt(v) + epsilon): of a gradient divided by a leaf's multiplier it
        is that of the gradient itself with epsilon times the multiplier.
        """
        kept, (params, gradients) = params, jax.tree.map(_float32, (params, gradients))
        norm = optax.global_norm(gradients)
        scale = jnp.minimum(1.0, hp.clip_norm / jnp.maximum(norm, jnp.finfo(jnp.float32).tiny))
        gradients = jax.tree.map(lambda g, mult: g * (scale / mult), gradients, hp.eps_mult)
        algorithm = self._config.algorithm(hp.algorithm, self._specs)
        directions, state = algorithm.update(gradients, state, params)
        factor = schedule_factor(
            self._schedule_shape, step, hp.n_steps, hp.warmup_steps, hp.decay_steps, hp.final_fraction
        )
        rate = hp.learning_rate * factor

        def moved(param, direction, lr_mult, decay):
            return param - rate * lr_mult * direction - factor * decay * param

        params = jax.tree.map(moved, params, directions, hp.lr_mult, hp.decay)
        params = jax.tree.map(lambda new, old: new.astype(old.dtype), params, kept)
        clipped = (norm > hp.clip_norm).astype(jnp.float32)
        return params, state, {"learning_rate": rate, "gradient_norm": norm, "clipped": clipped}

    def state_shardings(self, params: Any, shardings: Any, everywhere: Any) -> Any:
        """Shardings of the state: a moment of a parameter's shape lies as the parameter does.

        params: abstract. shardings: those of the parameters. everywhere: for all else (step counts,
        factored moments).
        """
        leaves = jax.tree_util.tree_leaves_with_path(params)
        by_path = {
            path: (leaf.shape, sharding)
            for (path, leaf), sharding in zip(leaves, jax.tree.leaves(shardings), strict=True)
        }

        def sharding(path: tuple, leaf: jax.ShapeDtypeStruct) -> Any:
            ends = (by_path.get(path[i:]) for i in range(len(path)))
            return next((s for shape, s in filter(None, ends) if shape == leaf.shape), everywhere)

        return jax.tree_util.tree_map_with_path(sharding, jax.eval_shape(self.init, params))


def _float32(x: jax.Array) -> jax.Array:
    return x.astype(jnp.float32)
