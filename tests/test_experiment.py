import dataclasses
import typing
from typing import Any

import pytest

from scaling.config import Config
from scaling.data import DataConfig
from scaling.errors import UserError
from scaling.experiment import EvaluationConfig, Experiment
from scaling.models import DecoderConfig
from scaling.optim import OPTIMIZERS, AdamWConfig, LionConfig, ScheduleConfig
from scaling.parametrizations import ParametrizationConfig


@pytest.fixture
def experiment() -> Experiment:
    return Experiment(
        model=DecoderConfig(vocab_size=1024),
        data=DataConfig(),
        parametrization=ParametrizationConfig(),
        optimizer=AdamWConfig(),
        schedule=ScheduleConfig(),
        evaluation=EvaluationConfig(),
    )


def leaves(config: Config, path: tuple[str, ...] = ()):
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, Config):
            yield from leaves(value, (*path, field.name))
        else:
            yield (*path, field.name), value, typing.get_type_hints(type(config))[field.name]


def changed(config: Config, path: tuple[str, ...], value: Any) -> Config:
    """A copy with one leaf changed, unchecked: the identity must not lean on what is valid."""
    copy = object.__new__(type(config))
    for field in dataclasses.fields(config):
        old = getattr(config, field.name)
        if field.name == path[0]:
            old = changed(old, path[1:], value) if path[1:] else value
        object.__setattr__(copy, field.name, old)
    return copy


def another(value: Any, hint: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if typing.get_origin(hint) is typing.Literal:
        return next((a for a in typing.get_args(hint) if a != value), "another")
    if isinstance(value, int):
        return value + 2
    if isinstance(value, float):
        return value + 1e-9
    return f"{value}z"


def test_any_single_change_makes_another_run(experiment):
    ids = {(): experiment.run_id}
    for path, value, hint in leaves(experiment):
        ids[path] = changed(experiment, path, another(value, hint)).run_id
    assert len(ids) > 35
    assert len(set(ids.values())) == len(ids)


def test_equal_experiments_are_one_run(experiment):
    again = Experiment.from_json(experiment.to_json())
    assert again == experiment and again.run_id == experiment.run_id
    as_int = experiment.replace(optimizer=AdamWConfig(clip_norm=1, weight_decay=0))
    assert as_int.run_id == experiment.run_id


@pytest.mark.parametrize("optimizer", [cls() for cls in OPTIMIZERS], ids=lambda o: type(o).__name__)
def test_each_optimizer_comes_back_from_json(experiment, optimizer):
    chosen = experiment.replace(optimizer=optimizer)
    data = chosen.to_json()
    assert data["optimizer"]["class"] == type(optimizer).__name__
    assert Experiment.from_json(data) == chosen
    assert (chosen.shape_key == experiment.shape_key) == isinstance(optimizer, AdamWConfig)


def test_an_optimizer_without_a_class_is_the_first_and_an_unknown_one_is_refused(experiment):
    """Files from when there was only one name none."""
    data = experiment.to_json()
    del data["optimizer"]["class"]
    assert Experiment.from_json(data) == experiment
    data["optimizer"]["class"] = "MuonConfg"
    with pytest.raises(UserError, match="optimizer.class: no class 'MuonConfg'; did you mean 'MuonConfig'"):
        Experiment.from_json(data)
    data["optimizer"] = LionConfig().to_json() | {"class": "LionConfig", "epsilon": 1e-8}
    with pytest.raises(UserError, match="optimizer.epsilon: no such field"):
        Experiment.from_json(data)


def test_the_run_id_is_a_folder_s_name_that_begins_as_told(experiment):
    run_id = experiment.replace(name="a.b_c-1").run_id
    assert run_id.startswith("a.b_c-1-") and "/" not in run_id
    for name in ("", "../x", "a b", "-x", "x" * 65, "a/b", "x\n"):
        with pytest.raises(UserError, match="Experiment.name"):
            experiment.replace(name=name)


def test_tokens_are_steps_times_batch_times_length(experiment):
    sized = experiment.replace(batch_size=4, n_steps=10, data=DataConfig(sequence_length=32))
    assert (sized.tokens_per_step, sized.n_tokens) == (128, 1280)


def test_hyperparameters_and_seed_share_a_shape_and_sizes_do_not(experiment):
    same = [
        experiment.replace(seed=1),
        experiment.replace(n_steps=77),
        experiment.replace(name="other"),
        experiment.replace(optimizer=AdamWConfig(learning_rate=0.5, weight_decay=0.1)),
        experiment.replace(schedule=ScheduleConfig(warmup_fraction=0.5, final_fraction=0.1)),
        experiment.replace(parametrization=ParametrizationConfig(name="standard", hidden_std=2)),
    ]
    other = [
        experiment.replace(batch_size=4),
        experiment.replace(model=DecoderConfig(vocab_size=1024, n_layers=3)),
        experiment.replace(data=DataConfig(sequence_length=32)),
        experiment.replace(schedule=ScheduleConfig(shape="cosine")),
        experiment.replace(evaluation=EvaluationConfig(batch_size=8)),
    ]
    assert {e.shape_key for e in same} == {experiment.shape_key}
    assert len({e.shape_key for e in [experiment, *other]}) == len(other) + 1


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"n_steps": 0}, "Experiment.n_steps = 0"),
        ({"batch_size": -1}, "Experiment.batch_size = -1"),
        ({"seed": 2**31}, "Experiment.seed"),
        ({"objective": "causal"}, "did you mean 'causal_lm'?"),
        ({"model": DecoderConfig(vocab_size=512)},
         "DecoderConfig.vocab_size = 512: expected the tokenizer's vocabulary, 1024"),
    ],
)
def test_what_cannot_be_run_is_refused(experiment, changes, expected):
    with pytest.raises(UserError) as error:
        experiment.replace(**changes)
    assert expected in str(error.value)
