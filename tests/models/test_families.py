"""What a logit may depend on, in every family and under every option that touches attention.

One batch asks all questions of a model: its rows are a base row and copies with one thing changed.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.errors import UserError
from scaling.models import (
    DecoderConfig,
    EncoderConfig,
    EncoderDecoderConfig,
    ForwardMultipliers,
    build_model,
)

SHAPE = dict(vocab_size=40, d_model=16, n_heads=4, d_ff=24)
OPTIONS = {
    "plain": {},
    "grouped-query": {"n_kv_heads": 2},
    "multi-query, geglu": {"n_kv_heads": 1, "activation": "geglu"},
    "relative": {"positions": "relative", "relative_buckets": 4, "relative_max_distance": 8},
    "learned, biases": {"positions": "learned", "max_length": 12, "biases": True, "norm": "layer"},
    "no positions, no gains": {"positions": "none", "norm_gain": False, "activation": "squared_relu"},
    "caps, sandwich": {"attention_soft_cap": 2.0, "logit_soft_cap": 5.0, "norm_placement": "sandwich"},
    "window, qk norm": {"window": 3, "qk_norm": True},
    "experts": {"n_experts": 4, "activation": "swiglu", "remat": "dots"},
    "remat": {"remat": "full"},
}
CASES = [(EncoderDecoderConfig, name) for name in OPTIONS]
CASES += [
    (DecoderConfig, name)
    for name in ("grouped-query", "relative", "learned, biases", "window, qk norm", "experts")
]
CASES += [(EncoderConfig, name) for name in ("plain", "relative", "window, qk norm")]

LENGTH = 12
# two segments and padding; the second segment of the decoder begins elsewhere than the encoder's
ENCODER = [1] * 5 + [2] * 4 + [0] * 3
DECODER = [1] * 4 + [2] * 6 + [0] * 2


def side_of(tokens: list[int], segments: list[int], side: str) -> dict[str, list[int]]:
    positions = [segments[:i].count(s) for i, s in enumerate(segments)]
    return {
        f"{side}_input_tokens": tokens, f"{side}_segment_ids": segments,
        f"{side}_positions": positions,
    }


def at(segments: list[int], segment: int) -> list[int]:
    return [i for i, s in enumerate(segments) if s == segment]


def changed(tokens: list[int], where: list[int]) -> list[int]:
    return [token + 20 if i in where else token for i, token in enumerate(tokens)]


def alone(tokens: list[int], segments: list[int]) -> tuple[list[int], list[int]]:
    """The second segment at the start of its row, the rest padding."""
    kept = [tokens[i] for i in at(segments, 2)]
    rest = LENGTH - len(kept)
    return kept + [7] * rest, [2] * len(kept) + [0] * rest


ROWS = ["base", "later token", "other encoder segment", "other decoder segment", "padding",
        "own encoder segment", "alone", "prefix"]


@pytest.fixture(scope="module")
def batch() -> dict[str, np.ndarray]:
    """Rows as `ROWS` names them; the question is always about segment 2."""
    enc, dec = list(range(LENGTH)), list(range(6, 6 + LENGTH))
    later = at(DECODER, 2)[3:]
    sides = [
        (enc, ENCODER, dec, DECODER),
        (enc, ENCODER, changed(dec, later), DECODER),
        (changed(enc, at(ENCODER, 1)), ENCODER, dec, DECODER),
        (enc, ENCODER, changed(dec, at(DECODER, 1)), DECODER),
        (changed(enc, at(ENCODER, 0)), ENCODER, changed(dec, at(DECODER, 0)), DECODER),
        (changed(enc, at(ENCODER, 2)[3:]), ENCODER, dec, DECODER),
        (*alone(enc, ENCODER), *alone(dec, DECODER)),
    ]
    rows = [
        side_of(e, es, "encoder") | side_of(d, ds, "decoder") for e, es, d, ds in sides
    ]
    return {name: np.array([row[name] for row in rows], np.int32) for name in rows[0]}


def random_params(model, scale: float = 0.4):
    draws = np.random.default_rng(0)
    return jax.tree.map(
        lambda s: jnp.asarray(s.start + scale * draws.normal(size=s.shape), jnp.float32), model.specs
    )


def stacked(params):
    """Unrolled layers as the stacked tree that `scan_layers` holds."""
    out = dict(params)
    for name in ("layers", "encoder_layers"):
        if name in params:
            layers = [params[name][key] for key in sorted(params[name])]
            out[name] = jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers)
    return out


@pytest.fixture(scope="module", params=CASES, ids=lambda c: f"{c[0].__name__[:-6]}-{c[1]}")
def answered(request, batch):
    family, option = request.param
    config = family(**SHAPE | OPTIONS[option])
    model = build_model(config)
    params = random_params(model)
    multipliers = ForwardMultipliers(config.d_head**-0.5)
    side = "encoder" if family is EncoderConfig else "decoder"
    logits = jax.jit(model.apply)(params, batch, multipliers)
    assert np.isfinite(logits).all()
    return config, params, dict(zip(ROWS, np.asarray(logits))), side


def test_a_token_is_seen_by_what_comes_after_it_and_in_an_encoder_by_all(answered):
    config, _, logits, side = answered
    second = at(DECODER, 2)
    if side == "decoder":
        np.testing.assert_array_equal(logits["base"][second[:3]], logits["later token"][second[:3]])
        assert (logits["base"][second[3:]] != logits["later token"][second[3:]]).any(-1).all()
    else:
        second = at(ENCODER, 2)
        reach = second if not config.window else second[2:]
        assert (logits["base"][reach] != logits["own encoder segment"][reach]).any(-1).all()


def test_another_segment_and_padding_are_not_seen(answered):
    """To the bit: of either stack, through self-attention and cross-attention."""
    _, _, logits, side = answered
    second = at(DECODER if side == "decoder" else ENCODER, 2)
    others = ["other decoder segment", "other encoder segment", "padding"]
    for row in others:
        np.testing.assert_array_equal(logits["base"][second], logits[row][second])
    first = at(DECODER if side == "decoder" else ENCODER, 1)
    seen = logits[others[0 if side == "decoder" else 1]]
    assert (logits["base"][first] != seen[first]).any()


def test_a_decoder_reads_the_encoders_segment_of_its_id(answered):
    config, _, logits, side = answered
    if config.family != "encoder_decoder":
        pytest.skip("no cross-attention")
    second = at(DECODER, 2)
    assert (logits["base"][second] != logits["own encoder segment"][second]).any(-1).all()
    first = at(DECODER, 1)
    np.testing.assert_array_equal(logits["base"][first], logits["own encoder segment"][first])


def test_a_packed_segment_is_as_it_would_be_alone(answered):
    _, _, logits, side = answered
    second = at(DECODER if side == "decoder" else ENCODER, 2)
    np.testing.assert_allclose(logits["base"][second], logits["alone"][: len(second)], atol=2e-5)


def test_scanned_layers_give_the_same_numbers(answered, batch):
    config, params, logits, _ = answered
    scanned = build_model(config.replace(scan_layers=True))
    multipliers = ForwardMultipliers(config.d_head**-0.5)
    out = jax.jit(scanned.apply)(stacked(params), batch, multipliers)
    np.testing.assert_allclose(np.asarray(out[0]), logits["base"], atol=2e-5)


def test_a_prefix_is_read_both_ways_and_the_rest_is_causal(batch):
    config = DecoderConfig(**SHAPE)
    model = build_model(config)
    params = random_params(model)
    second = at(DECODER, 2)
    prefix = np.zeros_like(batch["decoder_input_tokens"])
    prefix[:, second[:3]] = 1
    rows = dict(batch, decoder_prefix=prefix)
    tokens = rows["decoder_input_tokens"].copy()
    tokens[1] = tokens[0]
    tokens[1, second[2]] += 20  # the end of the prefix
    tokens[2] = tokens[0]
    tokens[2, second[4]] += 20  # beyond it
    rows["decoder_input_tokens"] = tokens
    base, in_prefix, beyond = np.asarray(
        model.apply(params, rows, ForwardMultipliers(config.d_head**-0.5))
    )[:3]
    assert (base[second] != in_prefix[second]).any(-1).all()
    np.testing.assert_array_equal(base[second[:4]], beyond[second[:4]])
    first = at(DECODER, 1)
    np.testing.assert_array_equal(base[first], in_prefix[first])


def test_a_window_ends_what_is_seen(batch):
    """Of one layer: exactly the last `window` positions."""
    config = DecoderConfig(**SHAPE, n_layers=1, window=3)
    model = build_model(config)
    params = random_params(model)
    rows = {name: array[:2].copy() for name, array in batch.items()}
    second = at(DECODER, 2)
    rows["decoder_input_tokens"][1] = rows["decoder_input_tokens"][0]
    rows["decoder_input_tokens"][1, second[1]] += 20
    base, other = np.asarray(model.apply(params, rows, ForwardMultipliers(0.5)))
    differs = (base != other).any(-1)
    assert differs.tolist() == [i in second[1:4] for i in range(LENGTH)]


def test_a_decoder_segment_without_encoder_segment_reads_nothing(batch):
    """Not the average of what belongs to others."""
    config = EncoderDecoderConfig(**SHAPE)
    model = build_model(config)
    params = random_params(model)
    rows = {name: array[:2].copy() for name, array in batch.items()}
    rows["encoder_segment_ids"][:] = 1
    rows["encoder_input_tokens"][1] += 20
    base, other = np.asarray(model.apply(params, rows, ForwardMultipliers(0.5)))
    second = at(DECODER, 2)
    tokens = rows["decoder_input_tokens"]
    assert (tokens[0, second[:3]] == tokens[1, second[:3]]).all()
    np.testing.assert_array_equal(base[second[:3]], other[second[:3]])
    assert np.isfinite(base).all()


def test_stacks_have_their_own_depth_and_specs_say_so():
    config = EncoderDecoderConfig(**SHAPE, n_encoder_layers=3, n_decoder_layers=1)
    specs = build_model(config).specs
    assert len(specs["encoder_layers"]) == 3 and len(specs["layers"]) == 1
    depths = {(s.stack.name, s.stack.depth) for s in jax.tree.leaves(specs) if s.stack}
    assert depths == {("encoder", 3), ("decoder", 1)}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"n_kv_heads": 3}, "EncoderDecoderConfig.n_kv_heads = 3: expected a divisor of n_heads = 4"),
        ({"n_encoder_layers": 0}, "EncoderDecoderConfig.n_encoder_layers = 0"),
        ({"window": -1}, "EncoderDecoderConfig.window = -1"),
        ({"positions": "alibi"}, "EncoderDecoderConfig.positions = 'alibi'"),
        ({"relative_max_distance": 4}, "EncoderDecoderConfig.relative_max_distance = 4"),
        ({"logit_soft_cap": -1.0}, "EncoderDecoderConfig.logit_soft_cap = -1.0"),
    ],
)
def test_what_cannot_be_is_refused(changes, expected):
    with pytest.raises(UserError) as error:
        EncoderDecoderConfig(**SHAPE | changes)
    assert expected in str(error.value)
