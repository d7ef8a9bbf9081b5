"""A toy study on a toy corpus, and ways to call the command."""

import math
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from scaling.cli import main

SYLLABLES = ("ka", "lo", "mi", "ne", "ru", "sa", "to", "vi")

EXPERIMENT = """
Experiment.model = @DecoderConfig()
Experiment.data = @DataConfig()
Experiment.optimizer = @AdamWConfig()
Experiment.schedule = @ScheduleConfig()
Experiment.parametrization = @ParametrizationConfig()
Experiment.evaluation = @EvaluationConfig()
DataConfig.corpus = @CorpusConfig()
DataConfig.tokenizer = @TokenizerConfig()
CorpusConfig.name = 'text_folder'
CorpusConfig.path = '{corpus}'
CorpusConfig.validation_fraction = 0.2
TokenizerConfig.kind = 'byte'
TokenizerConfig.vocab_size = 257
DataConfig.sequence_length = 16
DataConfig.validation_rows = 200
DecoderConfig.vocab_size = 257
ParametrizationConfig.base_d_model = 16
ParametrizationConfig.base_d_ff = 64
EvaluationConfig.n_evaluations = 2
"""

SMALL_RUN = """
Experiment.name = 'small'
Experiment.n_steps = 20
Experiment.batch_size = 4
DecoderConfig.d_model = 8
DecoderConfig.d_ff = 32
DecoderConfig.n_heads = 1
DecoderConfig.n_layers = 1
"""

STUDY = """
Study.name = 'toy'
Study.base = @Experiment()
Study.ladder = @Ladder()
Study.plan = @IsoFlop()
Ladder.min_layers = 1
Ladder.batch_size = 4
Ladder.learning_rate = 0.02
IsoFlop.budgets = (3e8, 6e8, 1.2e9)
IsoFlop.d_models = (4, 8, 12)
IsoFlop.min_tokens_per_param = 0.1
IsoFlop.max_tokens_per_param = 1000.0
IsoFlop.max_epochs = 20.0
"""


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty documents of made-up words, the frequent ones more so, each liking its successor."""
    folder = tmp_path_factory.mktemp("corpus")
    draw = random.Random(0)
    words = ["".join(draw.choices(SYLLABLES, k=draw.randint(1, 4))) for _ in range(60)]
    weights = [1 / (rank + 2) for rank in range(len(words))]
    for i in range(20):
        text, at = [], 0
        for _ in range(500):
            likes_next = draw.random() < 0.4
            at = (at + 1) % len(words) if likes_next else draw.choices(range(60), weights)[0]
            text.append(words[at])
        (folder / f"{i:02d}.txt").write_text(f"{i} " + " ".join(text) + "\n")
    return folder


@pytest.fixture(scope="session")
def experiment_gin(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("gin") / "small.gin"
    path.write_text(EXPERIMENT.format(corpus=corpus) + SMALL_RUN)
    return str(path)


@pytest.fixture(scope="session")
def study_gin(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("gin") / "toy.gin"
    path.write_text(EXPERIMENT.format(corpus=corpus) + STUDY)
    return str(path)


@pytest.fixture(scope="session")
def planned(study_gin: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the toy study's plan; nothing may write to it."""
    root = tmp_path_factory.mktemp("planned") / "sweep"
    assert main(["plan", study_gin, "--out", str(root), "--no-calibration"]) == 0
    return root


@pytest.fixture(scope="session")
def runs_csv(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Runs of a known law, three budgets of five sizes, a little noise."""
    path = tmp_path_factory.mktemp("csv") / "runs.csv"
    draw, lines = np.random.default_rng(0), ["n_params,n_tokens,loss,train_flops"]
    for flops in (1e15, 1e16, 1e17):
        best = math.sqrt(flops / 6 / 20)
        for factor in (0.4, 0.65, 1.0, 1.6, 2.5):
            n = best * factor
            d = flops / 6 / n
            loss = (1.7 + 400 / n**0.34 + 410 / d**0.28) * math.exp(draw.normal(0, 0.002))
            lines.append(f"{n:.6g},{d:.6g},{loss:.6f},{flops:.6g}")
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.fixture
def scaling_process() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command as a process of its own."""

    def run(*arguments: object, **options) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "scaling", *map(str, arguments)]
        options = {"env": os.environ, "timeout": 300, **options}
        return subprocess.run(command, capture_output=True, text=True, **options)

    return run
