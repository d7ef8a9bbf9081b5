"""From a transfer study to the small runs that it needs, priced like those of any sweep."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

from scaling.errors import UserError
from scaling.experiment import Experiment
from scaling.models import ModelConfig
from scaling.sweeps.plan import PlannedRun, costed
from scaling.sweeps.transferred import decay_timescale, tuned_optimizer
from scaling.transfer.shapes import scaled, shape_name
from scaling.transfer.study import TransferStudy


@dataclasses.dataclass(frozen=True)
class Setting:
    """Where learning rates are scanned: a shape, a batch, a horizon, and the constants at it.

    n_tokens: training targets asked for; whole steps come within half a step of it.
    decay_timescale: of the run; 0: no weight decay.
    """

    model: ModelConfig
    batch_size: int
    n_tokens: float
    decay_timescale: float
    unembedding_lr: float

    def experiment(self, base: Experiment, rate: float, seed: int, name: str) -> Experiment:
        """`base` in this setting, at a peak learning rate."""
        n_steps = max(1, round(self.n_tokens / (self.batch_size * base.data.sequence_length)))
        return base.replace(
            name=name,
            model=self.model,
            parametrization=base.parametrization.replace(unembedding_lr=self.unembedding_lr),
            optimizer=tuned_optimizer(base.optimizer, rate, self.decay_timescale, n_steps),
            schedule=base.schedule.replace(
                warmup_fraction=warmup_fraction(base), max_warmup_steps=n_steps
            ),
            batch_size=self.batch_size,
            n_steps=n_steps,
            seed=seed,
        )


def base_setting(base: Experiment) -> Setting:
    return Setting(
        model=base.model,
        batch_size=base.batch_size,
        n_tokens=base.n_tokens,
        decay_timescale=decay_timescale(base.optimizer, base.n_steps),
        unembedding_lr=base.parametrization.unembedding_lr,
    )


def warmup_fraction(base: Experiment) -> float:
    """The share of the base's run that warms up, its limit in steps included."""
    return base.schedule.warmup_steps(base.n_steps) / base.n_steps


def settings(study: TransferStudy) -> list[Setting]:
    """The base's first, then axis by axis; each once. Raises `UserError` for an impossible shape."""
    base, axes = base_setting(study.base), study.proxies
    model = base.model
    horizons = [base.n_tokens * factor for factor in axes.horizons]

    def star() -> Iterator[Setting]:
        yield base
        for width in axes.widths:
            yield dataclasses.replace(base, model=scaled(model, width, model.n_layers))
        for depth in axes.depths:
            yield dataclasses.replace(base, model=scaled(model, model.d_model, depth))
        for n_tokens in horizons:
            yield dataclasses.replace(base, n_tokens=n_tokens)
        for axis, field in (("batch_sizes", "batch_size"), ("decay_timescales", "decay_timescale")):
            for n_tokens in (base.n_tokens, *(horizons if axis in axes.at_every_horizon else ())):
                for value in getattr(axes, axis):
                    yield dataclasses.replace(base, n_tokens=n_tokens, **{field: value})
        for factor in axes.readout_rates:
            yield dataclasses.replace(base, unembedding_lr=base.unembedding_lr * factor)

    return list(dict.fromkeys(star()))


def proxy_runs(study: TransferStudy, n_train_tokens: int) -> list[PlannedRun]:
    """Every proxy with its costs. n_train_tokens: of one epoch of the corpus. Trains nothing.

    Raises `UserError` for an impossible shape, or a run that reads the corpus too often.
    """
    base, runs = study.base, []
    for setting in settings(study):
        ratio = setting.model.d_model / base.model.d_model
        middle = round(study.proxies.grid_slope * math.log2(ratio))
        for octave in sorted(set(study.proxies.octaves)):
            for seed in range(base.seed, base.seed + study.proxies.seeds):
                rate = base.optimizer.learning_rate * 2.0 ** (octave + middle)
                shape = shape_name(setting.model).replace(".", "-")
                name = f"{study.name}-{shape}-b{setting.batch_size}-x{octave + middle}-s{seed}"
                experiment = setting.experiment(base, rate, seed, name)
                runs.append(costed(experiment, n_train_tokens, tags(study.name, setting, base)))
    greedy = max(runs, key=lambda run: run.epochs)
    if greedy.epochs > study.proxies.max_epochs:
        raise UserError(
            f"{greedy.experiment.name} reads the corpus {greedy.epochs:.2f} times;"
            f" Proxies.max_epochs = {study.proxies.max_epochs:g} (raise it, or shorten the runs)"
        )
    return runs


def tags(study_name: str, setting: Setting, base: Experiment) -> dict[str, Any]:
    """Of a proxy's record."""
    return {
        "study": study_name,
        "role": "proxy",
        "budget": None,
        "d_model": setting.model.d_model,
        "n_layers": setting.model.n_layers,
        "horizon": setting.n_tokens / base.n_tokens,
    }
