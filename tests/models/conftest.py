"""Tiny decoders, one for each option that touches attention or the order of the layers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.models import DecoderConfig, build_model
from scaling.parametrizations import ParametrizationConfig, forward_multipliers, parameter_rules

VARIANTS = {
    "plain": {},
    "one head": {"n_heads": 1},
    "four heads": {"n_heads": 4},
    "qk norm": {"qk_norm": True},
    "swiglu": {"activation": "swiglu"},
    "tied": {"tie_embeddings": True},
    "scan": {"scan_layers": True},
    "bfloat16": {"compute_dtype": "bfloat16"},
    "everything": {
        "qk_norm": True, "activation": "swiglu", "tie_embeddings": True, "scan_layers": True,
    },
}


class Tiny:
    """A model with random parameters, and its jitted logits."""

    def __init__(self, **changes):
        shape = dict(vocab_size=20, d_model=16, n_layers=2, n_heads=2, d_ff=24)
        self.config = DecoderConfig(**shape | changes)
        self.model = build_model(self.config)
        parametrization = ParametrizationConfig(name="standard")
        self.rules = parameter_rules(parametrization, self.model.specs)
        # From NumPy, gains too: a test that is not about `init` need not compile it.
        draws = np.random.default_rng(0)
        self.params = jax.tree.map(
            lambda spec, rule: jnp.asarray(
                draws.normal(spec.role == "vector", rule.init_std or 0.2, spec.shape), jnp.float32
            ),
            self.model.specs, self.rules,
        )
        self.forward = forward_multipliers(parametrization, self.model.specs)
        self.apply = functools.partial(self.model.apply, multipliers=self.forward)
        self.logits = jax.jit(self.apply)

    @functools.cached_property
    def draw(self):
        """Parameters of a seed, as training draws them."""
        init_std = jax.tree.map(lambda rule: rule.init_std, self.rules)
        return jax.jit(lambda seed: self.model.init(seed, init_std))


tiny_model = functools.cache(Tiny)


@pytest.fixture(scope="session")
def make_tiny():
    """`make_tiny(**changes)`: the `Tiny` of some fields of `DecoderConfig`; each is built once."""
    return tiny_model


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS)
def tiny(request) -> Tiny:
    return tiny_model(**request.param)


@pytest.fixture(scope="session")
def packed_batch():
    """`packed_batch(rows)`: each row a list of documents, which are lists of tokens."""

    def batch(rows: list[list[list[int]]]) -> dict[str, jax.Array]:
        arrays = {
            "decoder_input_tokens": [[t for document in row for t in document] for row in rows],
            "decoder_positions": [[i for document in row for i in range(len(document))]
                                  for row in rows],
            "decoder_segment_ids": [[n for n, document in enumerate(row) for _ in document]
                                    for row in rows],
        }
        return {name: jnp.asarray(np.array(value, np.int32)) for name, value in arrays.items()}

    return batch
