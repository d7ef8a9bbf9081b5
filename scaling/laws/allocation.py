"""The compute-optimal N and D of a Chinchilla law, in closed form."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class FlopsRelation:
    """C = k N^p D: training FLOPs as the runs' own convention counts them.

    Under 6 N D this is k = 6, p = 1. Exact counts differ from it at small scale (attention,
    embedding and head do not grow like N), but at a fixed context they stay proportional to the
    tokens, so a power of N fitted to the runs carries the convention beyond them, and the
    allocation keeps its closed form. `largest_miss` is the largest relative error over the runs.
    """

    k: float
    p: float
    largest_miss: float

    @classmethod
    def of(cls, n_params: np.ndarray, n_tokens: np.ndarray, flops: np.ndarray) -> "FlopsRelation":
        per_token = np.log(flops / n_tokens)
        x = np.log(n_params)
        p = 1.0
        if np.ptp(x) > 0.1:
            centred = x - x.mean()
            p = float(centred @ per_token / (centred @ centred))
        log_k = float((per_token - p * x).mean())
        miss = float(np.abs(np.expm1(log_k + p * x - per_token)).max())
        return cls(float(np.exp(log_k)), p, miss)

    def flops(self, n_params, n_tokens):
        return self.k * n_params**self.p * n_tokens

    def n_tokens(self, n_params, flops):
        return flops / (self.k * n_params**self.p)

    def to_json(self) -> dict:
        return dataclasses.asdict(self)


SIX_N_D = FlopsRelation(6.0, 1.0, 0.0)


def optimal(theta: np.ndarray, flops: float, relation: FlopsRelation = SIX_N_D):
    """(n_params, n_tokens) that minimise E + A/N^alpha + B/D^beta subject to C = k N^p D.

    theta: (..., 5) natural coordinates [log E, log A, log B, alpha, beta]. With D eliminated the
    optimum has alpha A N^-alpha = p beta B D^-beta, which is linear in log N. For k = 6, p = 1
    it is equation 4 of Hoffmann et al. 2022.
    """
    log_a, log_b, alpha, beta = (theta[..., i] for i in (1, 2, 3, 4))
    p = relation.p
    ratio = np.log(alpha) + log_a - np.log(p * beta) - log_b
    log_n = (ratio + beta * (np.log(flops) - np.log(relation.k))) / (alpha + p * beta)
    n_params = np.exp(log_n)
    return n_params, relation.n_tokens(n_params, flops)


def exponents(theta: np.ndarray, relation: FlopsRelation = SIX_N_D):
    """Exponents of N*(C) and D*(C) implied by the law: beta/(alpha + p beta) and 1 - p of it."""
    alpha, beta = theta[..., 3], theta[..., 4]
    n = beta / (alpha + relation.p * beta)
    return n, 1.0 - relation.p * n
