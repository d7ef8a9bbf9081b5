"""The best learning rate of one setting: the vertex of a parabola in log2 of the rate.

Only rates near the best one are used: those within 2 octaves whose loss is at most 4% above the
best, and always its two neighbours. The runs of one seed share their initial weights and the order
of their data, so a seed may have an offset of its own, which costs no precision.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from scaling.errors import UserError

REACH = 2.0  # octaves
MAX_EXCESS = 0.04  # of the best loss


@dataclasses.dataclass(frozen=True)
class Scan:
    """Losses of one setting. name: for messages. log2_rates [P], increasing, usable ones only.

    losses: [P, S], nats per token, by rate and seed. diverged: log2 rates at which a run diverged.
    """

    name: str
    log2_rates: np.ndarray
    losses: np.ndarray
    diverged: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True)
class Optimum:
    """log2_rate: of the vertex. loss: there, mean over seeds. curvature: nats per octave squared.

    residuals: [points, seeds] of the parabola, seed offsets taken out; free: their degrees of freedom.
    edge: the end of the grid at which the lowest loss stands, if it does.
    """

    log2_rate: float
    loss: float
    curvature: float
    residuals: np.ndarray
    free: int
    edge: str | None


def optimum(log2_rates: np.ndarray, losses: np.ndarray) -> Optimum:
    """The parabola around the lowest mean loss; at an edge that of the three outermost rates."""
    mean = losses.mean(1)
    best = int(np.argmin(mean))
    last = len(mean) - 1
    middle = min(max(best, 1), last - 1)
    low, high = middle - 1, middle + 1
    while low > 0 and _near(log2_rates, mean, low - 1, best):
        low -= 1
    while high < last and _near(log2_rates, mean, high + 1, best):
        high += 1
    vertex = _parabola(log2_rates[low : high + 1], mean[low : high + 1])
    # concave, or its vertex elsewhere: noise, or no parabola; the three around the lowest always have one
    if vertex is None or abs(vertex[1] - log2_rates[best]) > 1:
        low, high = middle - 1, middle + 1
        vertex = _parabola(log2_rates[low : high + 1], mean[low : high + 1])
    x = log2_rates[low : high + 1]
    if vertex is None:  # flat or concave: only ever at an edge
        at, curvature = log2_rates[best], 0.0
        coefficients = _coefficients(x, mean[low : high + 1])
    else:
        coefficients, at, curvature = vertex
        at = float(np.clip(at, log2_rates[0] - 1, log2_rates[-1] + 1))
    near = losses[low : high + 1]
    residuals = near - np.polyval(coefficients, x)[:, None]
    residuals = residuals - residuals.mean(0)
    edge = {0: "smallest", last: "largest"}.get(best)
    return Optimum(
        log2_rate=float(at),
        loss=float(np.polyval(coefficients, at)),
        curvature=float(curvature),
        residuals=residuals,
        free=residuals.size - 3 - (near.shape[1] - 1),
        edge=edge,
    )


def refuse_edge(scan: Scan, found: Optimum) -> None:
    """Raises `UserError` where the best rate of a scan has no worse one on both sides."""
    if len(scan.log2_rates) < 3:
        raise UserError(
            f"{scan.name}: {len(scan.log2_rates)} usable learning rates, and an optimum needs 3"
            + _diverged(scan)
        )
    if found.edge is None:
        return
    rate = 2 ** scan.log2_rates[0 if found.edge == "smallest" else -1]
    raise UserError(
        f"{scan.name}: the best learning rate, {rate:.3g}, is the {found.edge} of its grid;"
        " widen Proxies.octaves (or set Proxies.grid_slope) and tune again in another folder"
        + _diverged(scan)
    )


def pooled_noise(found: Sequence[Optimum]) -> float:
    """Standard deviation of one run's loss about its parabola, in nats, over all scans.

    It holds the parabola's own lack of fit. Raises `UserError` where nothing is left over to tell.
    """
    free = sum(o.free for o in found)
    if free < 1:
        raise UserError(
            "the proxies cannot tell their noise: one seed and three learning rates near each"
            " optimum; plan them with Proxies.seeds = 2"
        )
    return float(np.sqrt(sum((o.residuals**2).sum() for o in found) / free))


def standard_error(scan: Scan, noise: float, replicates: int = 400, seed: int = 0) -> float:
    """Of the vertex, octaves: runs drawn anew around their means with `noise` nats, and refitted.

    The choice of the points near the optimum is made again in every replicate.
    """
    draw = np.random.default_rng(seed)
    n_seeds = scan.losses.shape[1]
    mean = scan.losses.mean(1)
    found = [
        optimum(scan.log2_rates, (mean + draw.normal(0, noise / n_seeds**0.5, len(mean)))[:, None])
        for _ in range(replicates)
    ]
    return float(np.std([o.log2_rate for o in found], ddof=1))


def _near(log2_rates: np.ndarray, mean: np.ndarray, i: int, best: int) -> bool:
    within = abs(log2_rates[i] - log2_rates[best]) <= REACH + 1e-9
    return bool(within and mean[i] <= mean[best] * (1 + MAX_EXCESS))


def _parabola(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float, float] | None:
    coefficients = _coefficients(x, y)
    if not coefficients[0] > 0:
        return None
    return coefficients, -coefficients[1] / (2 * coefficients[0]), coefficients[0]


def _coefficients(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of the least-squares parabola, highest power first."""
    return _solver(tuple(x.tolist())) @ y


@functools.lru_cache(maxsize=4096)
def _solver(x: tuple[float, ...]) -> np.ndarray:
    return np.linalg.pinv(np.vander(x, 3))


def _diverged(scan: Scan) -> str:
    if not scan.diverged:
        return ""
    return "; runs diverged at " + ", ".join(f"{2**x:.3g}" for x in scan.diverged)
