"""Memory of one training step by group, from shapes: an estimate to plan with."""

from scaling.models import ModelConfig
from scaling.objectives import Lengths
from scaling.optim import AdamWConfig, OptimizerConfig

FLOAT32_BYTES = 4


def memory_by_group(
    config: ModelConfig,
    n_params: dict[str, int],
    batch_size: int,
    lengths: Lengths,
    optimizer: OptimizerConfig = AdamWConfig(),
) -> dict[str, int]:
    """Bytes on one device that holds the whole model, without rematerialisation.

    Within 20% of what XLA allocates on a CPU for the float32 step, scanned or not (a test).

    lengths: positions of an example in each stack.
    parameters, gradients, optimizer: float32; Adam keeps two moments, others less.
    activations: what the backward pass reads, per position and layer: about 10 vectors of d_model
        (residual stream, norms, queries, keys and values before and after rotation, attention
        output), half as many again for cross-attention, the MLP's hidden units before and after
        its activation (and its gate), and two rows of attention weights a head, as long as what is
        attended to. A scan over layers stacks every intermediate value that a derivative names,
        where unrolled layers recompute the cheap ones.
    logits: their float32 values and their gradient.
    """
    n = sum(n_params.values())
    activation_bytes = 2 if config.compute_dtype == "bfloat16" else FLOAT32_BYTES
    hidden = (4 if config.gated else 2) * config.d_ff
    vectors, per_vector = 10, hidden
    if config.scan_layers:
        vectors, per_vector = (18 if config.qk_norm else 13), 6 * config.d_ff
    activations = 0
    for stack, depth in config.depths.items():
        length = getattr(lengths, stack)
        crossed = lengths.encoder if stack == "decoder" else 0
        width = vectors * config.d_model + per_vector
        if crossed:  # queries and output of its own, keys and values of the encoder's positions
            width += (vectors // 2) * config.d_model
            activations += depth * crossed * 4 * config.d_model * activation_bytes
        rows = 2 * config.n_heads * (length + crossed) * FLOAT32_BYTES
        activations += depth * length * (width * activation_bytes + rows)
    return {
        "parameters": FLOAT32_BYTES * n,
        "gradients": FLOAT32_BYTES * n,
        "optimizer": FLOAT32_BYTES * optimizer.state_floats(n_params),
        "activations": batch_size * activations,
        "logits": 2 * batch_size * lengths.targets * config.vocab_size * FLOAT32_BYTES,
    }
