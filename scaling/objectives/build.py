"""The objective of a name, for a model family."""

from scaling.errors import UserError
from scaling.objectives.causal_lm import CausalLM
from scaling.objectives.config import NoiseConfig, ObjectiveName
from scaling.objectives.masked_lm import MaskedLM
from scaling.objectives.mixture_of_denoisers import MixtureOfDenoisers
from scaling.objectives.objective import Objective, Vocabulary
from scaling.objectives.prefix_lm import PrefixLM
from scaling.objectives.span_corruption import SpanCorruption

OBJECTIVES_OF_FAMILY: dict[str, tuple[ObjectiveName, ...]] = {
    "decoder": ("causal_lm", "prefix_lm", "span_corruption", "mixture_of_denoisers"),
    "encoder_decoder": ("prefix_lm", "span_corruption", "mixture_of_denoisers"),
    "encoder": ("masked_lm",),
}


def build_objective(
    name: ObjectiveName, noise: NoiseConfig, family: str, vocabulary: Vocabulary, length: int
) -> Objective:
    """length: T, the row's tokens less one. Raises `UserError` where the combination cannot be."""
    if name not in OBJECTIVES_OF_FAMILY[family]:
        valid = ", ".join(OBJECTIVES_OF_FAMILY[family])
        raise UserError(
            f"Experiment.objective = {name!r}: expected one that a model of the family {family!r} can"
            f" learn: {valid}"
        )
    if name != "causal_lm" and length < 2:
        raise UserError(f"DataConfig.sequence_length = {length}: expected at least 2 for {name!r}")
    needed = sentinels_needed(name, noise, length)
    if len(vocabulary.sentinel_ids) < needed:
        raise UserError(
            f"TokenizerConfig.n_sentinels = {len(vocabulary.sentinel_ids)}: expected at least {needed}"
            f" for {name!r} on rows of {length} tokens"
        )
    if name == "causal_lm":
        return CausalLM(vocabulary.bos_id, length)
    if name == "masked_lm":
        return MaskedLM(vocabulary, noise, length)
    classes = {
        "prefix_lm": PrefixLM,
        "span_corruption": SpanCorruption,
        "mixture_of_denoisers": MixtureOfDenoisers,
    }
    return classes[name](vocabulary, noise, family, length)


def sentinels_needed(name: ObjectiveName, noise: NoiseConfig, length: int) -> int:
    """Control tokens that an objective wants beside BOS, on rows of `length` tokens."""
    if name == "span_corruption":
        return SpanCorruption.n_sentinels(noise, length)
    if name == "mixture_of_denoisers":
        return MixtureOfDenoisers.n_sentinels(noise, length)
    return 1 if name == "masked_lm" else 0
