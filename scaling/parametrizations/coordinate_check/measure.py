"""What a few updates do to activations and parameters of one shape."""

import dataclasses
import functools
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scaling.models import ForwardMultipliers, ModelConfig, build_model
from scaling.objectives import cross_entropy
from scaling.optim import Hyperparameters, Optimizer, OptimizerConfig, ScheduleConfig
from scaling.parametrizations.config import ParametrizationConfig
from scaling.parametrizations.rules import (
    Rule,
    depth_ratio,
    forward_multipliers,
    parameter_rules,
)

N_UPDATES = 5
FIRST_MEASURED = 4  # changes of activations count from this many updates on
PROBE_DECAY = 0.1
# A few milliseconds of training: compiling is what takes time. GPUs have no such level.
QUICKLY_ON_CPU = {"xla_backend_optimization_level": 0}
CONSTANT = ScheduleConfig(shape="constant", warmup_fraction=0.0)
Resolve = Callable[[ParametrizationConfig, Any], tuple[Any, ForwardMultipliers]]


class Measurement(NamedTuple):
    """Of one shape and seed, by name; leaves and activations of one name are pooled over layers.

    taps: root mean square of what updates 4 and 5 changed in an activation (of the residual stream,
        after its last block).
    updates: effective size of a leaf's updates (root mean square over all but the first): what one
        can do to the leaf's output, see `measure`.
    epsilons: root mean square of a leaf's gradient over its factor on Adam's epsilon.
    decays: share of a leaf that an update's decay takes away.
    """

    taps: dict[str, float]
    updates: dict[str, float]
    epsilons: dict[str, float]
    decays: dict[str, float]


def resolve(config: ParametrizationConfig, specs: Any) -> tuple[Any, ForwardMultipliers]:
    """A parametrization's rules and forward multipliers; a check of a wrong one passes its own."""
    return parameter_rules(config, specs), forward_multipliers(config, specs)


def measure(
    model: ModelConfig,
    config: ParametrizationConfig,
    optimizer: OptimizerConfig,
    tokens: np.ndarray,
    seed: int,
    resolve: Resolve = resolve,
) -> Measurement:
    """Trains `N_UPDATES` updates on one batch, int [B, T + 1], from query and readout at zero.

    A change's effective size is that of its entries (root mean square), times fan-in and the factor
    on the readout for a matrix that sums over its inputs, because an update's entries align with
    them; times the factor on the branch and the number of layers over the base's for a leaf of a
    block, because layers add up. Where updates are orthogonal matrices it is times the root of
    fan-in instead.
    """
    program = _program(model, dataclasses.replace(optimizer, weight_decay=0.0, decay="independent"))
    specs = build_model(model).specs
    rules, forward = resolve(config, specs)
    hp = Hyperparameters.of(optimizer.replace(weight_decay=0.0), CONSTANT, N_UPDATES, rules)
    probe = Hyperparameters.of(optimizer.replace(weight_decay=PROBE_DECAY), CONSTANT, N_UPDATES, rules)
    start = jax.tree_util.tree_map_with_path(functools.partial(_start, seed), specs, rules)
    found = program(start, hp, ForwardMultipliers(*map(jnp.float32, forward)), jnp.asarray(tokens))
    taps, changes, gradients = jax.tree.map(float, jax.device_get(found))
    orthogonal = optimizer.rate_multiplier == "spectral_lr_mult"

    def effective(spec, rule: Rule, change: float) -> float:
        if spec.in_axes:
            power = 0.5 if orthogonal and spec.role == "hidden" else 1.0
            change *= spec.fan_in**power * rule.forward_mult
        if spec.stack is None:
            return change
        residual = getattr(forward, f"{spec.stack.name}_residual")
        return change * residual * depth_ratio(config, spec)

    return Measurement(
        taps,
        _pooled(jax.tree.map(effective, specs, rules, changes)),
        _pooled(jax.tree.map(lambda rule, g: g / rule.eps_mult, rules, gradients)),
        _pooled(jax.tree.map(float, probe.decay)),
    )


