"""Memory of one training step by group, from shapes: an estimate to plan with."""

from scaling.models import DecoderConfig

FLOAT32_BYTES = 4


def memory_by_group(
    config: DecoderConfig, n_params: dict[str, int], batch_size: int, sequence_length: int
) -> dict[str, int]:
    """Bytes on one device that holds the whole model, no rematerialisation.

    parameters, gradients, optimizer: float32, Adam keeps two moments.
    activations: what the backward pass reads, per token and layer: about 10 vectors of d_model
        (residual stream, norms, queries, keys and values before and after rotation, attention
        output), the MLP's hidden units before and after its activation (and its gate), and two
        T-long rows of attention weights a head.
    logits: their float32 values, their softmax and its gradient.
    """
    n = sum(n_params.values())
    tokens = batch_size * sequence_length
    activation_bytes = 2 if config.compute_dtype == "bfloat16" else FLOAT32_BYTES
    hidden = (4 if config.activation == "swiglu" else 2) * config.d_ff
    vectors = (10 * config.d_model + hidden) * activation_bytes
    attention = 2 * config.n_heads * sequence_length * FLOAT32_BYTES
    return {
        "parameters": FLOAT32_BYTES * n,
        "gradients": FLOAT32_BYTES * n,
        "optimizer": 2 * FLOAT32_BYTES * n,
        "activations": tokens * config.n_layers * (vectors + attention),
        "logits": 3 * tokens * config.vocab_size * FLOAT32_BYTES,
    }
