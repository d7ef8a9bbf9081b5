"""Exact derivatives of a sum of powers, for many problems at once."""

import dataclasses
import functools

import numpy as np

from scaling.laws.fitting.problem import Problem
from scaling.laws.forms.coordinates import TINY, Centring
from scaling.laws.forms.grammar import SumOfPowers


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

    def predict(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log of the law (problems, points) and each term's share (problems, points, terms)."""
        n, k, p = self.design.shape
        logs = np.where(self.roots, 2 * np.log(np.maximum(np.abs(theta), TINY)), theta)
        terms = (logs @ self.design.reshape(n * k, p).T).reshape(len(theta), n, k) + self.offset
        top = terms.max(axis=-1, keepdims=True)
        share = np.exp(terms - top)
        total = share.sum(axis=-1, keepdims=True)
        return (top + np.log(total))[..., 0], share / total

    def log_value(self, theta: np.ndarray) -> np.ndarray:
        return self.predict(theta)[0]

    def jacobian(self, theta: np.ndarray) -> np.ndarray:
        share = self.predict(theta[None])[1][0]
        positive = np.where(np.abs(theta) < TINY, TINY, theta)
        return np.einsum("ik,ikj->ij", share, self.design) * np.where(self.roots, 2 / positive, 1.0)

    @functools.cached_property
    def _outer(self) -> np.ndarray:
        n, k, p = self.design.shape
        return (self.design[..., :, None] * self.design[..., None, :]).reshape(n * k, p * p)

    def take(self, problems: np.ndarray) -> "LogSumExp":
        part = super().take(problems)
        part.__dict__["_outer"] = self._outer  # shared: it does not depend on the problems
        return part

    def with_delta(self, delta: float) -> "LogSumExp":
        part = super().with_delta(delta)
        part.__dict__["_outer"] = self._outer
        return part

    def derivatives(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        n, k, p = self.design.shape
        log_value, share = self.predict(theta)
        loss, pull, bend = self.objective.pulls(
            log_value, self.log_target, self.scale, self.objective.delta
        )
        value = (self.weights * loss).sum(axis=-1)
        jacobian = np.einsum("rik,ikj->rij", share, self.design)
        pull, bend = self.weights * pull, self.weights * bend
        gradient = np.einsum("ri,rij->rj", pull, jacobian)
        hessian = np.swapaxes(jacobian * (bend - pull)[..., None], 1, 2) @ jacobian
        hessian += ((pull[..., None] * share).reshape(len(theta), n * k) @ self._outer).reshape(-1, p, p)
        # chain rule from log c to t = sqrt(c): d log c / dt = 2 / t
        positive = np.where(np.abs(theta) < TINY, TINY, theta)
        inner = np.where(self.roots, 2 / positive, 1.0)
        hessian *= inner[:, :, None] * inner[:, None, :]
        diagonal = np.arange(p)
        hessian[:, diagonal, diagonal] -= np.where(self.roots, gradient * inner**2 / 2, 0.0)
        return value, gradient * inner, hessian
