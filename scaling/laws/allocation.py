"""The compute-optimal N and D of a law, in closed form where there is one and by search where not."""

import dataclasses

import numpy as np

from scaling.errors import UserError

_GRID = 0.125  # in log N, of the first look; a law with two valleys closer than this is none of training
_GOLDEN = (np.sqrt(5.0) - 1.0) / 2.0


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


def balanced(log_a, alpha, log_b, beta, flops, relation: FlopsRelation = SIX_N_D):
    """(n_params, n_tokens) that minimise A/N^alpha + B/D^beta subject to C = k N^p D.

    With D eliminated the optimum has alpha A N^-alpha = p beta B D^-beta, which is linear in log N. For
    k = 6, p = 1 it is equation 4 of Hoffmann et al. 2022.
    """
    ratio = np.log(alpha) + log_a - np.log(relation.p * beta) - log_b
    log_n = (ratio + beta * (np.log(flops) - np.log(relation.k))) / (alpha + relation.p * beta)
    n_params = np.exp(log_n)
    return n_params, relation.n_tokens(n_params, flops)


def optimal(theta: np.ndarray, flops: float, relation: FlopsRelation = SIX_N_D):
    """`balanced` for theta (..., 5), natural coordinates [log E, log A, log B, alpha, beta]."""
    log_a, log_b, alpha, beta = (theta[..., i] for i in (1, 2, 3, 4))
    return balanced(log_a, alpha, log_b, beta, flops, relation)


def exponents(theta: np.ndarray, relation: FlopsRelation = SIX_N_D):
    """Exponents of N*(C) and D*(C) implied by the law: beta/(alpha + p beta) and 1 - p of it."""
    alpha, beta = theta[..., 3], theta[..., 4]
    n = beta / (alpha + relation.p * beta)
    return n, 1.0 - relation.p * n


def allocate(
    form, theta: np.ndarray, flops: float, relation: FlopsRelation = SIX_N_D, size="n_params", **held: float
):
    """The compute-optimal (N, D) of any law that has a size and n_tokens among its columns.

    theta: natural coordinates (..., p). size: the column that the relation calls N (n_active of a
    mixture of experts). held: values of the law's other columns, as `unique_tokens=1e10`. By the form's
    closed form where it has one and no column is held, else by `search`.
    """
    if form.closed_form is not None and not held:
        return form.closed_form(form.given(theta), flops, relation)
    return search(form, theta, flops, relation, size, **held)


def search(
    form, theta: np.ndarray, flops: float, relation: FlopsRelation = SIX_N_D, size="n_params", **held: float
):
    """`allocate` by golden section over log N at constant C, all draws at once.

    N and D are between 1 and what C buys. Of several valleys the lowest counts; that an end of the range
    may be lower still does not (some laws fall again, without sense, at one token). nan for a law without
    a valley. Exact to about 1e-7 in log N, where rounding hides the valley's floor.
    """
    known = {size, "n_tokens", "flops", *held}
    missing = [name for name in form.columns if name not in known]
    if missing or not {size, "n_tokens"} <= set(form.columns):
        raise UserError(f"{form.name}: no compute-optimal {size} and n_tokens without"
                        f" {', '.join(missing) or 'both among its columns'}")

    def log_value(log_n):
        n = np.exp(log_n)
        columns = {**held, size: n, "n_tokens": relation.n_tokens(n, flops), "flops": flops}
        with np.errstate(all="ignore"):
            return np.log(form.predict(draws, {name: columns[name] for name in form.columns}))

    theta = np.asarray(theta, float)
    draws = theta.reshape(-1, theta.shape[-1])
    largest = np.log(flops / relation.k) / relation.p
    grid = np.linspace(0.0, largest, max(3, int(largest / _GRID) + 2))
    first = np.where(np.isfinite(seen := log_value(grid)), seen, np.inf)
    valley = (first[:, 1:-1] < first[:, :-2]) & (first[:, 1:-1] <= first[:, 2:])
    at = np.argmin(np.where(valley, first[:, 1:-1], np.inf), axis=1)
    low, high = grid[at][:, None], grid[at + 2][:, None]
    for _ in range(44):
        width = _GOLDEN * (high - low)
        left, right = high - width, low + width
        falls = log_value(left) > log_value(right)
        low, high = np.where(falls, left, low), np.where(falls, high, right)
    n = np.where(valley.any(axis=1), np.exp((low + high)[:, 0] / 2), np.nan).reshape(theta.shape[:-1])
    return n, relation.n_tokens(n, flops)
