"""Memory of one training step by group, from shapes: an estimate to plan with."""

from typing import Any

import jax
import jax.numpy as jnp

from scaling.models import ModelConfig, build_model
from scaling.objectives import Lengths
from scaling.optim import AdamWConfig, Optimizer, OptimizerConfig

FLOAT32_BYTES = 4


def memory_by_group(
    config: ModelConfig,
    batch_size: int,
    lengths: Lengths,
    optimizer: OptimizerConfig = AdamWConfig(),
) -> dict[str, int]:
    """Bytes on one device that holds the whole model.

    lengths: positions of an example in each stack.
    parameters, gradients: in `param_dtype`.
    optimizer: every array of its state, as it starts out: Adam's two moments, Muon's one of hidden
        matrices, Adafactor's rows and columns.
    activations: what the backward pass reads. Without rematerialisation that is, per position and
        layer, about 10 vectors of d_model (residual stream, norms, queries, keys and values before and
        after rotation, attention output), half as many again for cross-attention, the MLP's hidden
        units before and after its activation (and its gate), and a row of attention weights a head, as
        long as what is attended to. A scan over layers stacks every vector that a derivative names,
        where unrolled layers recompute the cheap ones. Under `full` only the input of each layer
        stays, under `dots` also each product of matrices (attention's scores too). One layer at a
        time, scanned or rematerialised, has all it needs, when the logits are gone: what it needs
        beyond their room is counted here. An expert's slots count as positions do.
    logits: their float32 values and their gradient, of `loss_chunk` positions at a time.

    Against what XLA allocates on a CPU for the float32 step: within 20% without rematerialisation,
    scanned or not, and of scanned layers with it (tests). Not so there: unrolled layers with
    rematerialisation, which XLA's CPU scheduler recomputes early (2.7 times this for six layers, so
    that it saves nothing), and experts without a capacity, each row of which meets all experts on a
    CPU (twice this for eight experts).
    """
    specs = build_model(config).specs
    params = jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, config.param_dtype), specs)
    state = jax.eval_shape(Optimizer(optimizer, "constant", specs).init, params)
    n_bytes = _bytes(params)
    kept, layer = (batch_size * size for size in _activations(config, lengths))
    asked = min(config.loss_chunk or lengths.targets, lengths.targets)
    logits = 2 * batch_size * asked * config.vocab_size * FLOAT32_BYTES
    return {
        "parameters": n_bytes,
        "gradients": n_bytes,
        "optimizer": _bytes(state),
        "activations": kept + max(0, layer - logits),
        "logits": logits,
    }


def rules_of_thumb(
    config: ModelConfig, n_params: dict[str, int], batch_size: int, lengths: Lengths
) -> dict[str, int]:
    """What people quote, in bytes, to hold beside `memory_by_group`; each key names its source.

    16 bytes a parameter: 16-bit weights and gradients, float32 weights and two moments of Adam.
    Activations of a decoder in 16 bits, per layer: s b h (34 + 5 a s / h) with s positions, b rows, h
    d_model and a heads; with full recomputation 2 s b h. For an MLP four times as wide, and dropout.
    """
    width, heads = config.d_model, config.n_heads
    stored = recomputed = 0
    for stack, depth in config.depths.items():
        length = getattr(lengths, stack)
        recomputed += 2 * depth * batch_size * length * width
        stored += depth * batch_size * length * (34 * width + 5 * heads * length)
    return {
        "weights, gradients and Adam: 16 bytes a parameter (Rajbhandari et al. 2020)":
            16 * sum(n_params.values()),
        "activations, stored: s b h (34 + 5 a s / h) a layer (Korthikanti et al. 2023)": stored,
        "activations, recomputed: 2 s b h a layer (Korthikanti et al. 2023)": recomputed,
    }


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _activations(config: ModelConfig, lengths: Lengths) -> tuple[int, int]:
    """Bytes of one example: kept for the backward pass, and recomputed for one layer at a time."""
    item = jnp.dtype(config.compute_dtype).itemsize
    kept, layer = 0, 0
    for stack, depth in config.depths.items():
        length = getattr(lengths, stack)
        crossed = lengths.encoder if stack == "decoder" else 0
        whole = _whole_layer(config, length, crossed, item)
        if config.remat == "none":
            kept += depth * whole
        else:
            kept += depth * length * config.d_model * item
        if config.remat == "dots":
            kept += depth * _products(config, length, crossed, item)
        if config.scan_layers or config.remat != "none":
            layer = max(layer, whole)
    return kept, layer


def _whole_layer(config: ModelConfig, length: int, crossed: int, item: int) -> int:
    """All that a layer's derivative names, but for what is cheap, where layers are unrolled."""
    hidden, vectors = (4 if config.gated else 2) * config.d_ff, 10
    if config.scan_layers:
        hidden, vectors = (3 if config.gated else 2) * config.d_ff, 18 if config.qk_norm else 14
    size, rows = vectors * config.d_model * length * item, length
    if crossed:  # queries and output of its own, keys and values of the encoder's positions
        size += (vectors // 2) * config.d_model * length * item + crossed * 4 * config.d_model * item
    if config.n_experts:
        slots = _slots(config, length)
        size += slots * 3 * config.d_model * item
        rows = slots + (length if config.shared_expert else 0)
    size += rows * hidden * item
    return size + length * config.n_heads * (length + crossed) * FLOAT32_BYTES


def _products(config: ModelConfig, length: int, crossed: int, item: int) -> int:
    """What products of matrices put out in a layer."""
    d_model, keys = config.d_model, config.kv_heads * config.d_head
    size = length * (3 * d_model + 2 * keys) * item
    if crossed:
        size += (length * 3 * d_model + crossed * 2 * keys) * item
    slots = _slots(config, length) if config.n_experts else length
    size += slots * ((2 if config.gated else 1) * config.d_ff + d_model) * item
    return size + length * config.n_heads * (length + crossed) * FLOAT32_BYTES


def _slots(config: ModelConfig, length: int) -> int:
    """Rows that experts compute of one example."""
    capacity = config.expert_capacity(length)
    return config.n_experts * capacity if capacity else config.experts_per_token * length
