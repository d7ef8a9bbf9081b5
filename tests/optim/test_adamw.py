import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from scaling.errors import UserError
from scaling.optim import (
    AdamWConfig,
    Hyperparameters,
    Optimizer,
    ScheduleConfig,
    schedule_factor,
)
from scaling.parametrizations import Rule

CONSTANT = ScheduleConfig(shape="constant", warmup_fraction=0.0)
UNCLIPPED = 1e9


def tree(seed: int, scale: float = 1.0):
    draw = np.random.default_rng(seed)
    shapes = {"matrix": (4, 3), "table": (5, 4), "gain": (4,)}
    return {k: jnp.asarray(draw.normal(0, scale, s), jnp.float32) for k, s in shapes.items()}


def rules(matrix=1.0, table=1.0, gain=1.0):
    return {
        "matrix": Rule(1.0, matrix),
        "table": Rule(1.0, table),
        "gain": Rule(0.0, gain, wd_mult=0.0),
    }


@functools.partial(jax.jit, static_argnums=0)
def update(shape, *arguments):
    return Optimizer(AdamWConfig(), shape, None).update(*arguments)


def run(config, n_steps, *, schedule=CONSTANT, rules=rules(), gradients=None):
    """Parameters after every update, and the metrics of each."""
    hp = Hyperparameters.of(config, schedule, n_steps, rules)
    params, history, metrics = tree(0), [], []
    state = Optimizer(config, schedule.shape, None).init(params)
    for step in range(n_steps):
        g = tree(step + 1) if gradients is None else gradients
        params, state, logged = update(schedule.shape, hp, params, state, g, jnp.int32(step))
        history.append(params)
        metrics.append(logged)
    return history, metrics


def assert_close(ours, theirs, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), ours, theirs)


@pytest.mark.parametrize("clip_norm", [UNCLIPPED, 0.5], ids=["unclipped", "clipped"])
@pytest.mark.parametrize("shape", ["linear", "cosine", "wsd"])
def test_it_is_optax_adamw(shape, clip_norm):
    """With every multiplier 1; optax decays by rate * weight_decay, so theirs is ours / peak rate."""
    n, peak, decay = 12, 0.03, 0.02
    schedule = ScheduleConfig(shape=shape, warmup_fraction=0.25)
    config = AdamWConfig(
        learning_rate=peak, b1=0.8, b2=0.9, epsilon=1e-3, weight_decay=decay, clip_norm=clip_norm
    )
    ours, metrics = run(config, n, schedule=schedule)

    def rate(step):
        steps = schedule.warmup_steps(n), schedule.decay_steps(n)
        return peak * schedule_factor(shape, step, n, *steps, 0.0)

    theirs = optax.chain(
        optax.clip_by_global_norm(clip_norm),
        optax.adamw(
            rate, b1=0.8, b2=0.9, eps=1e-3, weight_decay=decay / peak,
            mask={"matrix": True, "table": True, "gain": False},
        ),
    )
    params = tree(0)
    state = theirs.init(params)
    for step in range(n):
        gradients = tree(step + 1)
        updates, state = theirs.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
        assert_close(ours[step], params, rtol=2e-6, atol=2e-6)
        assert float(metrics[step]["learning_rate"]) == pytest.approx(float(rate(step)), rel=1e-6)
        norm = np.sqrt(sum((np.asarray(g, "f8") ** 2).sum() for g in gradients.values()))
        assert float(metrics[step]["gradient_norm"]) == pytest.approx(norm, rel=1e-6)


def test_each_parameter_moves_by_its_own_multiplier():
    config = AdamWConfig(learning_rate=0.01, clip_norm=UNCLIPPED)
    start = tree(0)
    plain = run(config, 3)[0][-1]
    scaled = run(config, 3, rules=rules(matrix=0.25, table=20.0, gain=0.0))[0][-1]
    for name, factor in {"matrix": 0.25, "table": 20.0, "gain": 0.0}.items():
        np.testing.assert_allclose(
            scaled[name] - start[name], factor * (plain[name] - start[name]), rtol=1e-4, atol=1e-6
        )


def test_decay_takes_its_share_whatever_the_learning_rate():
    """Without gradients an update leaves 1 - factor * weight_decay of a matrix; gains stay."""
    nothing = jax.tree.map(jnp.zeros_like, tree(0))
    schedule = ScheduleConfig(shape="linear", warmup_fraction=0.0)
    n, start = 5, tree(0)
    left = np.prod([1 - 0.1 * (1 - step / n) for step in range(n)])
    for rate, multiplier in ((1e-4, 1.0), (1.0, 1.0), (1.0, 7.0)):
        config = AdamWConfig(learning_rate=rate, weight_decay=0.1)
        history, _ = run(
            config, n, schedule=schedule, gradients=nothing,
            rules=rules(matrix=multiplier, table=multiplier),
        )
        np.testing.assert_allclose(history[-1]["matrix"], left * start["matrix"], rtol=1e-6)
        np.testing.assert_allclose(history[-1]["table"], left * start["table"], rtol=1e-6)
        np.testing.assert_array_equal(history[-1]["gain"], start["gain"])


def test_clipping_caps_the_gradient_and_reports_it_unclipped():
    """Gradients above the limit all act as if scaled down to it; those below are left alone."""
    config = AdamWConfig(epsilon=1.0, clip_norm=1.0)  # a large epsilon makes the update feel scale
    big = tree(1, 100.0)
    norm = float(optax.global_norm(big))
    clipped, metrics = run(config, 1, gradients=big)
    assert float(metrics[0]["gradient_norm"]) == pytest.approx(norm, rel=1e-6)
    unit = jax.tree.map(lambda g: g / norm, big)
    assert_close(clipped[0], run(config, 1, gradients=unit)[0][0], rtol=1e-5)
    half = jax.tree.map(lambda g: g / 2, unit)
    unlimited = AdamWConfig(epsilon=1.0, clip_norm=UNCLIPPED)
    assert_close(
        run(config, 1, gradients=half)[0][0], run(unlimited, 1, gradients=half)[0][0], rtol=0
    )


def test_no_gradient_is_no_update():
    nothing = jax.tree.map(jnp.zeros_like, tree(0))
    assert_close(run(AdamWConfig(), 1, gradients=nothing)[0][0], tree(0), rtol=0)


@pytest.mark.parametrize(
    "changes", [{"learning_rate": 0.0}, {"b1": 1.0}, {"b2": -0.1}, {"epsilon": 0},
                {"weight_decay": 1.0}, {"clip_norm": 0}, {"learning_rate": float("nan")}],
)
def test_numbers_out_of_range_are_refused(changes):
    with pytest.raises(UserError, match=f"AdamWConfig.{next(iter(changes))} = "):
        AdamWConfig(**changes)
