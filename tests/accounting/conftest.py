"""Abstract training inputs of a model: everything here is traced or compiled, nothing runs."""

import jax
import jax.numpy as jnp
import pytest

from scaling.models import (
    DecoderConfig,
    EncoderConfig,
    EncoderDecoderConfig,
    ForwardMultipliers,
    ModelConfig,
    build_model,
)
from scaling.objectives import Lengths, cross_entropy

OPTIONS = {
    "plain": {},
    "swiglu": {"activation": "swiglu"},
    "qk norm": {"qk_norm": True},
    "tied": {"tie_embeddings": True},
    "one head": {"n_heads": 1},
    "bfloat16": {"compute_dtype": "bfloat16"},
    "shared keys and values": {"n_heads": 4, "n_kv_heads": 2},
    "biases, learned positions": {"biases": True, "norm": "layer", "positions": "learned"},
    "relative positions, sandwich": {"positions": "relative", "norm_placement": "sandwich"},
    "experts": {"n_experts": 4, "activation": "swiglu", "shared_expert": True},
    "experts with a capacity": {"n_experts": 4, "experts_per_token": 1, "capacity_factor": 1.25},
    "all of them": {"activation": "swiglu", "qk_norm": True, "tie_embeddings": True},
}


@pytest.fixture(params=[False, True], ids=["unrolled", "scanned"])
def scan_layers(request) -> bool:
    return request.param


SHAPE = dict(vocab_size=50, d_model=24, n_heads=2, d_ff=40)
FAMILIES = [
    (EncoderConfig, {"n_layers": 3}),
    (EncoderDecoderConfig, {"n_encoder_layers": 3, "n_decoder_layers": 2}),
    (EncoderDecoderConfig, {"n_encoder_layers": 1, "n_decoder_layers": 2, "n_kv_heads": 1,
                            "activation": "geglu", "positions": "relative"}),
    (EncoderDecoderConfig, {"n_encoder_layers": 1, "n_decoder_layers": 2, "n_experts": 4, "biases": True,
                            "capacity_factor": 1.0, "shared_expert": True}),
]


@pytest.fixture(params=[*OPTIONS.items(), *(("", family) for family in FAMILIES)],
                ids=lambda p: p[0] or f"{p[1][0].__name__}{len(p[1][1])}")
def config(request, scan_layers) -> ModelConfig:
    name, options = request.param
    if name:
        return DecoderConfig(**SHAPE | {"n_layers": 3} | options, scan_layers=scan_layers)
    family, changes = options
    return family(**SHAPE | changes, scan_layers=scan_layers)


def lengths_of(config: ModelConfig, length: int) -> Lengths:
    """The decoder's `length`, and for an encoder beside it two positions more."""
    if config.family == "encoder_decoder":
        return Lengths(length + 2, length)
    return Lengths(length, 0) if config.family == "encoder" else Lengths(0, length)


@pytest.fixture(scope="session")
def loss_and_arguments():
    """`loss_and_arguments(config, B, T)`: the mean loss of a batch, and its abstract arguments.

    T may be the `Lengths` of both stacks.
    """

    def make(config: ModelConfig, batch_size: int, length: int | Lengths):
        model = build_model(config)
        lengths = length if isinstance(length, Lengths) else lengths_of(config, length)

        def loss(params, batch):
            logits = model.apply(params, batch, ForwardMultipliers(config.d_head**-0.5))
            sums = cross_entropy(logits, batch["targets"], batch["weights"])
            return sums.loss.sum() / sums.weight.sum()

        params = jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, jnp.float32), model.specs)
        batch = {
            f"{side}_{name}": jax.ShapeDtypeStruct((batch_size, size), jnp.int32)
            for side, size in lengths._asdict().items() if size
            for name in ("input_tokens", "positions", "segment_ids")
        }
        scored = (batch_size, lengths.targets)
        batch["targets"] = jax.ShapeDtypeStruct(scored, jnp.int32)
        batch["weights"] = jax.ShapeDtypeStruct(scored, jnp.float32)
        return loss, (params, batch)

    return make
