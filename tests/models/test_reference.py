"""The same weights in `transformers`' Llama and T5 give the same logits: float32, on a CPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.models import (
    DecoderConfig,
    EncoderDecoderConfig,
    ForwardMultipliers,
    build_model,
)

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TOLERANCE = 1e-4
B, T, S = 2, 11, 9


def tokens(length: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 60, (B, length))


def arrays(ids: np.ndarray, side: str) -> dict[str, np.ndarray]:
    return {
        f"{side}_input_tokens": ids, f"{side}_segment_ids": np.ones_like(ids),
        f"{side}_positions": np.broadcast_to(np.arange(ids.shape[1]), ids.shape),
    }


def heads_last(weight, n_heads: int) -> np.ndarray:
    """torch [H K, D] to [D, H, K]."""
    w = weight.detach().numpy().T
    return w.reshape(w.shape[0], n_heads, -1)


def heads_first(weight, n_heads: int) -> np.ndarray:
    """torch [D, H K] to [H, K, D]."""
    w = weight.detach().numpy().T
    return w.reshape(n_heads, -1, w.shape[1])


def plain(weight) -> np.ndarray:
    return weight.detach().numpy().T


def gain(norm) -> dict[str, np.ndarray]:
    return {"gain": norm.weight.detach().numpy()}


def randomise(model) -> None:
    """Every parameter away from its special start (gains of 1, biases of 0)."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + 0.2 * noise if "norm" in name else 0.25 * noise)


def test_a_llama():
    torch_config = transformers.LlamaConfig(
        vocab_size=60, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, rms_norm_eps=1e-5,
        max_position_embeddings=64, rope_theta=10_000.0, attn_implementation="eager",
    )
    theirs = transformers.LlamaForCausalLM(torch_config).eval()
    randomise(theirs)
    config = DecoderConfig(
        vocab_size=60, d_model=32, n_heads=4, n_kv_heads=2, d_ff=48, activation="swiglu",
        norm_epsilon=1e-5,
    )
    layers = {}
    for i, layer in enumerate(theirs.model.layers):
        a, mlp = layer.self_attn, layer.mlp
        layers[f"{i:03d}"] = {
            "attention": {
                "query": heads_last(a.q_proj.weight, 4), "key": heads_last(a.k_proj.weight, 2),
                "value": heads_last(a.v_proj.weight, 2), "out": heads_first(a.o_proj.weight, 4),
            },
            "attention_norm": gain(layer.input_layernorm),
            "mlp": {"up": plain(mlp.up_proj.weight), "gate": plain(mlp.gate_proj.weight),
                    "down": plain(mlp.down_proj.weight)},
            "mlp_norm": gain(layer.post_attention_layernorm),
        }
    params = {
        "embedding": theirs.model.embed_tokens.weight.detach().numpy(),
        "layers": layers, "final_norm": gain(theirs.model.norm),
        "unembedding": plain(theirs.lm_head.weight),
    }
    ids = tokens(T, 1)
    ours = logits(config, params, arrays(ids, "decoder"), config.d_head**-0.5)
    with torch.no_grad():
        expected = theirs(torch.tensor(ids)).logits.numpy()
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(ours, expected, atol=TOLERANCE)


def logits(config, params, batch, attention: float) -> np.ndarray:
    model = build_model(config)
    assert jax.tree.structure(params) == jax.tree.structure(model.specs)
    jax.tree.map(lambda spec, leaf: None if spec.shape == leaf.shape else pytest.fail(
        f"{spec} got {leaf.shape}"), model.specs, params)
    params = jax.tree.map(jnp.asarray, params)
    return np.asarray(jax.jit(model.apply)(params, batch, ForwardMultipliers(attention)))


def t5_attention(attention) -> dict[str, np.ndarray]:
    return {
        "query": heads_last(attention.q.weight, 4), "key": heads_last(attention.k.weight, 4),
        "value": heads_last(attention.v.weight, 4), "out": heads_first(attention.o.weight, 4),
    }


def t5_stack(stack, cross: bool) -> dict[str, dict]:
    layers = {}
    for i, block in enumerate(stack.block):
        attention, feed_forward = block.layer[0], block.layer[-1]
        layers[f"{i:03d}"] = {
            "attention": t5_attention(attention.SelfAttention),
            "attention_norm": gain(attention.layer_norm),
            "mlp": {
                "gate": plain(feed_forward.DenseReluDense.wi_0.weight),
                "up": plain(feed_forward.DenseReluDense.wi_1.weight),
                "down": plain(feed_forward.DenseReluDense.wo.weight),
            },
            "mlp_norm": gain(feed_forward.layer_norm),
        }
        if cross:
            layers[f"{i:03d}"] |= {
                "cross_attention": t5_attention(block.layer[1].EncDecAttention),
                "cross_attention_norm": gain(block.layer[1].layer_norm),
            }
    return layers


def t5_bias(stack) -> np.ndarray:
    table = stack.block[0].layer[0].SelfAttention.relative_attention_bias
    return table.weight.detach().numpy()


def test_a_t5():
    """Version 1.1: GEGLU, untied. T5 does not scale attention logits; it has relative biases."""
    torch_config = transformers.T5Config(
        vocab_size=60, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_decoder_layers=3, num_heads=4,
        relative_attention_num_buckets=8, relative_attention_max_distance=12, dropout_rate=0.0,
        layer_norm_epsilon=1e-5, feed_forward_proj="gated-gelu", tie_word_embeddings=False,
    )
    theirs = transformers.T5ForConditionalGeneration(torch_config).eval()
    randomise(theirs)
    config = EncoderDecoderConfig(
        vocab_size=60, d_model=32, n_heads=4, d_ff=48, n_encoder_layers=2, n_decoder_layers=3,
        activation="geglu", positions="relative", relative_buckets=8, relative_max_distance=12,
        norm_epsilon=1e-5,
    )
    params = {
        "embedding": theirs.shared.weight.detach().numpy(),
        "encoder_layers": t5_stack(theirs.encoder, cross=False),
        "encoder_final_norm": gain(theirs.encoder.final_layer_norm),
        "encoder_relative_bias": t5_bias(theirs.encoder),
        "layers": t5_stack(theirs.decoder, cross=True),
        "final_norm": gain(theirs.decoder.final_layer_norm),
        "relative_bias": t5_bias(theirs.decoder),
        "unembedding": plain(theirs.lm_head.weight),
    }
    read, said = tokens(S, 2), tokens(T, 3)
    batch = arrays(read, "encoder") | arrays(said, "decoder")
    ours = logits(config, params, batch, 1.0)
    with torch.no_grad():
        expected = theirs(
            input_ids=torch.tensor(read), decoder_input_ids=torch.tensor(said)
        ).logits.numpy()
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(ours, expected, atol=TOLERANCE)
