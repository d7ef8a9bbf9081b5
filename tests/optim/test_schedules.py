import jax
import numpy as np
import pytest

from scaling.errors import UserError
from scaling.optim import ScheduleConfig, schedule_factor

SHAPES = ["cosine", "linear", "wsd", "constant"]
LENGTHS = [10, 57, 400, 3000]


@jax.jit(static_argnames="shape")
def traced(shape, steps, n_steps, warmup, decay, final):
    # One step at a time, as training asks; a vectorised division is off by its last bit.
    return jax.lax.map(lambda s: schedule_factor(shape, s, n_steps, warmup, decay, final), steps)


def factors(config: ScheduleConfig, n_steps: int) -> np.ndarray:
    """The factor of every update of a run."""
    padded = np.arange(max(LENGTHS))  # one compilation a shape
    return np.asarray(
        traced(
            config.shape, padded, n_steps, config.warmup_steps(n_steps),
            config.decay_steps(n_steps), config.final_fraction,
        )
    )[:n_steps]


@pytest.mark.parametrize("n_steps", LENGTHS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_schedule_rises_reaches_one_and_falls(shape, n_steps):
    config = ScheduleConfig(shape=shape)
    factor, warmup = factors(config, n_steps), config.warmup_steps(n_steps)
    assert ((factor > 0) & (factor <= 1)).all()
    assert factor[warmup] == 1  # exactly, at the first update after warm-up
    assert (np.diff(factor[: warmup + 1]) > 0).all()
    np.testing.assert_allclose(np.diff(factor[: warmup + 1]), 1 / (warmup + 1), atol=1e-6)
    assert (np.diff(factor[warmup:]) <= 0).all()


@pytest.mark.parametrize("final", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_fall_ends_at_the_final_fraction(shape, final):
    """One update past the last: no update is wasted on a rate of 0."""
    config = ScheduleConfig(shape=shape, final_fraction=final)
    n = 400
    past = schedule_factor(shape, n, n, config.warmup_steps(n), config.decay_steps(n), final)
    expected = 1.0 if shape == "constant" else final
    assert float(past) == pytest.approx(expected, abs=1e-7)
    assert factors(config, n).min() > 0


def test_linear_is_a_line_and_cosine_half_a_wave():
    n = 400
    for shape, curve in (("linear", lambda x: 1 - x), ("cosine", lambda x: (1 + np.cos(np.pi * x)) / 2)):
        config = ScheduleConfig(shape=shape, warmup_fraction=0.05, final_fraction=0.2)
        warmup = config.warmup_steps(n)
        share = (np.arange(warmup, n) - warmup) / (n - warmup)
        np.testing.assert_allclose(
            factors(config, n)[warmup:], 0.2 + 0.8 * curve(share), atol=1e-6
        )


def test_inverse_sqrt_falls_as_the_root_and_knows_no_end():
    config = ScheduleConfig(shape="inverse_sqrt", warmup_fraction=1.0, max_warmup_steps=9)
    factor = factors(config, 400)
    np.testing.assert_allclose(factor[9:], np.sqrt(10 / np.arange(10, 401)), rtol=1e-6)
    assert factor[39] == pytest.approx(0.5)  # four times the steps of the peak
    np.testing.assert_array_equal(factors(config, 3000)[:400], factor)
    floor = factors(config.replace(final_fraction=0.3), 400)
    assert floor[9:].min() == pytest.approx(0.3) and (floor >= factor).all()


def test_wsd_is_flat_between_warm_up_and_decay():
    config, n = ScheduleConfig(shape="wsd", decay_fraction=0.25), 400
    factor, warmup = factors(config, n), config.warmup_steps(n)
    assert (factor[warmup : n - 100 + 1] == 1).all()
    np.testing.assert_allclose(factor[n - 100 :], np.linspace(1, 0, 100, endpoint=False), atol=1e-6)


@pytest.mark.parametrize("shape", [*SHAPES, "inverse_sqrt"])
def test_traced_and_python_arguments_give_the_same_factor(shape):
    config, n = ScheduleConfig(shape=shape), 57
    plain = [
        float(schedule_factor(shape, s, n, config.warmup_steps(n), config.decay_steps(n), 0.0))
        for s in range(0, n, 7)
    ]
    np.testing.assert_allclose(factors(config, n)[::7], plain, rtol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_run_of_one_step_trains_at_the_peak(shape):
    assert factors(ScheduleConfig(shape=shape), 1).tolist() == [1.0]


def test_warm_up_is_a_share_of_the_run_up_to_a_limit():
    config = ScheduleConfig(warmup_fraction=0.1, max_warmup_steps=50)
    assert [config.warmup_steps(n) for n in (10, 400, 500, 10_000)] == [1, 40, 50, 50]
    assert ScheduleConfig(warmup_fraction=0.0).warmup_steps(1000) == 0


@pytest.mark.parametrize(
    "changes", [{"shape": "cosin"}, {"warmup_fraction": 1.1}, {"final_fraction": -0.1},
                {"decay_fraction": 2}, {"max_warmup_steps": -1}],
)
def test_what_is_no_schedule_is_refused(changes):
    with pytest.raises(UserError, match=f"ScheduleConfig.{next(iter(changes))} = "):
        ScheduleConfig(**changes)
