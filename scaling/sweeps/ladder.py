"""Ladder: one rule from a width to a whole experiment, so that a family differs in size alone."""

import dataclasses
from typing import Any

from scaling.config import Config
from scaling.errors import UserError
from scaling.experiment import Experiment
from scaling.models import ModelConfig
from scaling.optim import OPTIMIZERS
from scaling.sweeps.transferred import TransferredRules

# What a ladder derives; a study that binds one of these by hand would configure nothing.
DERIVED_FIELDS = (
    "Experiment.name",
    "Experiment.n_steps",
    "Experiment.batch_size",
    *(
        f"{family}.{field}"
        for family, depths in (
            ("DecoderConfig", ("n_layers",)),
            ("EncoderConfig", ("n_layers",)),
            ("EncoderDecoderConfig", ("n_encoder_layers", "n_decoder_layers")),
        )
        for field in ("d_model", "n_heads", "d_ff", *depths)
    ),
    *(f"{cls.__name__}.{field}" for cls in OPTIMIZERS for field in ("learning_rate", "weight_decay")),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ladder(Config):
    """Shapes and hyperparameters by rule.

    Depth of each stack: `d_model / width_per_layer`, rounded, at least `min_layers`. Heads: the
    divisor of d_model that brings the head size nearest to `head_size`. MLP: `mlp_ratio * d_model`.

    Learning rate, of hidden matrices at the parametrization's base width (which scales it to other
    widths): `learning_rate * (n_steps / 1000)^-horizon_exponent`; longer runs want lower peaks.
    Batch: `batch_size` sequences at every size.
    Weight decay: independent, such that weights forget over `decay_timescale` of the run (0: none).
    With `transfer`, learning rate, batch, decay timescale and warm-up come from a transfer file, and
    the four fields above say nothing.
    """

    width_per_layer: int = 32
    min_layers: int = 2
    head_size: int = 32
    mlp_ratio: int = 4
    learning_rate: float = 0.005
    horizon_exponent: float = 0.3
    batch_size: int = 8
    decay_timescale: float = 0.0
    transfer: TransferredRules | None = None

    def validate(self) -> None:
        for field in ("width_per_layer", "min_layers", "head_size", "mlp_ratio", "batch_size"):
            self.require(getattr(self, field) >= 1, field, "an integer of at least 1")
        self.require(self.learning_rate > 0, "learning_rate", "a number above 0")
        self.require(0 <= self.horizon_exponent <= 1, "horizon_exponent", "a number in [0, 1]")
        self.require(self.decay_timescale >= 0, "decay_timescale", "a number of at least 0")

    def model(self, base: ModelConfig, d_model: int) -> ModelConfig:
        """`base` at another width. Raises `UserError` for a width that no even head divides."""
        divisors = [
            n for n in range(1, d_model + 1) if d_model % n == 0 and (d_model // n) % 2 == 0
        ]
        if not divisors:
            raise UserError(f"a width of {d_model}: expected an even one (rotary positions turn pairs)")
        depth = max(self.min_layers, round(d_model / self.width_per_layer))
        both = base.family == "encoder_decoder"
        depths = ("n_encoder_layers", "n_decoder_layers") if both else ("n_layers",)
        return base.replace(
            d_model=d_model,
            **dict.fromkeys(depths, depth),
            n_heads=min(divisors, key=lambda n: (abs(d_model / n - self.head_size), n)),
            d_ff=self.mlp_ratio * d_model,
        )

    def experiment(
        self, base: Experiment, d_model: int, n_steps: int, *, name: str, seed: int
    ) -> Experiment:
        """`base` at a width and a number of updates, with every hyperparameter by rule.

        n_steps: of `batch_size` sequences; a transfer that changes the batch keeps the tokens.
        Raises `UserError` where `transfer` knows nothing of such a run.
        """
        if self.transfer is not None:
            return self._transferred(base, d_model, n_steps, name=name, seed=seed)
        rate = self.learning_rate * (n_steps / 1000) ** -self.horizon_exponent
        decay = min(0.5, 1 / (self.decay_timescale * n_steps)) if self.decay_timescale else 0.0
        return base.replace(
            name=name,
            model=self.model(base.model, d_model),
            optimizer=base.optimizer.replace(learning_rate=rate, weight_decay=decay),
            batch_size=self.batch_size,
            n_steps=n_steps,
            seed=seed,
        )

    def _transferred(
        self, base: Experiment, d_model: int, n_steps: int, *, name: str, seed: int
    ) -> Experiment:
        rules, length = self.transfer, base.data.sequence_length
        batch_size = rules.batch_at(n_steps * self.batch_size * length)
        n_steps = max(1, round(n_steps * self.batch_size / batch_size))
        model = self.model(base.model, d_model)
        best = rules.predict(d_model, model.n_layers, batch_size, n_steps * batch_size * length)
        return rules.applied(
            base, model=model, batch_size=batch_size, n_steps=n_steps, best=best
        ).replace(name=name, seed=seed)

    def tags(self, experiment: Experiment) -> dict[str, Any]:
        """What a record says of its hyperparameters beside themselves: the expected loss, in nats,
        from not having tuned this very run. Empty without `transfer`."""
        if self.transfer is None:
            return {}
        best = self.transfer.predict_for(experiment)
        return {"mistuning_nats": best.mistuning_nats, "transfer": self.transfer.source}
