"""Abstract training inputs of a model: everything here is traced or compiled, nothing runs."""

import jax
import jax.numpy as jnp
import pytest

from scaling.models import DecoderConfig, ForwardMultipliers, build_model
from scaling.objectives import CausalLM

OPTIONS = {
    "plain": {},
    "swiglu": {"activation": "swiglu"},
    "qk norm": {"qk_norm": True},
    "tied": {"tie_embeddings": True},
    "one head": {"n_heads": 1},
    "bfloat16": {"compute_dtype": "bfloat16"},
    "all of them": {"activation": "swiglu", "qk_norm": True, "tie_embeddings": True},
}


@pytest.fixture(params=[False, True], ids=["unrolled", "scanned"])
def scan_layers(request) -> bool:
    return request.param


@pytest.fixture(params=OPTIONS.values(), ids=OPTIONS)
def config(request, scan_layers) -> DecoderConfig:
    shape = dict(vocab_size=50, d_model=24, n_layers=3, n_heads=2, d_ff=40)
    return DecoderConfig(**shape | request.param, scan_layers=scan_layers)


@pytest.fixture(scope="session")
def loss_and_arguments():
    """`loss_and_arguments(config, B, T)`: the mean loss of a batch, and its abstract arguments."""

    def make(config: DecoderConfig, batch_size: int, length: int):
        model, objective = build_model(config), CausalLM(bos_id=1, length=length)

        def loss(params, batch):
            logits = model.apply(params, batch, ForwardMultipliers(config.d_head**-0.5))
            sums = objective.loss(logits, batch)
            return sums.loss.sum() / sums.weight.sum()

        params = jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, jnp.float32), model.specs)
        tokens = jax.ShapeDtypeStruct((batch_size, length), jnp.int32)
        names = ("input_tokens", "target_tokens", "positions", "segment_ids")
        batch = {f"decoder_{name}": tokens for name in names}
        batch["decoder_loss_weights"] = jax.ShapeDtypeStruct(tokens.shape, jnp.float32)
        return loss, (params, batch)

    return make
