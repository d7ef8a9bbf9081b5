"""Synthetic studies: records of proxies whose losses are a known surface, without training."""

import dataclasses
import math
import types

import numpy as np
import pytest

from scaling.data import DataConfig, TokenizerConfig
from scaling.experiment import EvaluationConfig, Experiment
from scaling.models import DecoderConfig
from scaling.optim import AdamWConfig, ScheduleConfig
from scaling.parametrizations import ParametrizationConfig
from scaling.results import Evaluation, RunRecord
from scaling.sweeps.plan import PlannedRun
from scaling.transfer.file import TransferFile
from scaling.transfer.proxies import proxy_runs
from scaling.transfer.study import Proxies, TransferStudy
from scaling.transfer.tuning import tuned

PLENTY = 10**12  # training tokens, where epochs are not the point


@dataclasses.dataclass(frozen=True)
class Surface:
    """loss = floor + curvature (log2 lr - log2 lr*)^2 + power of compute + noise.

    at: log2 of the best rate at the base; exponents of it along width, depth, batch, horizon.
    readout: log2 of the best readout factor, 0.05 nats per octave squared away from it. best_batch:
    log2 of it over the base's at the base's tokens, and its exponent along the horizon.
    """

    at: float = -6.2
    exponents: tuple[float, float, float, float] = (-0.3, 0.2, 0.4, -0.3)
    curvature: float = 0.04
    noise: float = 0.0
    readout: float = 0.0
    best_batch: tuple[float, float] | None = None
    noise_scale: float | None = None

    def best(self, base: Experiment, run: Experiment) -> float:
        return self.at + float(np.dot(self.exponents, self.ratios(base, run)))

    def ratios(self, base: Experiment, run: Experiment) -> list[float]:
        pairs = (
            (run.model.d_model, base.model.d_model), (run.model.n_layers, base.model.n_layers),
            (run.batch_size, base.batch_size), (run.n_tokens, base.n_tokens),
        )
        return [math.log2(a / b) for a, b in pairs]

    def loss(self, base: Experiment, run: Experiment, flops: float, draw) -> float:
        rate = math.log2(run.optimizer.learning_rate)
        loss = 3.0 * (flops / 1e9) ** -0.02 + self.curvature * (rate - self.best(base, run)) ** 2
        factor = run.parametrization.unembedding_lr / base.parametrization.unembedding_lr
        loss += 0.05 * (math.log2(factor) - self.readout) ** 2
        if self.best_batch is not None:
            _, _, batch, horizon = self.ratios(base, run)
            loss += 0.02 * (batch - self.best_batch[0] - self.best_batch[1] * horizon) ** 2
        return loss + 0.02 * run.seed + (draw.normal(0, self.noise) if self.noise else 0.0)


def make_study(*, base: dict | None = None, parametrization: str = "mup", **proxies) -> TransferStudy:
    values = {
        "model": DecoderConfig(vocab_size=257, d_model=32, n_layers=2, n_heads=2, d_ff=128),
        "data": DataConfig(tokenizer=TokenizerConfig(kind="byte", vocab_size=257), sequence_length=64),
        "parametrization": ParametrizationConfig(
            name=parametrization, base_d_model=32, base_d_ff=128, base_d_head=16
        ),
        "optimizer": AdamWConfig(learning_rate=2.0**-6, weight_decay=0.01),
        "schedule": ScheduleConfig(warmup_fraction=0.1),
        "batch_size": 8,
        "n_steps": 200,
        "evaluation": EvaluationConfig(),
    }
    grid = {
        "octaves": (-4, -3, -2, -1, 0, 1, 2, 3), "widths": (64, 128), "depths": (4,),
        "batch_sizes": (16,), "horizons": (2.0, 4.0),
    }
    return TransferStudy(
        name="synthetic", base=Experiment(**values | (base or {})), proxies=Proxies(**grid | proxies)
    )


def record_of(run: PlannedRun, loss: float | None, noise_scale: float | None = None) -> RunRecord:
    e = run.experiment
    final = None
    if loss is not None:
        final = Evaluation(step=e.n_steps, n_tokens_seen=e.n_tokens, loss=loss, standard_error=0.01,
                           bits_per_byte=loss, noise_scale=noise_scale)
    known = {f.name for f in dataclasses.fields(RunRecord)}
    values = dict.fromkeys(known) | {
        "run_id": e.run_id, "status": "ok" if loss is not None else "diverged",
        "reason": None if loss is not None else "non-finite loss at step 3",
        "experiment": e.to_json(), "tags": run.tags, "seed": e.seed, "n_steps": e.n_steps,
        "n_tokens": e.n_tokens, "n_params": run.n_params, "train_flops": run.train_flops,
        "final": final, "best": final, "evaluations": [], "curve": [],
        "data": {"corpus": "sotu", "content_hash": "d" * 32}, "versions": {}, "finished_at": "",
        "schema_version": 1,
    }
    return RunRecord(**values)


def measured(
    study_base: Experiment, runs: list[PlannedRun], surface: Surface, seed: int = 0
) -> list[RunRecord]:
    """Records of runs whose losses are the surface's."""
    draw = np.random.default_rng(seed)
    return [
        record_of(run, surface.loss(study_base, run.experiment, run.train_flops["exact"], draw),
                  surface.noise_scale)
        for run in runs
    ]


def tune(study: TransferStudy, surface: Surface = Surface(), seed: int = 0) -> TransferFile:
    """The transfer file of a study's synthetic proxies."""
    runs = proxy_runs(study, PLENTY)
    records = measured(study.base, runs, surface, seed)
    return tuned(study, [run.experiment.run_id for run in runs], records)


@pytest.fixture(scope="session")
def synthetic() -> types.SimpleNamespace:
    """All of the above, for tests."""
    return types.SimpleNamespace(
        Surface=Surface, make_study=make_study, measured=measured, record_of=record_of, tune=tune,
        plenty=PLENTY,
    )
