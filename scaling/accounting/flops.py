"""Training FLOPs of a model, by group and under named conventions.

A multiply-add is two operations. Only matrix products count: norms, softmax, rotary positions and
the optimizer are elementwise, and an embedding lookup is a gather. The backward pass of a product
is two products of the same size, so training costs three times the forward pass.
"""

from scaling.models import DecoderConfig

FLOPS_CONVENTIONS = {
    "6nd": "6 N D with N the parameters outside the input embedding table (head counted)",
    "exact": "every matrix product the program runs, attention scores over the full T x T square",
}


def forward_flops_per_token(config: DecoderConfig, sequence_length: int) -> dict[str, int]:
    """FLOPs of one token's forward pass by group, as the program runs them.

    Attention scores (queries with keys, weights with values) count the full square: causal masking
    zeroes half of it and saves nothing here.
    """
    projections = 4 * config.d_model * config.d_model
    mlp_matrices = 3 if config.activation == "swiglu" else 2
    return {
        "attention": config.n_layers * 2 * projections,
        "attention_scores": config.n_layers * 2 * 2 * sequence_length * config.d_model,
        "mlp": config.n_layers * 2 * mlp_matrices * config.d_model * config.d_ff,
        "unembedding": 2 * config.d_model * config.vocab_size,
    }


def exact_train_flops_per_token(config: DecoderConfig, sequence_length: int) -> int:
    """The convention `exact`, for one token: forward and backward."""
    return 3 * sum(forward_flops_per_token(config, sequence_length).values())


def train_flops(
    config: DecoderConfig, n_params: dict[str, int], sequence_length: int, n_tokens: int
) -> dict[str, float]:
    """FLOPs of training on `n_tokens` tokens under every convention of `FLOPS_CONVENTIONS`.

    n_params: by group, from `count_parameters`.
    """
    n = sum(n_params.values()) - n_params["embedding"]
    exact = exact_train_flops_per_token(config, sequence_length)
    return {"6nd": float(6 * n * n_tokens), "exact": float(exact * n_tokens)}
