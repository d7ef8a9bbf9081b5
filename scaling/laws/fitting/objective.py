"""Huber loss of log residuals, with exact gradient and Hessian, for many problems at once."""

import dataclasses

import numpy as np

TINY = 1e-60  # the smallest root: its square still has a log, and its inverse square a value


@dataclasses.dataclass(frozen=True)
class LogHuber:
    """sum_i w_i huber_delta(log law_i - log loss_i) for a log-sum-exp law.

    design: (points, terms, parameters), shared by all problems.
    log_loss: (problems or 1, points). weights: (problems or 1, points).
    roots: (parameters,) which parameters stand for the square root of a constant term instead of
        its log. A constant often wants to be zero. Its log then runs off to minus infinity along a
        curved valley; its root goes straight there, and zero is an ordinary stationary point.
    delta: where the quadratic turns linear, in units of log loss; `inf` gives least squares.

    The Hessian is exact where the objective has one; on the kinks |residual| = delta it is the
    one of the quadratic side (a semismooth Newton method needs no more).
    """

    design: np.ndarray
    log_loss: np.ndarray
    weights: np.ndarray
    roots: np.ndarray
    delta: float

    def take(self, problems: np.ndarray) -> "LogHuber":
        """The same objective for a subset of the problems."""
        pick = lambda a: a if len(a) == 1 else a[problems]  # noqa: E731
        return dataclasses.replace(
            self, log_loss=pick(self.log_loss), weights=pick(self.weights)
        )

    def logs(self, theta: np.ndarray) -> np.ndarray:
        """Parameters with every coefficient as its log, same shape."""
        return np.where(self.roots, 2 * np.log(np.maximum(np.abs(theta), TINY)), theta)

    def predict(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log of the law (problems, points) and each term's share (problems, points, terms)."""
        n, k, p = self.design.shape
        terms = (self.logs(theta) @ self.design.reshape(n * k, p).T).reshape(len(theta), n, k)
        top = terms.max(axis=-1, keepdims=True)
        share = np.exp(terms - top)
        total = share.sum(axis=-1, keepdims=True)
        return (top + np.log(total))[..., 0], share / total

    def value(self, theta: np.ndarray) -> np.ndarray:
        residual = self.predict(theta)[0] - self.log_loss
        clipped = np.clip(residual, -self.delta, self.delta)
        return (self.weights * clipped * (residual - clipped / 2)).sum(axis=-1)

    def derivatives(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Value (problems,), gradient (problems, p), Hessian (problems, p, p)."""
        n, k, p = self.design.shape
        prediction, share = self.predict(theta)
        residual = prediction - self.log_loss
        clipped = np.clip(residual, -self.delta, self.delta)
        value = (self.weights * clipped * (residual - clipped / 2)).sum(axis=-1)
        jacobian = np.einsum("rik,ikj->rij", share, self.design)
        pull = self.weights * clipped
        gradient = np.einsum("ri,rij->rj", pull, jacobian)
        inside = self.weights * (np.abs(residual) <= self.delta)
        hessian = np.swapaxes(jacobian * (inside - pull)[..., None], 1, 2) @ jacobian
        outer = (self.design[..., :, None] * self.design[..., None, :]).reshape(n * k, p * p)
        hessian += ((pull[..., None] * share).reshape(len(theta), n * k) @ outer).reshape(-1, p, p)
        # chain rule from log c to t = sqrt(c): d log c / dt = 2 / t
        positive = np.where(np.abs(theta) < TINY, TINY, theta)
        inner = np.where(self.roots, 2 / positive, 1.0)
        hessian *= inner[:, :, None] * inner[:, None, :]
        diagonal = np.arange(p)
        hessian[:, diagonal, diagonal] -= np.where(self.roots, gradient * inner**2 / 2, 0.0)
        return value, gradient * inner, hessian

    def gradient_scale(self, theta: np.ndarray) -> np.ndarray:
        """What a gradient is compared with: (delta, or the residuals' rms) x sum of weights.

        A gradient divided by it does not change when losses, weights or delta are rescaled, so
        that "at the optimum" means the same for every data set. (SciPy's `ftol` does not have
        this property, and stops early on objectives as small as these.)
        """
        total = np.broadcast_to(self.weights, (len(theta), self.design.shape[0])).sum(axis=-1)
        if np.isfinite(self.delta):
            return self.delta * total
        residual = self.predict(theta)[0] - self.log_loss
        rms = np.sqrt((self.weights * residual**2).sum(axis=-1) / total)
        return np.maximum(rms, 1e-6) * total
