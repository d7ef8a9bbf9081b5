"""Shapes and options of the model families."""

import dataclasses
import math
from typing import ClassVar, Literal

from scaling.config import Config


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransformerConfig(Config):
    """What the families share. Each default is a small Llama's but for `gelu` and multi-head attention.

    vocab_size: rows of the embedding table; must equal the tokenizer's.
    d_ff: width of the MLP (of each expert, where there are experts); for gated activations that of
        each of its two input projections.
    n_kv_heads: heads of keys and values, each shared by n_heads / n_kv_heads query heads (Ainslie et
        al. 2023; 1: multi-query attention, Shazeer 2019); None: as many as queries.
    activation: `gelu` (tanh approximation, Hendrycks & Gimpel 2016), `swiglu`, `geglu` (gated by SiLU
        and GELU, Shazeer 2020) or `squared_relu` (So et al. 2021).
    norm: `rms` (Zhang & Sennrich 2019) or `layer` (Ba et al. 2016). norm_gain: whether it learns a
        gain (without: Lingle 2024 finds it transfers better); biases add a bias to `layer`.
    norm_placement: `pre`, on what a branch reads (Xiong et al. 2020), or `sandwich`, also on what it
        adds (Ding et al. 2021).
    positions: `rope` (Su et al. 2021), `learned` (a table of max_length, Devlin et al. 2019),
        `relative` (T5's bias a head and distance, one table a stack, Raffel et al. 2020), or `none`.
    max_length: positions of the learned table. relative_buckets, relative_max_distance: T5's.
    qk_norm: a norm over each head's queries and keys (Dehghani et al. 2023).
    attention_soft_cap, logit_soft_cap: attention logits, or logits, become cap * tanh(x / cap) (Gemma
        Team 2024); 0: no cap.
    biases: on every matrix (GPT-2; T5 and Llama have none).
    window: a position attends to those less than this far from it in its own stack (Beltagy et
        al. 2020); 0: to all.
    n_experts: MLPs of each layer, of which a router sends each token to `experts_per_token` (Shazeer
        et al. 2017; Mixtral, Jiang et al. 2024, has 8 and 2); 0: one MLP for all tokens. See
        `scaling.models.experts`.
    capacity_factor: room of an expert in a row, over an even share of its assignments; what finds no
        room is dropped (GShard, Lepikhin et al. 2021; Switch, Fedus et al. 2022: 1.25); 0: none is
        (MegaBlocks, Gale et al. 2023).
    shared_expert: one more expert that every token passes (DeepSeekMoE, Dai et al. 2024).
    load_balance_loss, router_z_loss: coefficients in what is trained on, not in what is reported, of
        means over layers (Fedus et al. 2022: 1e-2; ST-MoE, Zoph et al. 2022: 1e-3).
    dropout: share of entries of embeddings, and of what each branch adds, that training sets to zero
        (Vaswani et al. 2017: 0.1; T5: 0.1 in fine-tuning, 0 in pre-training, as most who train for less
        than an epoch).
    tie_embeddings: the unembedding is the embedding table, transposed (Press & Wolf 2017).
    rope_base: base of the rotary frequencies.
    scan_layers: one traced block run by `jax.lax.scan`; the same numbers, a smaller program.
    loss_chunk: positions of a row whose logits exist at one time, in the loss and its gradient, where
        the backward pass makes them again; 0: all. The same loss, without the largest array of all.
    remat: what the backward pass recomputes: `none`; `full`, everything inside a block (Chen et al.
        2016); `dots`, everything but products of matrices. The same numbers, less memory.
    attention: `xla`; `cudnn`, its fused kernel on GPUs; `splash`, JAX's Pallas kernel on TPUs; `auto`,
        the platform's own where it can run. What is named and cannot run is an error.
    param_dtype: of parameters and their gradients. The update is computed in float32, with moments in
        float32; below half of bfloat16's 2^-8 of a weight it is lost.
    compute_dtype: of activations and products; norms, routers and rotary positions are in float32.
        Under float16 the loss is scaled (see `scaling.training.loss_scale`).
    softmax_dtype: of attention's softmax. loss_dtype: of the log-normalisers of the loss and of
        z-loss; their sums are float32.
    """

    vocab_size: int
    d_model: int = 64
    n_heads: int = 2
    n_kv_heads: int | None = None
    d_ff: int = 256
    activation: Literal["gelu", "swiglu", "geglu", "squared_relu"] = "gelu"
    norm: Literal["rms", "layer"] = "rms"
    norm_gain: bool = True
    norm_placement: Literal["pre", "sandwich"] = "pre"
    norm_epsilon: float = 1e-6
    positions: Literal["rope", "learned", "relative", "none"] = "rope"
    max_length: int = 512
    relative_buckets: int = 32
    relative_max_distance: int = 128
    rope_base: float = 10_000.0
    qk_norm: bool = False
    attention_soft_cap: float = 0.0
    logit_soft_cap: float = 0.0
    biases: bool = False
    window: int = 0
    n_experts: int = 0
    experts_per_token: int = 2
    capacity_factor: float = 0.0
    shared_expert: bool = False
    load_balance_loss: float = 0.01
    router_z_loss: float = 0.001
    dropout: float = 0.0
    tie_embeddings: bool = False
    scan_layers: bool = False
    loss_chunk: int = 0
    remat: Literal["none", "full", "dots"] = "none"
    attention: Literal["xla", "cudnn", "splash", "auto"] = "xla"
    param_dtype: Literal["float32", "bfloat16"] = "float32"
    compute_dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    softmax_dtype: Literal["float32", "bfloat16"] = "float32"
    loss_dtype: Literal["float32", "bfloat16"] = "float32"

    def validate(self) -> None:
        for field in ("vocab_size", "d_model", "n_heads", "d_ff", "max_length"):
            self.require(getattr(self, field) >= 1, field, "an integer of at least 1")
        self.require(
            self.d_model % self.n_heads == 0, "n_heads", f"a divisor of d_model = {self.d_model}"
        )
        self.require(
            self.n_kv_heads is None
            or (self.n_kv_heads >= 1 and self.n_heads % self.n_kv_heads == 0),
            "n_kv_heads",
            f"a divisor of n_heads = {self.n_heads}, or None",
        )
        self.require(
            self.positions != "rope" or self.d_head % 2 == 0,
            "n_heads",
            f"an even head size (rotary positions turn pairs), not {self.d_head}",
        )
        self.require(self.relative_buckets >= 4, "relative_buckets", "an integer of at least 4")
        self.require(
            self.relative_max_distance > self.relative_buckets // 2,
            "relative_max_distance",
            f"above relative_buckets / 2 = {self.relative_buckets // 2}",
        )
        self.require(self.rope_base > 1, "rope_base", "a number above 1")
        self.require(self.norm_epsilon > 0, "norm_epsilon", "a number above 0")
        for field in ("attention_soft_cap", "logit_soft_cap"):
            self.require(getattr(self, field) >= 0, field, "a number above 0, or 0 for none")
        self.require(self.loss_chunk >= 0, "loss_chunk", "an integer of at least 1, or 0 for all")
        self.require(self.window >= 0, "window", "an integer of at least 1, or 0 for none")
        self.require(0 <= self.dropout < 1, "dropout", "a number in [0, 1)")
        self._validate_experts()

    def _validate_experts(self) -> None:
        n = self.n_experts
        self.require(n == 0 or n >= 2, "n_experts", "an integer of at least 2, or 0 for one MLP")
        for field in ("capacity_factor", "load_balance_loss", "router_z_loss"):
            self.require(getattr(self, field) >= 0, field, "a number of at least 0")
        if n:
            fits = 1 <= self.experts_per_token <= n
            self.require(fits, "experts_per_token", f"an integer from 1 to n_experts = {n}")
        else:
            self.require(not self.shared_expert, "shared_expert", "False where n_experts is 0")

    @property
    def d_head(self) -> int:
        return self.d_model // self.n_heads

    @property
    def kv_heads(self) -> int:
        return self.n_kv_heads or self.n_heads

    @property
    def gated(self) -> bool:
        """Whether the MLP has two input projections."""
        return self.activation in ("swiglu", "geglu")

    def expert_capacity(self, length: int) -> int:
        """Assignments that an expert takes of a row of `length` positions; 0: any number.

        A token is assigned to an expert at most once, so a row's length is room for all.
        """
        if not self.capacity_factor:
            return 0
        even = self.capacity_factor * self.experts_per_token * length / self.n_experts
        return min(length, max(1, math.ceil(even)))

    @property
    def depths(self) -> dict[str, int]:
        """Layers of each stack, by its name."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, kw_only=True)
class _OneStackConfig(TransformerConfig):
    """What a family of one stack adds: its depth. The stack has the family's name."""

    family: ClassVar[str]
    n_layers: int = 2

    def validate(self) -> None:
        super().validate()
        self.require(self.n_layers >= 1, "n_layers", "an integer of at least 1")

    @property
    def depths(self) -> dict[str, int]:
        return {self.family: self.n_layers}


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecoderConfig(_OneStackConfig):
    """A decoder-only transformer (GPT, Llama): causal self-attention."""

    family: ClassVar[str] = "decoder"


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderConfig(_OneStackConfig):
    """An encoder-only transformer (BERT): self-attention in both directions."""

    family: ClassVar[str] = "encoder"


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderDecoderConfig(TransformerConfig):
    """An encoder-decoder (T5, BART): the decoder attends to the encoder's output too.

    Both stacks share the embedding table and every option, and have their own depth.
    """

    family: ClassVar[str] = "encoder_decoder"
    n_encoder_layers: int = 2
    n_decoder_layers: int = 2

    def validate(self) -> None:
        super().validate()
        for field in ("n_encoder_layers", "n_decoder_layers"):
            self.require(getattr(self, field) >= 1, field, "an integer of at least 1")

    @property
    def n_layers(self) -> int:
        """Of both stacks together."""
        return self.n_encoder_layers + self.n_decoder_layers

    @property
    def depths(self) -> dict[str, int]:
        return {"encoder": self.n_encoder_layers, "decoder": self.n_decoder_layers}


ModelConfig = DecoderConfig | EncoderConfig | EncoderDecoderConfig