def _start(seed: int, path: tuple, spec: Any, rule: Rule) -> np.ndarray:
    """Queries and an untied readout at 0: their start would hide what moves.

    From NumPy, because compiling `Model.init` would take longer than all the updates.
    """
    if spec.role == "vector":
        return np.full(spec.shape, spec.start, np.float32)
    if spec.role == "unembed" or (path[-1].key == "query" and spec.role == "hidden"):
        return np.zeros(spec.shape, np.float32)
    name = "/".join(entry.key for entry in path)
    draws = np.random.default_rng([seed, zlib.crc32(name.encode())])
    return draws.normal(0, rule.init_std, spec.shape).astype(np.float32)


def _pooled(tree: Any) -> dict[str, float]:
    """Root mean square over the leaves that differ in their layer only, by name."""
    found: dict[str, list[float]] = {}
    for path, value in jax.tree_util.tree_leaves_with_path(tree):
        name = "/".join(entry.key for entry in path if not entry.key.isdigit())
        found.setdefault(name, []).append(value)
    return {name: float(np.sqrt(np.mean(np.square(values)))) for name, values in found.items()}


@functools.lru_cache(maxsize=64)
def _program(model_config: ModelConfig, optimizer_config: OptimizerConfig) -> Callable:
    """The compiled run of one shape; everything that a parametrization says is its argument."""
    model = build_model(model_config.replace(attention="xla"))  # others show no logits
    optimizer = Optimizer(optimizer_config, CONSTANT.shape, model.specs)

    def loss_and_taps(params, forward, batch):
        taps: dict[str, list[jax.Array]] = {}
        logits = model.apply(
            params, batch, forward, tap=lambda name, x: taps.setdefault(name, []).append(x)
        )
        sums = cross_entropy(logits, batch["targets"], jnp.ones(logits.shape[:2], jnp.float32))
        taps = {name: xs[-1:] if name.endswith("residual") else xs for name, xs in taps.items()}
        return sums.loss.sum() / sums.weight.sum(), taps

    options = QUICKLY_ON_CPU if jax.default_backend() == "cpu" else None

    @functools.partial(jax.jit, compiler_options=options)
    def run(start, hp, forward, tokens):
        batch = _batch(tokens)

        def update(carry, step):
            params, state = carry
            gradient = jax.value_and_grad(loss_and_taps, has_aux=True)
            (_, taps), gradients = gradient(params, forward, batch)
            moved, state, _ = optimizer.update(hp, params, state, gradients, step)
            changes = jax.tree.map(lambda a, b: _rms(a - b), moved, params)
            return (moved, state), (taps, jax.tree.map(_rms, gradients), changes)

        # One update more than is measured: its gradients and activations are those after the last.
        steps = jnp.arange(N_UPDATES + 1)
        begin = (start, optimizer.init(start))
        _, (taps, gradients, changes) = jax.lax.scan(update, begin, steps)
        changed = {
            name: _rms(jnp.stack([x[FIRST_MEASURED:] - x[0] for x in layers]))
            for name, layers in taps.items()
        }
        return (
            changed,
            jax.tree.map(lambda by_step: _rms(by_step[1:]), changes),  # only the readout moves at first
            jax.tree.map(lambda g: g[-1], gradients),
        )

    return run


def _rms(x: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.mean(jnp.square(x.astype(jnp.float32))))


def _batch(tokens: jax.Array) -> dict[str, jax.Array]:
    """What any family reads: a decoder's rows, and for an encoder the same rows the other way round."""
    inputs = tokens[:, :-1]
    positions = jnp.broadcast_to(jnp.arange(inputs.shape[1]), inputs.shape)
    batch = {"targets": tokens[:, 1:]}
    for side, read in (("decoder", inputs), ("encoder", inputs[:, ::-1])):
        batch[f"{side}_input_tokens"] = read
        batch[f"{side}_positions"] = positions
        batch[f"{side}_segment_ids"] = jnp.zeros_like(inputs)
    return batch
