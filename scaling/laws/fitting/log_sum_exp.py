"""Exact derivatives of a sum of powers, for many problems at once.

The moments of a Hessian are matrix products: with s_j the share of term j, the law's log has the
gradient sum_j s_j d_j (d_j the design of term j, constant), so every second-order quantity is a sum over
points of one weight per pair of terms times d_j d_k^T, and those outer products never change. What
is left per evaluation is a few passes over (problems, points), done in tiles that stay in cache.
"""

import dataclasses
import functools

import numpy as np

from scaling.laws.fitting.problem import Problem
from scaling.laws.forms.coordinates import TINY, Centring
from scaling.laws.forms.grammar import SumOfPowers

_TILE = 1 << 13  # problems x points worked on at once: all passes over a tile stay in cache
_BLOCK = 1 << 8  # points in a tile, if there are enough problems
_RIDGE, _LEAST_SHARE = 0.01, 0.01
_KEPT = 1 << 24  # outer products that are kept, 128 MiB; beyond, they are made anew for each tile


@dataclasses.dataclass(frozen=True)
class _Moments:
    """What the moments of some points are products with. basis: (terms, p + 1, points), the offset last.
    slopes: (terms, points, p). products: (pairs, points, p (p + 1) / 2), d_j d_k^T + d_k d_j^T (once if
    j = k), upper triangle."""

    basis: np.ndarray
    slopes: np.ndarray
    products: np.ndarray

    @classmethod
    def of(cls, design: np.ndarray, offset: np.ndarray) -> "_Moments":
        n, k, p = design.shape
        slopes = np.ascontiguousarray(design.transpose(1, 0, 2))
        row, column = np.triu_indices(p)
        products = np.empty((k * (k + 1) // 2, n, len(row)))
        pairs = ((j, other) for j in range(k) for other in range(j, k))
        for product, (j, other) in zip(products, pairs):
            np.multiply(slopes[j][:, row], slopes[other][:, column], out=product)
            if other != j:
                product += slopes[other][:, row] * slopes[j][:, column]
        basis = np.concatenate([design.transpose(1, 2, 0), offset.T[:, None, :]], axis=1)
        return cls(basis, slopes, products)

    def at(self, points: slice) -> "_Moments":
        return _Moments(self.basis[:, :, points], self.slopes[:, points], self.products[:, points])


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogSumExp(Problem):
    """design (points, terms, p) and offset (points, terms): log(term) = design . logs + offset, where
    `logs` are the centred coordinates with the log of each constant in place of its root. coefficients:
    (terms,) which coordinate is each term's coefficient, -1 if it is held."""

    design: np.ndarray
    offset: np.ndarray
    coefficients: np.ndarray

    @classmethod
    def of(cls, form: SumOfPowers, logs: dict, centring: Centring, **shared) -> "LogSumExp":
        matrix, offset = form.design(logs, shared["log_target"].shape[-1])
        where = {name: i for i, name in enumerate(form.names)}
        return cls(
            design=matrix @ centring.matrix, offset=offset + matrix @ centring.offset,
            coefficients=np.array([where.get(name, -1) for name in form.coefficients]), **shared,
        )

    def _columns_at(self, points: np.ndarray) -> dict:
        return {"design": self.design[points], "offset": self.offset[points]}

    def nearer(self, starts: np.ndarray) -> np.ndarray:
        """The same exponents, with coefficients by ridge regression of the relative residuals.

        The ridge is towards the given coefficients, so that starts still differ where the measurements
        say little. It halves the steps that follow.
        """
        free = np.flatnonzero(self.coefficients >= 0)
        at, weights = self.coefficients[free], self.weights[0] / self.weights[0].sum()
        with np.errstate(all="ignore"):
            share = np.exp(self._terms(starts) - self.log_target[0][:, None])  # of the measurement
            typical = np.einsum("i,sik->sk", weights, share)[:, free]
            units = share[:, :, free] / typical[:, None, :]
            rest = 1.0 - share.sum(axis=2) + share[:, :, free].sum(axis=2)
            normal = np.swapaxes(units * weights[:, None], 1, 2) @ units + _RIDGE * np.eye(len(free))
            right = np.einsum("i,sik,si->sk", weights, units, rest) + _RIDGE * typical
            found = np.linalg.solve(normal, right[:, :, None])[:, :, 0]
            factor = np.maximum(found, _LEAST_SHARE) / typical
            nearer = starts.copy()
            nearer[:, at] = np.where(
                self.roots[at], starts[:, at] * np.sqrt(factor), starts[:, at] + np.log(factor)
            )
        return np.where(np.isfinite(nearer).all(axis=1, keepdims=True), nearer, starts)

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

    @functools.cached_property
    def _kept(self) -> _Moments | None:
        n, k, p = self.design.shape
        if n * k * (k + 1) * p * (p + 1) > 4 * _KEPT:
            return None
        return _Moments.of(self.design, self.offset)

    def _moments(self, points: slice) -> _Moments:
        if self._kept is None:
            return _Moments.of(self.design[points], self.offset[points])
        return self._kept.at(points)

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
        n = len(self.design)
        blocks = -(-n // max(_BLOCK, _TILE // count))
        edges = [n * i // blocks for i in range(blocks + 1)]
        chunk = max(1, _TILE // edges[1])
        for points in map(slice, edges[:-1], edges[1:]):
            moments = self._moments(points)
            for begin in range(0, count, chunk):
                rows = slice(begin, begin + chunk)
                self._add(moments, rows, points, logs[rows], value[rows], gradient[rows], upper[rows])
        inner = self._inner(theta)
        hessian = upper[:, _of_upper(p)]
        hessian *= inner[:, :, None]
        hessian *= inner[:, None, :]
        gradient *= inner
        # d log c / dt = 2 / t, and once more by t: -2 / t^2
        np.einsum("rjj->rj", hessian)[:, self.roots] -= (gradient * inner)[:, self.roots] / 2
        return value, gradient, hessian

    def _add(self, moments: _Moments, rows: slice, points: slice, logs, value, gradient, upper) -> None:
        """Adds a tile's part of the value, gradient and Hessian by the logs to the given arrays."""
        some = lambda a: (a if len(a) == 1 else a[rows])[:, points]  # noqa: E731
        scale = self.scale if isinstance(self.scale, float) else self.scale[points]
        k = len(moments.basis)
        # The largest logs are those of losses: no need to take out the largest term first. A term that
        # overflows leaves no finite value, and the solver turns away from there.
        share = logs @ moments.basis  # (terms, problems, points)
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
        gradient += (pulled @ moments.slopes).sum(axis=0)
        bent = share * bend
        pairs = np.empty((len(moments.products),) + bend.shape)
        at = 0
        for j in range(k):
            np.multiply(bent[j], share[j:], out=pairs[at : at + k - j])
            pairs[at] += pulled[j]
            at += k - j
        upper += (pairs @ moments.products).sum(axis=0)


@functools.cache
def _of_upper(p: int) -> np.ndarray:
    """Where each entry of a symmetric matrix stands in its upper triangle, (p, p)."""
    where = np.empty((p, p), int)
    row, column = np.triu_indices(p)
    where[row, column] = where[column, row] = np.arange(len(row))
    return where
