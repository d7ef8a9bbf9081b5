"""Shapes and options of the model families."""

import dataclasses
from typing import Literal

from scaling.config import Config


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecoderConfig(Config):
    """A decoder-only transformer: pre-RMSNorm, rotary positions, no biases.

    vocab_size: rows of the embedding table; must equal the tokenizer's.
    d_ff: width of the MLP; for `swiglu` that of each of its two input projections.
    activation: `gelu` (tanh approximation) or `swiglu` (Shazeer 2020).
    qk_norm: RMSNorm over each head's queries and keys (Dehghani et al. 2023).
    tie_embeddings: the unembedding is the embedding table, transposed.
    rope_base: base of the rotary frequencies (Su et al. 2021).
    scan_layers: one traced block run by `jax.lax.scan`; the same numbers, a smaller program.
    compute_dtype: of activations and products; parameters, softmax and loss stay float32.
    """

    vocab_size: int
    d_model: int = 64
    n_layers: int = 2
    n_heads: int = 2
    d_ff: int = 256
    activation: Literal["gelu", "swiglu"] = "gelu"
    qk_norm: bool = False
    tie_embeddings: bool = False
    rope_base: float = 10_000.0
    norm_epsilon: float = 1e-6
    scan_layers: bool = False
    compute_dtype: Literal["float32", "bfloat16"] = "float32"

    def validate(self) -> None:
        for field in ("vocab_size", "d_model", "n_layers", "n_heads", "d_ff"):
            self.require(getattr(self, field) >= 1, field, "an integer of at least 1")
        self.require(
            self.d_model % self.n_heads == 0, "n_heads", f"a divisor of d_model = {self.d_model}"
        )
        self.require(
            self.d_head % 2 == 0,
            "n_heads",
            f"an even head size (rotary positions turn pairs), not {self.d_head}",
        )
        self.require(self.rope_base > 1, "rope_base", "a number above 1")
        self.require(self.norm_epsilon > 0, "norm_epsilon", "a number above 0")

    @property
    def d_head(self) -> int:
        return self.d_model // self.n_heads
