"""Checks of a state that say the same on any mesh: is it what was written, is it finite."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scaling.training.traced import TrainState

_WORD = {1: np.uint8, 2: np.uint16, 4: np.uint32}


class Fingerprint(NamedTuple):
    """finite: whether every parameter is. sums: two integers a leaf of the state, in the tree's order.

    They are sums, modulo 2^32, of the leaf's bits as words and of the words times odd numbers that grow
    with their place. Integer sums do not depend on how the leaf is laid out over devices; one changed
    bit changes both.
    """

    finite: bool
    sums: list[int]


def fingerprint(state: TrainState) -> Fingerprint:
    """One pass over the state where it lies; waits for it."""
    if all(map(_in_memory_here, jax.tree.leaves(state))):
        return _on_host(jax.tree.map(np.asarray, state))
    finite, sums = _checks(state)
    return Fingerprint(bool(finite), np.asarray(sums).ravel().tolist())


def _in_memory_here(leaf: jax.Array | np.ndarray) -> bool:
    if isinstance(leaf, np.ndarray):
        return True
    return leaf.is_fully_addressable and all(d.platform == "cpu" for d in leaf.sharding.device_set)


def _on_host(state: TrainState) -> Fingerprint:
    """As `_checks`, without a program to compile, which takes longer than many a tiny run's updates."""
    finite = all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))
    sums: list[int] = []
    for leaf in jax.tree.leaves(state):
        words = leaf.ravel().view(_WORD[leaf.dtype.itemsize]).astype(np.uint32)
        odd = 2 * np.arange(words.size, dtype=np.uint64).astype(np.uint32) + np.uint32(1)
        sums += [int(part.sum(dtype=np.uint32)) for part in (words, words * odd)]
    return Fingerprint(finite, sums)


@jax.jit
def _checks(state: TrainState) -> tuple[jax.Array, jax.Array]:
    finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params)]).all()
    return finite, jnp.stack([_leaf_sums(leaf) for leaf in jax.tree.leaves(state)])


def _leaf_sums(leaf: jax.Array) -> jax.Array:
    words = _words(leaf)
    place, stride = jnp.zeros(words.shape, jnp.uint32), 1
    for axis in reversed(range(words.ndim)):
        place += jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis) * jnp.uint32(stride % 2**32)
        stride *= words.shape[axis]
    return jnp.stack([words.sum(dtype=jnp.uint32), (words * (2 * place + 1)).sum(dtype=jnp.uint32)])


def _words(leaf: jax.Array) -> jax.Array:
    if leaf.dtype == jnp.bool_:
        return leaf.astype(jnp.uint32)
    return jax.lax.bitcast_convert_type(leaf, _WORD[leaf.dtype.itemsize]).astype(jnp.uint32)
