"""Hyperparameters by transferred rules: what a sweep takes from a transfer file.

Everything is in log2 of the learning rate, and one unit of it is an octave. With the base shape as
origin, the best rate is

    log2 lr* = log2 learning_rate + sum of exponent * log2(size / base size)

over the axes width, depth, batch and horizon (training tokens).
"""

import dataclasses
import math

import numpy as np
from scipy.special import stdtrit  # scipy.stats takes a second to import

from scaling.config import Config
from scaling.errors import UserError
from scaling.experiment import Experiment
from scaling.models import ModelConfig
from scaling.optim import OptimizerConfig

MAX_INDEPENDENT_DECAY = 0.5  # of the weights, in one update

AXES = ("width", "depth", "batch", "horizon")


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The best learning rate of one run. Octaves are of the rate; interval: rates at the rules' level.

    standard_deviation: octaves. bias: octaves by which the best rate of the proxy or mid-size that
    is furthest from the base missed the rules, carried on to this distance.
    mistuning_nats: expected loss for training at `learning_rate` instead of at the unknown optimum.
    """

    learning_rate: float
    standard_deviation: float
    interval: tuple[float, float]
    bias: float
    mistuning_nats: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransferredRules(Config):
    """Rules fitted to proxies, with what is needed to say how far they may be wrong.

    source: the transfer file and its content hash.
    base_*: where log2 ratios are 0; batch_size in sequences, n_tokens in training targets.
    learning_rate: best at the base. exponents: of it along `AXES`.
    measured: the axes that the proxies scanned; beyond them nothing is known, and asking is refused.
    covariance: 5 x 5, of log2 learning_rate and the exponents; scatter: standard deviation of single
        shapes around the rules, octaves; degrees_of_freedom: of both, inf as 1e9.
    far_distance, far_residual: of the furthest shape measured: sum of |log2| ratios; octaves.
    curvature: c in  loss = minimum + c (log2 lr - log2 lr*)^2,  nats per octave squared.
    batch_size: best at the base's tokens, and its exponent along the horizon; batch_covariance: 2 x 2,
        of log2 batch_size and that exponent, zeros where the batch was held and not chosen.
    decay_timescale: of AdamW, as a fraction of the run; 0: no decay.
    warmup_fraction: of the run's steps. unembedding_lr: over that of hidden matrices.
    *_range: values that were as good as the chosen one within the noise of a run; None: not scanned.
    """

    source: str
    base_d_model: int
    base_n_layers: int
    base_batch_size: int
    base_n_tokens: int
    learning_rate: float
    exponents: tuple[float, float, float, float]
    measured: tuple[str, ...]
    covariance: tuple[tuple[float, ...], ...]
    scatter: float
    degrees_of_freedom: float
    far_distance: float
    far_residual: float
    curvature: float
    batch_size: float
    batch_horizon_exponent: float
    decay_timescale: float
    warmup_fraction: float
    unembedding_lr: float
    batch_covariance: tuple[tuple[float, float], tuple[float, float]] = ((0.0, 0.0), (0.0, 0.0))
    batch_degrees_of_freedom: float = 1e9
    decay_timescale_range: tuple[float, float] | None = None
    unembedding_lr_range: tuple[float, float] | None = None
    level: float = 0.9

    def validate(self) -> None:
        for field in ("learning_rate", "curvature", "batch_size", "degrees_of_freedom"):
            self.require(getattr(self, field) > 0, field, "a number above 0")
        for name in self.measured:
            self.require(name in AXES, "measured", f"axes among {', '.join(AXES)}")
        shape = np.shape(self.covariance)
        self.require(shape == (5, 5), "covariance", "5 rows of 5 numbers")
        self.require(0 < self.level < 1, "level", "a number between 0 and 1")

    def batch_at(self, n_tokens: float) -> int:
        """Sequences per update for a run of `n_tokens` tokens."""
        ratio = n_tokens / self.base_n_tokens
        return max(1, round(self.batch_size * ratio**self.batch_horizon_exponent))

    def batch_interval(self, n_tokens: float) -> tuple[float, float] | None:
        """Of the best batch, in sequences, at the rules' level; None where the batch was not chosen."""
        row = np.array([1.0, math.log2(n_tokens / self.base_n_tokens)])
        variance = float(row @ np.array(self.batch_covariance) @ row)
        if variance == 0:
            return None
        quantile = float(stdtrit(self.batch_degrees_of_freedom, (1 + self.level) / 2))
        best = self.batch_size * 2 ** (row[1] * self.batch_horizon_exponent)
        factor = 2 ** (quantile * math.sqrt(variance))
        return float(best / factor), float(best * factor)

    def octaves(self, d_model: int, n_layers: int, batch_size: int, n_tokens: float) -> np.ndarray:
        """log2 ratios to the base along `AXES`."""
        sizes = (d_model, n_layers, batch_size, n_tokens)
        base = (self.base_d_model, self.base_n_layers, self.base_batch_size, self.base_n_tokens)
        return np.log2(np.divide(sizes, base))

    def predict(
        self, d_model: int, n_layers: int, batch_size: int, n_tokens: float
    ) -> Prediction:
        """The best rate there. Raises `UserError` along an axis that no proxy scanned."""
        ratios = self.octaves(d_model, n_layers, batch_size, n_tokens)
        for axis, ratio in zip(AXES, ratios):
            if axis not in self.measured and abs(ratio) > 1e-9:
                raise UserError(
                    f"{self.source}: its proxies did not scan the {axis}, and this run's is"
                    f" {2**ratio:.3g} times the base's; tune again with {axis} among the axes"
                )
        x = math.log2(self.learning_rate) + float(ratios @ self.exponents)
        row = np.array([1.0, *ratios])
        sd = math.sqrt(max(0.0, row @ np.array(self.covariance) @ row) + self.scatter**2)
        bias = self.bias_at(ratios)
        half = float(stdtrit(self.degrees_of_freedom, (1 + self.level) / 2)) * sd + abs(bias)
        return Prediction(
            learning_rate=2**x,
            standard_deviation=sd,
            interval=(2 ** (x - half), 2 ** (x + half)),
            bias=bias,
            mistuning_nats=self.curvature * (sd**2 + bias**2),
        )

    def predict_for(self, experiment: Experiment) -> Prediction:
        """The best rate for a run as it is, whatever rate it has."""
        model = experiment.model
        return self.predict(
            model.d_model, model.n_layers, experiment.batch_size, experiment.n_tokens
        )

    def applied(
        self, base: Experiment, *, model: ModelConfig, batch_size: int, n_steps: int, best: Prediction
    ) -> Experiment:
        """`base` at a shape, a batch and a number of updates, every other hyperparameter from here."""
        return base.replace(
            model=model,
            parametrization=base.parametrization.replace(unembedding_lr=self.unembedding_lr),
            optimizer=tuned_optimizer(
                base.optimizer, best.learning_rate, self.decay_timescale, n_steps
            ),
            schedule=base.schedule.replace(
                warmup_fraction=self.warmup_fraction, max_warmup_steps=n_steps
            ),
            batch_size=batch_size,
            n_steps=n_steps,
        )

    def bias_at(self, ratios: np.ndarray) -> float:
        """The furthest measured shape's miss, carried on linearly to these log2 ratios; octaves."""
        if self.far_distance == 0:
            return 0.0
        return self.far_residual * float(np.abs(ratios).sum()) / self.far_distance


def tuned_optimizer(
    optimizer: OptimizerConfig, rate: float, timescale: float, n_steps: int
) -> OptimizerConfig:
    """`optimizer` at a peak rate, with a decay that forgets over `timescale` of the run; 0: no decay.

    Independent decay removes its share whatever the rate; coupled decay that share times the rate.
    """
    decay = 1 / (timescale * n_steps) if timescale else 0.0
    decay = decay / rate if optimizer.decay == "coupled" else min(MAX_INDEPENDENT_DECAY, decay)
    return optimizer.replace(learning_rate=rate, weight_decay=decay)


def decay_timescale(optimizer: OptimizerConfig, n_steps: int) -> float:
    """The share of a run over which weights are forgotten at the base shape; 0 without decay."""
    share = optimizer.weight_decay * (optimizer.learning_rate if optimizer.decay == "coupled" else 1)
    return 1 / (share * n_steps) if share else 0.0
