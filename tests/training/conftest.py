"""Tiny experiments on a tiny learnable corpus, prepared once for all tests of training."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scaling.data import CorpusConfig, DataConfig, PreparedData, TokenizerConfig, prepare
from scaling.experiment import EvaluationConfig, Experiment
from scaling.models import DecoderConfig
from scaling.optim import AdamWConfig, ScheduleConfig
from scaling.parametrizations import ParametrizationConfig
from scaling.training import program, traced

SENTENCES = (
    "the cat sat on the mat and looked at the rain. ",
    "a dog ran over the hill to the old stone mill. ",
    "we count every token twice and trust the sum. ",
)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve documents of three sentences in random order: easy to predict from its context."""
    folder = tmp_path_factory.mktemp("corpus")
    draw = random.Random(0)
    for i in range(12):
        text = "".join(draw.choice(SENTENCES) for _ in range(60))
        (folder / f"{i:02d}.txt").write_text(f"{i}. {text}\n")
    return folder


@pytest.fixture(scope="session")
def data_config(corpus: Path) -> DataConfig:
    return DataConfig(
        corpus=CorpusConfig(name="text_folder", path=str(corpus), validation_fraction=0.2),
        tokenizer=TokenizerConfig(kind="byte", vocab_size=257),
        sequence_length=16,
        validation_rows=100,
    )


@pytest.fixture(scope="session")
def data(data_config: DataConfig) -> PreparedData:
    return prepare(data_config)


@pytest.fixture(scope="session")
def experiment(data_config: DataConfig) -> Callable[..., Experiment]:
    """A factory: the tiny experiment with fields changed; `learning_rate` reaches the optimizer.

    Its shape is the same for every call that changes neither model, batch nor evaluation batch,
    so one compilation serves most tests.
    """

    def make(**changes) -> Experiment:
        rate = changes.pop("learning_rate", 0.01)
        n_evaluations = changes.pop("n_evaluations", 3)
        values = {
            "name": "tiny",
            "model": DecoderConfig(vocab_size=257, d_model=8, n_layers=1, n_heads=1, d_ff=32),
            "data": data_config,
            "parametrization": ParametrizationConfig(base_d_model=8, base_d_ff=32),
            "optimizer": AdamWConfig(learning_rate=rate, weight_decay=1e-4),
            "schedule": ScheduleConfig(),
            "batch_size": 4,
            "n_steps": 20,
            "evaluation": EvaluationConfig(n_evaluations=n_evaluations, batch_size=64),
        }
        return Experiment(**values | changes)

    return make


@pytest.fixture(scope="module")
def chunks_of_32() -> Iterator[None]:
    """A tiny run goes in more than one or two chunks of updates, so that it can be stopped between them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "_programs", {})
        patch.setattr(traced, "MAX_STEPS_PER_DISPATCH", 32)
        yield
