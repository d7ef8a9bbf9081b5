"""Parameters, products, norms and the MLP. Shape suffixes in this folder: B batch, T length (of
queries), S length of keys, D embed, F mlp, H heads, G heads of keys and values, K kv (size of a
head), V vocab, E experts, J the experts of a token.

Modules hold parameters and their specs; they are only ever made abstractly (see `model.py`), so
the zeros here are never allocated and initialisation is a separate, pure function of the specs.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from scaling.models.config import TransformerConfig
from scaling.models.forward import Forward
from scaling.models.normalized import normalized
from scaling.models.parameter import Group, ParamSpec, Role, Stack


def parameter(
    stack: Stack | None,
    dims: dict[str, int],
    role: Role,
    group: Group,
    in_axes: tuple[str, ...] = (),
    start: float = 0.0,
) -> nnx.Param:
    """A parameter with its spec; a scanned stack prepends the `layers` axis."""
    if stack is not None and stack.scanned:
        dims = {"layers": stack.depth, **dims}
    spec = ParamSpec(
        shape=tuple(dims.values()), axes=tuple(dims), role=role, group=group, in_axes=in_axes,
        stack=stack, start=start,
    )
    return nnx.Param(jnp.zeros(spec.shape, jnp.float32), spec=spec)


def product(x: jax.Array, weight: jax.Array, n_in: int = 1) -> jax.Array:
    """Contracts the last `n_in` axes of x with the first `n_in` of weight, as one 2-D product.

    Written flat because XLA's CPU backend is up to twice as slow where the weight's gradient sums
    over two axes (batch and length) instead of one; elsewhere the reshapes are free.
    """
    leading, contracted, trailing = x.shape[:-n_in], x.shape[-n_in:], weight.shape[n_in:]
    size = math.prod(contracted)
    flat = _product(x.reshape(-1, size), weight.reshape(size, -1).astype(x.dtype))
    return flat.reshape(*leading, *trailing)


@jax.custom_vjp
def _product(x_MI: jax.Array, weight_IO: jax.Array) -> jax.Array:
    """x weight, with a gradient of the weight that XLA's CPU backend computes as fast as the product.

    It is a quarter slower where the left side is read by columns, as autodiff would have it.
    """
    return x_MI @ weight_IO


def _product_forward(x_MI: jax.Array, weight_IO: jax.Array) -> tuple[jax.Array, tuple]:
    return x_MI @ weight_IO, (x_MI, weight_IO)


def _product_backward(residuals: tuple, dy_MO: jax.Array) -> tuple[jax.Array, jax.Array]:
    x_MI, weight_IO = residuals
    worth_a_copy = x_MI.shape[1] <= dy_MO.shape[1]
    x_IM = _transposed(x_MI) if worth_a_copy else x_MI.T
    return dy_MO @ weight_IO.T, x_IM @ dy_MO


_product.defvjp(_product_forward, _product_backward)


def _transposed(x: jax.Array) -> jax.Array:
    """The transpose, on CPU as an array of its own; XLA would read it off `x`."""

    def copied(x: jax.Array) -> jax.Array:
        return jax.lax.optimization_barrier(x.T)

    return jax.lax.platform_dependent(x, cpu=copied, default=jnp.transpose)


class Dense(nnx.Module):
    """Matrices of a layer by name, each with a bias where the config has biases: `x W + b`."""

    def __init__(self, config: TransformerConfig, stack: Stack, group: Group):
        self._config, self._stack, self._group = config, stack, group

    def add(
        self, name: str, into: dict[str, int], out: dict[str, int], each: dict[str, int] | None = None
    ) -> None:
        """A matrix from the axes `into` to the axes `out`; one for each expert, along `each`."""
        each = each or {}
        weight = parameter(self._stack, each | into | out, "hidden", self._group, tuple(into))
        setattr(self, name, weight)
        if self._config.biases:
            bias = parameter(self._stack, each | out, "vector", self._group)
            setattr(self, f"{name}_bias", bias)

    def apply(self, name: str, x: jax.Array, n_in: int = 1) -> jax.Array:
        return self.biased(name, product(x, getattr(self, name)[...], n_in))

    def biased(
        self, name: str, y: jax.Array, aligned: Callable[[jax.Array], jax.Array] = lambda bias: bias
    ) -> jax.Array:
        """y plus the bias of a matrix, if there is one; `aligned` gives it the axes of y."""
        if not self._config.biases:
            return y
        return y + aligned(getattr(self, f"{name}_bias")[...]).astype(y.dtype)


class Norm(nnx.Module):
    """Over the last axis, in float32: x / rms(x), or for `layer` (x - mean(x)) / std(x).

    Then times a gain, plus a bias, where the config has them.
    """

    def __init__(self, config: TransformerConfig, axis: str, stack: Stack | None = None):
        dims = {axis: config.d_head if axis == "kv" else config.d_model}
        if config.norm_gain:
            self.gain = parameter(stack, dims, "vector", "norm", start=1.0)
        if config.norm == "layer" and config.biases:
            self.bias = parameter(stack, dims, "vector", "norm")
        self._config = config

    @jax.named_scope("norm")
    def __call__(self, x: jax.Array) -> jax.Array:
        config, layer = self._config, self._config.norm == "layer"
        gain = self.gain[...] if config.norm_gain else None
        bias = self.bias[...] if layer and config.biases else None
        return normalized(x, gain, bias, layer, config.norm_epsilon)


class MLP(Dense):
    """Two-layer perceptron; gated activations multiply their hidden units by a second projection."""

    def __init__(self, config: TransformerConfig, stack: Stack):
        super().__init__(config, stack, "mlp")
        self.add("up", {"embed": config.d_model}, {"mlp": config.d_ff})
        if config.gated:
            self.add("gate", {"embed": config.d_model}, {"mlp": config.d_ff})
        self.add("down", {"mlp": config.d_ff}, {"embed": config.d_model})

    @jax.named_scope("mlp")
    def __call__(self, x_BTD: jax.Array, forward: Forward) -> jax.Array:
        hidden_BTF = activated(self._config, lambda name: self.apply(name, x_BTD))
        hidden_BTF = forward.constrain(hidden_BTF, ("batch", "length", "mlp"))
        forward.tap("mlp_hidden", hidden_BTF)
        return self.apply("down", hidden_BTF)


def activated(config: TransformerConfig, projected: Callable[[str], jax.Array]) -> jax.Array:
    """Hidden units of an MLP, [..., F]; `projected` gives its input's projection `up` or `gate`."""

    def activation(up: jax.Array, gate: jax.Array | None) -> jax.Array:
        if config.activation == "swiglu":
            return jax.nn.silu(gate) * up
        if config.activation == "geglu":
            return jax.nn.gelu(gate, approximate=True) * up
        if config.activation == "squared_relu":
            return jnp.square(jax.nn.relu(up))
        return jax.nn.gelu(up, approximate=True)

    # computed again in the backward pass: on CPU quicker than to keep what is between its ends
    up = projected("up")
    return jax.checkpoint(activation)(up, projected("gate") if config.gated else None)


def soft_capped(x: jax.Array, cap: float) -> jax.Array:
    """cap * tanh(x / cap), or x where the cap is 0."""
    return cap * jnp.tanh(x / cap) if cap else x
