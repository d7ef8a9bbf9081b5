"""What a forward pass is given beside parameters and batch."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

Scalar = float | jax.Array
# Names an activation's logical axes so that it can be given a sharding.
Constrain = Callable[[jax.Array, tuple[str, ...]], jax.Array]
# Sees an activation by its name; layers of a stack repeat a name in their order.
Tap = Callable[[str, jax.Array], None]


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


def no_constraint(x: jax.Array, axes: tuple[str, ...]) -> jax.Array:
    return x


def no_tap(name: str, x: jax.Array) -> None:
    pass


@dataclasses.dataclass(frozen=True)
class Forward:
    """One forward pass: its multipliers, its shardings, and who looks on.

    tap: must not see the inside of a scanned stack, whose values do not outlive the scan.
    """

    multipliers: ForwardMultipliers
    constrain: Constrain = no_constraint
    tap: Tap = no_tap

    def residual(self, stack: str) -> Scalar:
        """The multiplier of residual branches in the stack `encoder` or `decoder`."""
        m = self.multipliers
        return m.encoder_residual if stack == "encoder" else m.decoder_residual
