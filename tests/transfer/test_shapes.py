import pytest

from scaling.errors import UserError
from scaling.models import DecoderConfig, EncoderDecoderConfig
from scaling.transfer.shapes import parse_shape, scaled, shape_name

BASE = DecoderConfig(vocab_size=257, d_model=64, n_layers=4, n_heads=4, d_ff=192)


def test_a_name_is_read_back():
    assert parse_shape(shape_name(BASE)) == (64, 4)


@pytest.mark.parametrize("text", ["d64", "64.L4", "d64.L", "d64.L4x", "d0.L4", "d64.L0", "", "d-64.L4"])
def test_other_names_are_refused(text):
    with pytest.raises(UserError, match="such as d256.L8"):
        parse_shape(text)


@pytest.mark.parametrize("d_model, n_layers", [(64, 4), (128, 4), (192, 8), (32, 2), (16, 1)])
def test_heads_keep_their_size_and_the_mlp_its_ratio(d_model, n_layers):
    model = scaled(BASE, d_model, n_layers)
    assert (model.d_model, model.n_layers, model.d_head) == (d_model, n_layers, 16)
    assert model.d_ff == 3 * d_model


@pytest.mark.parametrize(
    "d_model, n_layers, words",
    [(96, 4, "nearest are 64 and 128"), (64, 6, "nearest are 4 and 8"), (64, 3, "no multiple"),
     (8, 4, "n_heads would be 0.5")],
)
def test_what_is_no_multiple_is_refused(d_model, n_layers, words):
    with pytest.raises(UserError, match=words):
        scaled(BASE, d_model, n_layers)


def test_both_stacks_of_an_encoder_decoder_grow_alike():
    base = EncoderDecoderConfig(
        vocab_size=257, d_model=64, n_encoder_layers=2, n_decoder_layers=4, n_heads=4, n_kv_heads=2,
        d_ff=128,
    )
    assert shape_name(base) == "d64.L6"
    model = scaled(base, 128, 12)
    assert (model.n_encoder_layers, model.n_decoder_layers) == (4, 8)
    assert (model.n_heads, model.n_kv_heads, model.d_ff) == (8, 4, 256)
    with pytest.raises(UserError, match="n_encoder_layers would be 0.6"):
        scaled(base, 64, 2)
