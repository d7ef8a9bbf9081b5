"""Memory of one training step by group, from shapes: an estimate to plan with."""

from scaling.models import DecoderConfig
from scaling.optim import AdamWConfig, OptimizerConfig

FLOAT32_BYTES = 4


def memory_by_group(
    config: DecoderConfig,
    n_params: dict[str, int],
    batch_size: int,
    sequence_length: int,
    optimizer: OptimizerConfig = AdamWConfig(),
) -> dict[str, int]:
    """Bytes on one device that holds the whole model, no rematerialisation.

    Within 20% of what XLA allocates on a CPU for the float32 step, scanned or not (a test).

    parameters, gradients, optimizer: float32; Adam keeps two moments, others less.
    activations: what the backward pass reads, per token and layer: about 10 vectors of d_model
        (residual stream, norms, queries, keys and values before and after rotation, attention
        output), the MLP's hidden units before and after its activation (and its gate), and two
        T-long rows of attention weights a head. A scan over layers stacks every intermediate
        value that a derivative names, where unrolled layers recompute the cheap ones.
    logits: their float32 values and their gradient.
    """
    n = sum(n_params.values())
    tokens = batch_size * sequence_length
    activation_bytes = 2 if config.compute_dtype == "bfloat16" else FLOAT32_BYTES
    hidden = (4 if config.activation == "swiglu" else 2) * config.d_ff
    vectors = 10 * config.d_model + hidden
    if config.scan_layers:
        vectors = (18 if config.qk_norm else 13) * config.d_model + 6 * config.d_ff
    attention = 2 * config.n_heads * sequence_length * FLOAT32_BYTES
    return {
        "parameters": FLOAT32_BYTES * n,
        "gradients": FLOAT32_BYTES * n,
        "optimizer": FLOAT32_BYTES * optimizer.state_floats(n_params),
        "activations": tokens * config.n_layers * (vectors * activation_bytes + attention),
        "logits": 2 * tokens * config.vocab_size * FLOAT32_BYTES,
    }
