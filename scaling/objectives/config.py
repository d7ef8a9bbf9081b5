"""What the objectives hide from the model, and how much."""

import dataclasses
from typing import Literal

from scaling.config import Config

ObjectiveName = Literal[
    "causal_lm", "prefix_lm", "span_corruption", "masked_lm", "mixture_of_denoisers"
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoiseConfig(Config):
    """Numbers of the objectives; each objective reads those named after it.

    density, mean_span_length: of `span_corruption` (Raffel et al. 2020: 0.15 and 3), also the
        R-denoiser of `mixture_of_denoisers`; `density` is also the share of tokens that
        `masked_lm` selects (Devlin et al. 2019).
    prefix: where `prefix_lm` splits a document's piece: after `prefix_fraction` of its tokens
        (`fixed`: all positions of both stacks are used), or at a point drawn for each (`uniform`:
        Raffel et al. 2020; an encoder-decoder then has room for the longest of either side).
    mask_share, random_share: of the tokens that `masked_lm` selects, those replaced by the mask and
        by a random token; the rest stay as they are (Devlin et al. 2019: 0.8 and 0.1).
    long_span_length, extreme_span_length, extreme_density, suffix_fraction: of
        `mixture_of_denoisers`, which says how they meet (Tay et al. 2022: 8, 64, a half, a quarter).
    mode_tokens: its inputs begin with a token that names the denoiser.
    """

    density: float = 0.15
    mean_span_length: float = 3.0
    prefix: Literal["fixed", "uniform"] = "fixed"
    prefix_fraction: float = 0.5
    mask_share: float = 0.8
    random_share: float = 0.1
    long_span_length: float = 8.0
    extreme_span_length: float = 64.0
    extreme_density: float = 0.5
    suffix_fraction: float = 0.25
    mode_tokens: bool = True

    def validate(self) -> None:
        for field in ("density", "extreme_density", "prefix_fraction", "suffix_fraction"):
            self.require(0 < getattr(self, field) < 1, field, "a number between 0 and 1")
        for field in ("mean_span_length", "long_span_length", "extreme_span_length"):
            self.require(getattr(self, field) >= 1, field, "a number of at least 1")
        for field in ("mask_share", "random_share"):
            self.require(0 <= getattr(self, field) <= 1, field, "a number in [0, 1]")
        self.require(
            self.mask_share + self.random_share <= 1 + 1e-9,
            "mask_share", f"at most 1 - random_share = {1 - self.random_share:g}",
        )
