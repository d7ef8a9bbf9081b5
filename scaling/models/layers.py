"""The blocks every family is built from. Shape suffixes: B batch, T length, D embed, F mlp,
H heads, K kv (size of a head), V vocab.

Modules hold parameters and their specs; they are only ever made abstractly (see `model.py`), so
the zeros here are never allocated and initialisation is a separate, pure function of the specs.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from scaling.models.config import DecoderConfig
from scaling.models.forward import Forward, scaled
from scaling.models.parameter import Group, ParamSpec, Role, Stack


def parameter(
    stack: Stack | None, dims: dict[str, int], role: Role, group: Group, in_axes: tuple[str, ...] = ()
) -> nnx.Param:
    """A parameter with its spec; a scanned stack prepends the `layers` axis."""
    if stack is not None and stack.scanned:
        dims = {"layers": stack.depth, **dims}
    spec = ParamSpec(
        shape=tuple(dims.values()), axes=tuple(dims), role=role, group=group, in_axes=in_axes,
        stack=stack,
    )
    return nnx.Param(jnp.zeros(spec.shape, jnp.float32), spec=spec)


def product(x: jax.Array, weight: jax.Array, n_in: int = 1) -> jax.Array:
    """Contracts the last `n_in` axes of x with the first `n_in` of weight, as one 2-D product.

    Written flat because XLA's CPU backend is up to twice as slow where the weight's gradient sums
    over two axes (batch and length) instead of one; elsewhere the reshapes are free.
    """
    leading, contracted, trailing = x.shape[:-n_in], x.shape[-n_in:], weight.shape[n_in:]
    size = math.prod(contracted)
    flat = x.reshape(-1, size) @ weight.reshape(size, -1).astype(x.dtype)
    return flat.reshape(*leading, *trailing)


class RMSNorm(nnx.Module):
    """x / rms(x) * gain over the last axis, computed in float32 (Zhang & Sennrich 2019)."""

    def __init__(self, axis: str, size: int, epsilon: float, stack: Stack | None = None):
        self.gain = parameter(stack, {axis: size}, "vector", "norm")
        self.epsilon = epsilon

    def __call__(self, x: jax.Array) -> jax.Array:
        x32 = x.astype(jnp.float32)
        inverse_rms = jax.lax.rsqrt(jnp.mean(x32 * x32, axis=-1, keepdims=True) + self.epsilon)
        return (x32 * inverse_rms * self.gain[...]).astype(x.dtype)


class Rotation(NamedTuple):
    """Cosines and sines of the rotary angles of each position, [B, T, 1, K/2], float32."""

    cos: jax.Array
    sin: jax.Array


def rotation(positions_BT: jax.Array, d_head: int, base: float) -> Rotation:
    """Angle of pair i at position p is p * base^(-2i/K); positions are below the row's length.

    Looked up in a constant table: computed where they are used, XLA would fuse the sines into every
    head's rotation and evaluate them again for each, at five times the cost on a CPU.
    """
    half, length = d_head // 2, positions_BT.shape[-1]
    angle = np.arange(length)[:, None] * base ** (-np.arange(half) / half)
    tables = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    return Rotation(*(jnp.asarray(table)[positions_BT][:, :, None] for table in tables))


def rotate(x_BTHK: jax.Array, by: Rotation) -> jax.Array:
    """Rotary positions (Su et al. 2021): pairs (i, i + K/2) of each head turn by their angle."""
    low, high = jnp.split(x_BTHK.astype(jnp.float32), 2, axis=-1)
    turned = (low * by.cos - high * by.sin, high * by.cos + low * by.sin)
    return jnp.concatenate(turned, axis=-1).astype(x_BTHK.dtype)


class Attention(nnx.Module):
    """Multi-head self-attention over the positions that the mask allows."""

    def __init__(self, config: DecoderConfig, stack: Stack | None = None):
        heads = {"heads": config.n_heads, "kv": config.d_head}
        into = {"embed": config.d_model, **heads}
        self.query = parameter(stack, into, "hidden", "attention", ("embed",))
        self.key = parameter(stack, into, "hidden", "attention", ("embed",))
        self.value = parameter(stack, into, "hidden", "attention", ("embed",))
        out = {**heads, "embed": config.d_model}
        self.out = parameter(stack, out, "hidden", "attention", ("heads", "kv"))
        if config.qk_norm:
            self.query_norm = RMSNorm("kv", config.d_head, config.norm_epsilon, stack)
            self.key_norm = RMSNorm("kv", config.d_head, config.norm_epsilon, stack)
        self.config = config

    def __call__(
        self, x_BTD: jax.Array, by: Rotation, mask_BTT: jax.Array, forward: Forward
    ) -> jax.Array:
        def project(weight: nnx.Param) -> jax.Array:
            x_BTHK = product(x_BTD, weight[...])
            return forward.constrain(x_BTHK, ("batch", "length", "heads", "kv"))

        query, key, value = project(self.query), project(self.key), project(self.value)
        if self.config.qk_norm:
            query, key = self.query_norm(query), self.key_norm(key)
        for name, x_BTHK in (("query", query), ("key", key), ("value", value)):
            forward.tap(name, x_BTHK)
        query = scaled(rotate(query, by), forward.multipliers.attention)
        key = rotate(key, by)
        logits_BHTT = jnp.einsum(
            "bthk,bshk->bhts", query, key, preferred_element_type=jnp.float32
        )
        forward.tap("attention_logits", logits_BHTT)
        logits_BHTT = jnp.where(mask_BTT[:, None], logits_BHTT, jnp.finfo(jnp.float32).min)
        weights_BHTT = jax.nn.softmax(logits_BHTT, axis=-1).astype(x_BTD.dtype)
        mixed_BTHK = jnp.einsum("bhts,bshk->bthk", weights_BHTT, value)
        return product(mixed_BTHK, self.out[...], n_in=2)


class MLP(nnx.Module):
    """Two-layer perceptron; `swiglu` gates its hidden units."""

    def __init__(self, config: DecoderConfig, stack: Stack | None = None):
        into = {"embed": config.d_model, "mlp": config.d_ff}
        self.up = parameter(stack, into, "hidden", "mlp", ("embed",))
        if config.activation == "swiglu":
            self.gate = parameter(stack, into, "hidden", "mlp", ("embed",))
        out = {"mlp": config.d_ff, "embed": config.d_model}
        self.down = parameter(stack, out, "hidden", "mlp", ("mlp",))
        self.activation = config.activation

    def __call__(self, x_BTD: jax.Array, forward: Forward) -> jax.Array:
        hidden_BTF = product(x_BTD, self.up[...])
        if self.activation == "swiglu":
            hidden_BTF = jax.nn.silu(product(x_BTD, self.gate[...])) * hidden_BTF
        else:
            hidden_BTF = jax.nn.gelu(hidden_BTF, approximate=True)
        hidden_BTF = forward.constrain(hidden_BTF, ("batch", "length", "mlp"))
        forward.tap("mlp_hidden", hidden_BTF)
        return product(hidden_BTF, self.down[...])


class Block(nnx.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)); the multiplier of its stack on each branch."""

    def __init__(self, config: DecoderConfig, stack: Stack):
        self.attention_norm = RMSNorm("embed", config.d_model, config.norm_epsilon, stack)
        self.attention = Attention(config, stack)
        self.mlp_norm = RMSNorm("embed", config.d_model, config.norm_epsilon, stack)
        self.mlp = MLP(config, stack)
        self.stack_name = stack.name

    def __call__(
        self, x_BTD: jax.Array, by: Rotation, mask_BTT: jax.Array, forward: Forward
    ) -> jax.Array:
        def add(x_BTD: jax.Array, branch: str, y_BTD: jax.Array) -> jax.Array:
            forward.tap(branch, y_BTD)
            x_BTD = x_BTD + scaled(y_BTD, forward.residual(self.stack_name))
            return forward.constrain(x_BTD, ("batch", "length", "embed"))

        mixed_BTD = self.attention(self.attention_norm(x_BTD), by, mask_BTT, forward)
        x_BTD = add(x_BTD, "attention", mixed_BTD)
        x_BTD = add(x_BTD, "mlp", self.mlp(self.mlp_norm(x_BTD), forward))
        forward.tap("residual", x_BTD)
        return x_BTD
