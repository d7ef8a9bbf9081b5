"""Exact derivatives of a sum of powers, for many problems at once.

The moments of a Hessian are matrix products: with s_j the share of term j, the law's log has the
gradient sum_j s_j d_j (d_j the design of term j, constant), so every second-order quantity is a sum over
points of one weight per pair of terms times d_j d_k^T, and those outer products never change. What
is left per evaluation is a few passes over (problems, points), done in tiles that stay in cache.
"""

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np

from scaling.laws.fitting.problem import Problem
from scaling.laws.forms.coordinates import TINY, Centring
from scaling.laws.forms.grammar import SumOfPowers

_TILE = 1 << 13  # problems x points worked on at once: all passes over a tile stay in cache
_BLOCK = 1 << 10  # points in a tile, at most
_KEPT = 1 << 23  # numbers in the outer products that are kept; beyond, they are made anew for each tile


@dataclasses.dataclass(frozen=True)
class _Block:
    """Design of some points. basis: (terms, p + 1, points), the offset last. slopes: (terms, points, p).
    products: (pairs, points, p (p + 1) / 2), d_j d_k^T + d_k d_j^T (once if j = k), upper triangle."""

    points: slice
    basis: np.ndarray
    slopes: np.ndarray
    products: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogSumExp(Problem):
    """design (points, terms, p) and offset (points, terms): log(term) = design . logs + offset, where
    `logs` are the centred coordinates with the log of each constant in place of its root."""

    design: np.ndarray
    offset: np.ndarray

    @classmethod
    def of(cls, form: SumOfPowers, logs: dict, centring: Centring, **shared) -> "LogSumExp":
        matrix, offset = form.design(logs, shared["log_target"].shape[-1])
        return cls(design=matrix @ centring.matrix, offset=offset + matrix @ centring.offset, **shared)

    def _logs(self, theta: np.ndarray) -> np.ndarray:
        logs = theta.copy()
        logs[..., self.roots] = 2 * np.log(np.maximum(np.abs(theta[..., self.roots]), TINY))
        return logs

    def _inner(self, theta: np.ndarray) -> np.ndarray:
        """d log c / dt = 2 / t for a constant c = t^2; 1 for the other coordinates."""
        inner = np.ones(theta.shape)
        root = theta[..., self.roots]
        inner[..., self.roots] = 2 / np.where(np.abs(root) < TINY, TINY, root)
        return inner

    def _terms(self, theta: np.ndarray) -> np.ndarray:
        """Log of each term, (problems, points, terms)."""
        n, k, p = self.design.shape
        return (self._logs(theta) @ self.design.reshape(n * k, p).T).reshape(-1, n, k) + self.offset

    def log_value(self, theta: np.ndarray) -> np.ndarray:
        return np.logaddexp.reduce(self._terms(theta), axis=-1)

    def jacobian(self, theta: np.ndarray) -> np.ndarray:
        terms = self._terms(theta[None])[0]
        share = np.exp(terms - np.logaddexp.reduce(terms, axis=-1, keepdims=True))
        return np.einsum("ik,ikj->ij", share, self.design) * self._inner(theta)

    def _block(self, points: slice) -> _Block:
        n, k, p = self.design.shape
        design = self.design[points].transpose(1, 0, 2)
        offset = self.offset[points].T[:, None, :]
        row, column = np.triu_indices(p)
        products = []
        for j in range(k):
            for other in range(j, k):
                outer = design[j][:, row] * design[other][:, column]
                if other != j:
                    outer += design[other][:, row] * design[j][:, column]
                products.append(outer)
        basis = np.concatenate([design.transpose(0, 2, 1), offset], axis=1)
        return _Block(points, basis, np.ascontiguousarray(design), np.stack(products))

    @functools.cached_property
    def _kept(self) -> tuple[_Block, ...] | None:
        n, k, p = self.design.shape
        if n * k * (k + 1) // 2 * p * (p + 1) // 2 > _KEPT:
            return None
        return tuple(self._block(slice(at, min(at + _BLOCK, n))) for at in range(0, n, _BLOCK))

    def _blocks(self) -> Iterator[_Block]:
        n = len(self.design)
        fresh = (self._block(slice(at, min(at + _BLOCK, n))) for at in range(0, n, _BLOCK))
        return iter(self._kept or fresh)

    def _sharing(self, part: "LogSumExp") -> "LogSumExp":
        part.__dict__["_kept"] = self._kept  # it does not depend on the problems
        return part

    def take(self, problems: np.ndarray) -> "LogSumExp":
        return self._sharing(super().take(problems))

    def with_delta(self, delta: float) -> "LogSumExp":
        return self._sharing(super().with_delta(delta))

    def derivatives(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        count, p = theta.shape
        logs = np.ones((count, p + 1))
        logs[:, :p] = self._logs(theta)
        value, gradient = np.zeros(count), np.zeros((count, p))
        upper = np.zeros((count, p * (p + 1) // 2))
        chunk = max(1, _TILE // min(len(self.design), _BLOCK))
        for begin in range(0, count, chunk):
            rows = slice(begin, begin + chunk)
            for block in self._blocks():
                self._add_moments(block, rows, logs[rows], value[rows], gradient[rows], upper[rows])
        inner = self._inner(theta)
        hessian = upper[:, _of_upper(p)]
        hessian *= inner[:, :, None]
        hessian *= inner[:, None, :]
        gradient *= inner
        # d log c / dt = 2 / t, and once more by t: -2 / t^2
        np.einsum("rjj->rj", hessian)[:, self.roots] -= (gradient * inner)[:, self.roots] / 2
        return value, gradient, hessian

    def _add_moments(self, block: _Block, rows: slice, logs, value, gradient, upper) -> None:
        """Adds a tile's part of the value, gradient and Hessian by the logs to the given arrays."""
        some = lambda a: (a if len(a) == 1 else a[rows])[:, block.points]  # noqa: E731
        scale = self.scale if isinstance(self.scale, float) else self.scale[block.points]
        k = len(block.basis)
        # The largest logs are those of losses: no need to take out the largest term first. A term that
        # overflows leaves no finite value, and the solver turns away from there.
        share = logs @ block.basis  # (terms, problems, points)
        np.exp(share, out=share)
        total = share.sum(axis=0)
        weights = some(self.weights)
        loss, pull, bend = self.objective.pulls(
            np.log(total), some(self.log_target), scale, self.objective.delta
        )
        value += np.einsum("ri,ri->r", np.broadcast_to(weights, loss.shape), loss)
        share /= total
        pull = pull * weights
        bend = bend * weights
        bend -= pull
        pulled = share * pull
        gradient += (pulled @ block.slopes).sum(axis=0)
        bent = share * bend
        pairs = np.empty((len(block.products),) + bend.shape)
        at = 0
        for j in range(k):
            np.multiply(bent[j], share[j:], out=pairs[at : at + k - j])
            pairs[at] += pulled[j]
            at += k - j
        upper += (pairs @ block.products).sum(axis=0)


@functools.cache
def _of_upper(p: int) -> np.ndarray:
    """Where each entry of a symmetric matrix stands in its upper triangle, (p, p)."""
    where = np.empty((p, p), int)
    row, column = np.triu_indices(p)
    where[row, column] = where[column, row] = np.arange(len(row))
    return where
