"""Mixtures of powers: the convex relaxation of a sum of powers, minimised for many boxes at once.

In a box of exponents each term may be a mixture of the powers at both ends and the middle of its
range (`atoms`). Nothing here has to be exact: `bounds` turns any mixture into a valid bound, and
good ones into tight ones.
"""

import dataclasses

import numpy as np

ATOMS = 3  # per term
WIDE = 0.1  # delta at which the search begins
_BLUNT = 0.05  # how far from the end of a range `furthest` stops, about, as a share of it
_BARRIER = 0.01  # on mixtures going to zero, there
_STEPS = 40


def atoms(low: np.ndarray, high: np.ndarray, x: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """A constant and powers exp(-alpha x), each over the loss: (boxes, points, 1 + ATOMS columns).

    low, high: (boxes, columns) ranges of exponents. x: (columns, points). loss: (points,).
    """
    exponents = low[..., None] + (high - low)[..., None] * np.linspace(0, 1, ATOMS)
    powers = np.exp(-exponents[..., None] * x[:, None, :])  # boxes, columns, atoms, points
    flat = powers.reshape(len(low), -1, len(loss))
    constant = np.ones((len(low), 1, len(loss)))
    return np.swapaxes(np.concatenate([constant, flat], axis=1) / loss, 1, 2)


def term_of_atom(columns: int) -> np.ndarray:
    """0 for the constant, k + 1 for an atom of column k, (atoms,)."""
    return np.repeat(np.arange(1 + columns), [1] + [ATOMS] * columns)


def middle_atoms(columns: int) -> np.ndarray:
    """The constant, and each column's power at the middle of its range, (1 + columns,)."""
    return np.concatenate([[0], 1 + ATOMS // 2 + ATOMS * np.arange(columns)])


def even_mixture(terms: np.ndarray) -> np.ndarray:
    """Coefficients (boxes, 1 + columns), each spread evenly over its term's atoms."""
    counts = np.array([1] + [ATOMS] * (terms.shape[1] - 1))
    return np.repeat(terms / counts, counts, axis=1)


def nearest_law(low, high, mixture) -> tuple[np.ndarray, np.ndarray]:
    """The sum of powers nearest to a mixture: coefficients (boxes, 1 + columns), exponents."""
    parts = mixture[:, 1:].reshape(len(low), -1, ATOMS)
    sums = parts.sum(axis=-1)
    share = (parts * np.linspace(0, 1, ATOMS)).sum(axis=-1) / sums
    return np.concatenate([mixture[:, :1], sums], axis=1), low + share * (high - low)


def lowest(minorant, basis, mixture, waste, begin: float, end: float):
    """Minimises sum g(basis z) from z = mixture, to within about `waste` (boxes,).

    Delta goes down from `begin` to `end`, or to the minorant's own if that is larger, as in the
    solver. Returns z (boxes, atoms) and the ratios t (boxes, points) at whose tangents to bound.
    """
    end = max(end, minorant.delta)
    n = int(np.ceil(np.log(begin / end) / np.log(3.5))) if end < begin else 0
    for delta in [*(np.geomspace(begin, end, n + 1)[:-1] if n else []), end]:
        soft = minorant.softened(delta)
        mixture = _descend(soft, basis, mixture, _Proportional(waste), 0.0, 1.0, 0.1)
    return mixture, minorant.sharpened(soft, _at(basis, mixture))


def furthest(minorant, basis, mixture, directions, room, end: float):
    """Goes from z = mixture along `directions` (boxes, atoms) until sum g has risen by `room` (boxes,).

    directions: of such length that sum g rises by about half the square of a step along them. end:
    as for `lowest`. Returns ratios t (boxes, points) and forces (boxes,): sum g - force x directions . z
    is least there, about.
    """
    soft = minorant.softened(max(end, minorant.delta))
    ceiling = soft.derivatives(_at(basis, mixture))[0].sum(axis=-1) + room
    unit = _BLUNT * np.sqrt(2 * room)
    pull = directions / unit[:, None]
    z = _descend(soft, basis, mixture, _Under(ceiling), pull, _BARRIER, _BARRIER / 10)
    ratio = _at(basis, z)
    left = ceiling - soft.derivatives(ratio)[0].sum(axis=-1)
    return minorant.sharpened(soft, ratio), left / unit


def _at(basis, z):
    return np.matmul(basis, z[..., None])[..., 0]


@dataclasses.dataclass(frozen=True)
class _Proportional:
    """psi(G) = G / unit: minimises G."""

    unit: np.ndarray

    def take(self, rows):
        return _Proportional(self.unit[rows])

    def derivatives(self, total):
        return total / self.unit, 1 / self.unit, np.zeros(len(total))


@dataclasses.dataclass(frozen=True)
class _Under:
    """psi(G) = -log(ceiling - G): keeps G under the ceiling."""

    ceiling: np.ndarray

    def take(self, rows):
        return _Under(self.ceiling[rows])

    def derivatives(self, total):
        room = np.where(total < self.ceiling, self.ceiling - total, np.nan)
        return -np.log(room), 1 / room, 1 / room**2


def _descend(minorant, basis, mixture, psi, pull, barrier, enough) -> np.ndarray:
    """Newton on psi(sum g(basis z)) - pull . z - barrier x sum log z over z > 0, from z = mixture.

    Steps are relative to z and shortened until they decrease. Stops where neither a step promises
    nor the gradient amounts to more than `enough`; a gradient matters as such, for it weakens
    the bound. Boxes where the function has no value at the start stay there.
    """
    z = mixture.copy()
    pull = np.broadcast_to(pull, z.shape)
    merit, slope, bend, first, second = _merit(minorant, basis, z, psi, pull, barrier)
    live = np.flatnonzero(np.isfinite(merit))
    diagonal = np.arange(z.shape[1])
    for _ in range(_STEPS):
        if not len(live):
            break
        scaled = basis[live] * z[live][:, None, :]
        turned = np.swapaxes(scaled, 1, 2)
        inner = np.matmul(turned, slope[live][..., None])
        gradient = first[live][:, None] * inner[..., 0] - pull[live] * z[live] - barrier
        hessian = np.matmul(turned, (bend[live] * first[live][:, None])[..., None] * scaled)
        hessian += second[live][:, None, None] * inner * np.swapaxes(inner, 1, 2)
        trace = hessian[:, diagonal, diagonal].sum(axis=-1, keepdims=True)
        hessian[:, diagonal, diagonal] += barrier + 1e-13 * trace
        step = -np.linalg.solve(hessian, gradient[..., None])[..., 0]
        promised = -(step * gradient).sum(axis=-1)
        length = np.minimum(1.0, 0.9 / np.maximum(-step.min(axis=-1), 1e-9))
        length = np.minimum(length, 3.0 / np.maximum(step.max(axis=-1), 1e-9))
        todo = np.flatnonzero((promised > enough) | (np.abs(gradient).max(axis=-1) > enough))
        moved = np.zeros(len(live), bool)
        for _ in range(10):
            if not len(todo):
                break
            rows = live[todo]
            trial = z[rows] * (1 + length[todo, None] * step[todo])
            new = _merit(minorant.take(rows), basis[rows], trial, psi.take(rows), pull[rows], barrier)
            rounding = 1e-13 * np.abs(merit[rows])
            good = new[0] < merit[rows] - 1e-4 * length[todo] * promised[todo] + rounding
            at = rows[good]
            for old, found in zip((z, merit, slope, bend, first, second), (trial, *new)):
                old[at] = found[good]
            moved[todo[good]] = True
            todo = todo[~good]
            length[todo] *= 0.35
        live = live[moved]
    return z


def _merit(minorant, basis, z, psi, pull, barrier):
    value, slope, bend = minorant.derivatives(_at(basis, z))
    outer, first, second = psi.derivatives(value.sum(axis=-1))
    merit = outer - (pull * z).sum(axis=-1) - barrier * np.log(z).sum(axis=-1)
    return merit, slope, bend, first, second
