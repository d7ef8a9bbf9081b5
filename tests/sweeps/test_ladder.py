import dataclasses

import pytest

from scaling.data import DataConfig
from scaling.errors import UserError
from scaling.experiment import EvaluationConfig, Experiment
from scaling.models import DecoderConfig
from scaling.optim import AdamWConfig, ScheduleConfig
from scaling.parametrizations import ParametrizationConfig
from scaling.sweeps.ladder import DERIVED_FIELDS, Ladder

BASE = Experiment(
    model=DecoderConfig(vocab_size=1024),
    data=DataConfig(),
    parametrization=ParametrizationConfig(),
    optimizer=AdamWConfig(),
    schedule=ScheduleConfig(),
    evaluation=EvaluationConfig(),
)
WIDTHS = range(2, 1025, 2)


@pytest.mark.parametrize("head_size", [1, 8, 32, 64, 128])
def test_heads_divide_the_width_into_even_sizes_near_the_one_wanted(head_size):
    ladder = Ladder(head_size=head_size)
    for d_model in WIDTHS:
        model = ladder.model(BASE.model, d_model)  # which refuses heads that do not divide, too
        assert (model.d_model, model.d_ff) == (d_model, 4 * d_model)
        assert model.n_heads * model.d_head == d_model and model.d_head % 2 == 0
        possible = [k for k in range(2, d_model + 1, 2) if d_model % k == 0]
        assert abs(model.d_head - head_size) == min(abs(k - head_size) for k in possible)


@pytest.mark.parametrize("width_per_layer", [8, 24, 32, 64])
def test_depth_follows_width(width_per_layer):
    ladder = Ladder(width_per_layer=width_per_layer, min_layers=3)
    depths = [ladder.model(BASE.model, d).n_layers for d in WIDTHS]
    assert depths == sorted(depths) and depths[0] == 3
    for d_model, depth in zip(WIDTHS, depths, strict=True):
        assert depth == 3 or abs(depth - d_model / width_per_layer) <= 0.5


def test_an_odd_width_is_refused_by_its_number():
    with pytest.raises(UserError, match="a width of 33: expected an even one"):
        Ladder().model(BASE.model, 33)


def test_the_family_differs_in_what_is_called_derived_and_in_nothing_else():
    ladder = Ladder(decay_timescale=0.5, horizon_exponent=0.3, batch_size=3)
    made = ladder.experiment(BASE, 48, 777, name="x", seed=4)
    differing = {f"Experiment.{f.name}" for f in dataclasses.fields(Experiment)
                 if getattr(made, f.name) != getattr(BASE, f.name)}
    for part in ("model", "optimizer"):
        differing.discard(f"Experiment.{part}")
        old, new = getattr(BASE, part), getattr(made, part)
        differing |= {f"{type(old).__name__}.{f.name}" for f in dataclasses.fields(old)
                      if getattr(new, f.name) != getattr(old, f.name)}
    assert differing <= {*DERIVED_FIELDS, "Experiment.seed"}
    assert {"Experiment.n_steps", "DecoderConfig.d_model", "AdamWConfig.weight_decay"} <= differing


def test_hyperparameters_follow_the_horizon():
    ladder = Ladder(learning_rate=0.01, horizon_exponent=0.5, decay_timescale=0.25)

    def optimizer(n_steps):
        return ladder.experiment(BASE, 32, n_steps, name="x", seed=0).optimizer

    assert optimizer(1000).learning_rate == pytest.approx(0.01)
    assert optimizer(4000).learning_rate == pytest.approx(0.005)
    assert optimizer(4000).weight_decay == pytest.approx(1 / 1000)  # forgets over a quarter
    assert optimizer(2).weight_decay == 0.5  # never all of it at once
    flat = Ladder(learning_rate=0.01, horizon_exponent=0.0)
    assert flat.experiment(BASE, 32, 9, name="x", seed=0).optimizer.learning_rate == 0.01
    assert flat.experiment(BASE, 32, 9, name="x", seed=0).optimizer.weight_decay == 0
