import jax.numpy as jnp
import numpy as np
import pytest

from scaling.data import TrainStream
from scaling.errors import UserError
from scaling.experiment import EvaluationConfig
from scaling.results import runs_table
from scaling.training import train
from scaling.training.noise_scale import gradient_moments, noise_scale


def test_the_noise_scale_of_a_quadratic_loss_is_the_known_one():
    """Examples x ~ N(0, s^2) in d dimensions, loss |w - x|^2 / 2: G = w, S = d s^2 an example."""
    d, s, batch, k, repeats = 5, 2.0, 8, 50, 40
    draws = np.random.default_rng(0).normal(0, s, (repeats, k, batch, d)).astype(np.float32)
    params = {"w": jnp.full(d, 0.6)}
    moments = gradient_moments(lambda p, x: 0.5 * jnp.square(p["w"] - x).sum(-1).mean())
    micro, whole = np.mean([moments(params, jnp.asarray(x)) for x in draws], axis=0)
    assert micro == pytest.approx(d * 0.36 + d * s**2 / batch, rel=0.05)
    assert noise_scale(micro, whole, k, batch) == pytest.approx(s**2 / 0.36, rel=0.1)


@pytest.mark.parametrize(
    "micro, whole", [(1.0, 0.1), (np.nan, 1.0), (np.inf, np.inf), (0.0, 0.0), (1.0, 1.1)]
)
def test_moments_that_cannot_tell_give_nothing(micro, whole):
    assert noise_scale(micro, whole, 4, 8) is None


def test_a_run_measures_it_when_asked_and_trains_the_same(experiment, tmp_path):
    asked = experiment(evaluation=EvaluationConfig(n_evaluations=3, noise_scale_batches=4))
    measured = train(asked, tmp_path / "asked")
    plain = train(experiment(), tmp_path / "plain")
    assert all(e.noise_scale > 0 for e in measured.evaluations)
    assert [e.noise_scale for e in plain.evaluations] == [None] * 3
    assert [e.loss for e in measured.evaluations] == [e.loss for e in plain.evaluations]
    assert measured.curve == plain.curve
    column = runs_table([measured, plain]).noise_scale
    assert column[0] == measured.final.noise_scale and np.isnan(column[1])


def test_peeking_takes_nothing(data):
    stream = TrainStream(data.train_rows, seed=3, batch_size=4)
    stream.next_batches(2)
    seen = stream.peek(3)
    np.testing.assert_array_equal(seen, stream.next_batches(3))


def test_one_batch_is_not_enough():
    with pytest.raises(UserError, match="at least 2 batches"):
        EvaluationConfig(noise_scale_batches=1)
