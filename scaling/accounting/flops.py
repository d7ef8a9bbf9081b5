"""Training FLOPs of a model, by group and under named conventions.

A multiply-add is two operations. Only matrix products count: norms, softmax, rotary positions and
the optimizer are elementwise, and an embedding lookup is a gather. The backward pass of a product
is two products of the same size, so training costs three times the forward pass.

Costs are of one example, a packed row: `Lengths` says how many positions an objective makes of it in
each stack, padding included, for padding is computed too.
"""

import jax

from scaling.models import ModelConfig, build_model
from scaling.objectives import Lengths

FLOPS_CONVENTIONS = {
    "6nd": "6 N D with N the active parameters (of experts, those a token is sent to) outside the input"
    " embedding and position tables (head counted), D the positions that meet them: those of its own"
    " stack for each layer of an encoder-decoder",
    "palm": "6nd and attention scores, 12 L H Q T a position (Chowdhery et al. 2022, appendix B)",
    "chinchilla": "exact, and 3 operations a softmax entry, and each input embedding as a product with"
    " a one-hot row of the vocabulary (Hoffmann et al. 2022, appendix F)",
    "exact": "every matrix product the program runs, attention scores over the full T x T square;"
    " what rematerialisation runs again is not counted, empty slots of experts with a capacity are",
}


def forward_flops(config: ModelConfig, lengths: Lengths) -> dict[str, int]:
    """FLOPs of one example's forward pass by group, as the program runs them.

    Attention scores (queries with keys, weights with values) count the full square: causal masking
    zeroes half of it and saves nothing here. A kernel counts as much: what splash skips of the square, and
    what its backward pass makes again, changes nothing. Cross-attention is counted with attention, a
    shared expert with the MLP. Experts without a capacity compute `experts_per_token` rows for each
    position.
    """
    d_model, queries = config.d_model, config.d_model * config.d_model
    keys = d_model * config.kv_heads * config.d_head
    mlp = (3 if config.gated else 2) * d_model * config.d_ff
    groups = ("attention", "attention_scores", "mlp", "router", "experts", "unembedding")
    flops = dict.fromkeys(groups, 0)
    chosen, dense = config.experts_per_token, config.shared_expert or not config.n_experts
    for stack, depth in config.depths.items():
        length = getattr(lengths, stack)
        flops["attention"] += depth * 2 * length * (2 * queries + 2 * keys)
        flops["attention_scores"] += depth * 2 * 2 * length * length * d_model
        flops["mlp"] += depth * 2 * length * mlp * dense
        if config.n_experts:
            capacity = config.expert_capacity(length)
            rows = config.n_experts * capacity if capacity else length * chosen
            flops["router"] += depth * 2 * length * d_model * config.n_experts
            flops["experts"] += depth * 2 * rows * mlp
        if stack == "decoder" and "encoder" in config.depths:
            read = lengths.encoder
            flops["attention"] += depth * 2 * (length * 2 * queries + read * 2 * keys)
            flops["attention_scores"] += depth * 2 * 2 * length * read * d_model
    flops["unembedding"] = 2 * lengths.targets * d_model * config.vocab_size
    return flops


def unmasked_score_flops(config: ModelConfig, lengths: Lengths) -> int:
    """Of `forward_flops`' attention scores, those that causal masks leave: what a kernel without waste
    computes. A decoder's own scores count T (T + 1) / 2 of T x T; an encoder's and cross-attention's are
    whole. Segments, prefixes and windows are not looked at."""
    masked = lengths.decoder * (lengths.decoder - 1) // 2
    depth = config.depths.get("decoder", 0)
    whole = forward_flops(config, lengths)["attention_scores"]
    return whole - depth * 2 * 2 * masked * config.d_model


def exact_train_flops(config: ModelConfig, lengths: Lengths) -> int:
    """The convention `exact`, for one example: forward and backward."""
    return 3 * sum(forward_flops(config, lengths).values())


def train_flops(config: ModelConfig, lengths: Lengths, n_examples: int) -> dict[str, float]:
    """FLOPs of training on so many examples under every convention of `FLOPS_CONVENTIONS`."""
    forward = forward_flops(config, lengths)
    by_convention = {
        "6nd": 6 * _parameter_positions(config, lengths),
        "exact": exact_train_flops(config, lengths),
    }
    by_convention["palm"] = by_convention["6nd"] + 3 * forward["attention_scores"]
    by_convention["chinchilla"] = by_convention["exact"] + 3 * _lookups_and_softmax(config, lengths)
    return {name: float(by_convention[name] * n_examples) for name in FLOPS_CONVENTIONS}


def _lookups_and_softmax(config: ModelConfig, lengths: Lengths) -> int:
    """Forward operations of one example that the convention `chinchilla` counts and no product does."""
    total = 0
    for stack, depth in config.depths.items():
        length = getattr(lengths, stack)
        read = lengths.encoder if stack == "decoder" else 0
        total += 2 * length * config.vocab_size * config.d_model
        total += depth * 3 * config.n_heads * length * (length + read)
    return total


def _parameter_positions(config: ModelConfig, lengths: Lengths) -> int:
    """N D of one example: each active parameter times the positions of its stack.

    What belongs to no stack's blocks (final norms, the unembedding) meets the positions of the logits.
    """
    total = 0
    for spec in jax.tree.leaves(build_model(config).specs):
        if spec.group not in ("embedding", "position"):
            size = spec.size
            if spec.group == "experts":
                size = size * config.experts_per_token // config.n_experts
            total += size * (getattr(lengths, spec.stack.name) if spec.stack else lengths.targets)
    return total
