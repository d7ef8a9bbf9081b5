"""What a forward pass is given beside parameters and batch."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

Scalar = float | jax.Array
Axes = tuple[str, ...]
# Sees an activation by its name; layers of a stack repeat a name in their order.
Tap = Callable[[str, jax.Array], None]


class Constrain(Protocol):
    """Where activations are, told by their logical axes.

    threads: that share one device's work, where XLA leaves it to us to keep them busy; else 1.
    """

    threads: int

    def __call__(self, x: jax.Array, axes: Axes) -> jax.Array:
        """x, given a sharding."""

    def on_each_device(
        self, function: Callable[..., jax.Array], inputs: tuple[Axes, ...], output: Axes
    ) -> Callable[..., jax.Array]:
        """The function, run on each device's part of its arguments: for kernels, which XLA cannot split."""


class KeysValues(NamedTuple):
    """What one layer's attention reads, [B, S, G, K]; keys are rotated where positions are rotary."""

    key: jax.Array
    value: jax.Array


# Given the name of an attention and a way to compute keys and values of what is new, all it reads.
Recall = Callable[[str, Callable[[], KeysValues]], KeysValues]


class Routing(NamedTuple):
    """What routers did in one layer, or in several together; float32.

    assigned_BE: assignments of a row's tokens to each expert, `experts_per_token` a token; padding
        has none. dropped_B: those of them that found no room.
    balance: load-balance losses (Fedus et al. 2022, equation 4): n_experts times the sum over experts
        of their share of assignments times their mean probability; 1 where both are even.
    z: mean squared log-normalisers of router logits (Zoph et al. 2022, equation 5).
    busiest: the busiest expert's share of assignments over an even one, 1 to n_experts.
    """

    assigned_BE: jax.Array
    dropped_B: jax.Array
    balance: jax.Array
    z: jax.Array
    busiest: jax.Array


# Is given a stack's routing, or a layer's.
Routed = Callable[[Routing], None]


class ForwardMultipliers(NamedTuple):
    """Factors inside the forward pass that a parametrization sets: floats or traced scalars.

    attention: of the products of queries and keys, before the softmax.
    readout: of the logits.
    encoder_residual, decoder_residual: of what each branch of a block (self-attention,
        cross-attention, MLP) adds to the residual stream.
    """

    attention: Scalar
    readout: Scalar = 1.0
    encoder_residual: Scalar = 1.0
    decoder_residual: Scalar = 1.0


def scaled(x: jax.Array, by: Scalar) -> jax.Array:
    """x * by in the dtype of x."""
    return x * jnp.asarray(by, x.dtype)


class _OneDevice:
    threads = 1

    def __call__(self, x: jax.Array, axes: Axes) -> jax.Array:
        return x

    def on_each_device(
        self, function: Callable[..., jax.Array], inputs: tuple[Axes, ...], output: Axes
    ) -> Callable[..., jax.Array]:
        return function


no_constraint = _OneDevice()


def no_tap(name: str, x: jax.Array) -> None:
    pass


def no_memory(name: str, of_source: Callable[[], KeysValues]) -> KeysValues:
    return of_source()


def not_routed(routing: Routing) -> None:
    pass


@dataclasses.dataclass(frozen=True)
class Forward:
    """One forward pass: its multipliers, its shardings, who looks on, and what is remembered.

    tap: must not see the inside of a scanned stack, whose values do not outlive the scan.
    recall: of one layer; see `scaling.models.cache`.
    dropout: the key of what is dropped; None: nothing is, as in evaluation.
    routed: is told what routers did. live_BT: bool, false at padding; None: there is none.
    """

    multipliers: ForwardMultipliers
    constrain: Constrain = no_constraint
    tap: Tap = no_tap
    recall: Recall = no_memory
    dropout: jax.Array | None = None
    routed: Routed = not_routed
    live_BT: jax.Array | None = None

    def numbered(self, i: int | jax.Array) -> "Forward":
        """The pass of part number i, which drops entries of its own."""
        if self.dropout is None:
            return self
        return dataclasses.replace(self, dropout=jax.random.fold_in(self.dropout, i))

    def dropped(self, x: jax.Array, rate: float) -> jax.Array:
        """x with a share of its entries at zero and the rest larger by as much (Srivastava et al. 2014)."""
        if self.dropout is None or not rate:
            return x
        kept = jax.random.bernoulli(self.dropout, 1 - rate, x.shape)
        return jnp.where(kept, x / (1 - rate), 0)

    def residual(self, stack: str) -> Scalar:
        """The multiplier of residual branches in the stack `encoder` or `decoder`."""
        m = self.multipliers
        return m.encoder_residual if stack == "encoder" else m.decoder_residual
