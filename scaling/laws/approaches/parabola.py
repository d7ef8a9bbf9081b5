"""One IsoFLOP curve: loss as a parabola in log N among runs of equal compute."""

import dataclasses

import numpy as np

from scaling.laws.fitting.point_fit import FitError
from scaling.laws.table.runs import RunSet


@dataclasses.dataclass(frozen=True)
class Minima:
    """Minima of resampled curves, each (replicates,); good: convex, and inside the sizes.

    Where it is not good, n_opt and d_opt are those of the size at which the curve is lowest.
    """

    n_opt: np.ndarray
    d_opt: np.ndarray
    loss: np.ndarray
    good: np.ndarray


@dataclasses.dataclass(frozen=True)
class Parabola:
    """loss = c0 + c1 t + c2 t^2 with t = ln(N / n_centre), by least squares in nats.

    flops: geometric mean over the curve's runs. d_opt is interpolated in log D over log N along
    the curve's own runs, so it holds under any FLOPs convention. curvature: c2, nats per squared
    e-fold of N. rows: of the runs in their table.
    """

    flops: float
    n_centre: float
    coefficients: tuple[float, float, float]
    n_opt: float
    d_opt: float
    loss_opt: float
    n_params: np.ndarray
    n_tokens: np.ndarray
    loss: np.ndarray
    run_ids: tuple[str, ...]
    rows: np.ndarray

    @property
    def curvature(self) -> float:
        return self.coefficients[2]

    @property
    def _basis(self) -> np.ndarray:
        return np.vander(np.log(self.n_params / self.n_centre), 3, increasing=True)

    @property
    def residuals(self) -> np.ndarray:
        return self.loss - self._basis @ np.array(self.coefficients)

    @property
    def leverage(self) -> np.ndarray:
        return (np.linalg.qr(self._basis)[0] ** 2).sum(axis=1)

    @property
    def minimum_leverage(self) -> float:
        """Variance of the loss at the minimum, in units of one run's noise variance."""
        at = np.vander([np.log(self.n_opt / self.n_centre)], 3, increasing=True)[0]
        return float(at @ np.linalg.inv(self._basis.T @ self._basis) @ at)

    def loss_at(self, n_params) -> np.ndarray:
        """The parabola's loss at sizes, nats."""
        t = np.log(np.asarray(n_params) / self.n_centre)
        return np.vander(np.atleast_1d(t), 3, increasing=True) @ np.array(self.coefficients)

    def resampled_minima(self, noise: np.ndarray) -> Minima:
        """Refits with noise (replicates, points) added to the parabola's own values."""
        values = self._basis @ np.array(self.coefficients) + noise
        c = values @ np.linalg.pinv(self._basis).T
        t = np.log(self.n_params / self.n_centre)
        low, high = t.min(), t.max()
        with np.errstate(divide="ignore", invalid="ignore"):
            vertex = -c[:, 1] / (2 * c[:, 2])
        good = (c[:, 2] > 0) & (vertex >= low) & (vertex <= high)
        ends = np.where(c[:, 1] + c[:, 2] * (low + high) > 0, low, high)  # the lower end
        best = np.where(good, vertex, ends)
        loss = c[:, 0] + c[:, 1] * best + c[:, 2] * best**2
        n_opt = self.n_centre * np.exp(best)
        return Minima(n_opt, _tokens_at(n_opt, self.n_params, self.n_tokens),
                      np.where(loss > 0, loss, self.loss_opt), good & (loss > 0))

    def to_json(self) -> dict:
        return {
            "flops": self.flops,
            "n_centre": self.n_centre,
            "coefficients": list(self.coefficients),
            "curvature": self.curvature,
            "n_opt": self.n_opt,
            "d_opt": self.d_opt,
            "loss_opt": self.loss_opt,
            "points": [
                {"run_id": r, "n_params": float(n), "n_tokens": float(d), "loss": float(y)}
                for r, n, d, y in zip(self.run_ids, self.n_params, self.n_tokens, self.loss)
            ],
        }


def fit_parabola(runs: RunSet, rows: np.ndarray) -> Parabola:
    """The curve through some rows of a table, all of one budget; raises as `parabola_through`."""
    ids = tuple(runs.run_ids[i] for i in rows)
    return parabola_through(runs.n_params[rows], runs.n_tokens[rows], runs.loss[rows],
                            runs.flops[rows], ids, rows)


def parabola_through(
    n: np.ndarray,
    d: np.ndarray,
    loss: np.ndarray,
    flops: np.ndarray,
    run_ids: tuple[str, ...] = (),
    rows: np.ndarray = np.arange(0),
) -> Parabola:
    """The curve through points of equal compute, each array (points,).

    Raises `FitError` with fewer than 3 sizes, a concave curve, or a minimum outside the sizes.
    """
    flops = float(np.exp(np.log(flops).mean()))
    name = f"budget {flops:.3g} FLOPs"
    sizes = len(np.unique(n))
    if sizes < 3:
        raise FitError(f"{name}: {sizes} size{'s' * (sizes != 1)}, a parabola needs 3")
    centre = float(np.exp(np.log(n).mean()))
    t = np.log(n / centre)
    c = np.linalg.lstsq(np.vander(t, 3, increasing=True), loss, rcond=None)[0]
    if c[2] <= 0:
        raise FitError(f"{name}: the curve is concave, it has no minimum")
    best = -c[1] / (2 * c[2])
    if not t.min() < best < t.max():
        raise FitError(
            f"{name}: the minimum, N = {centre * np.exp(np.clip(best, -50, 50)):.3g}, lies outside"
            f" its sizes, {n.min():.3g} to {n.max():.3g}; add"
            f" {'smaller' if best <= t.min() else 'larger'} models"
        )
    n_opt = centre * float(np.exp(best))
    return Parabola(
        flops=flops,
        n_centre=centre,
        coefficients=tuple(float(v) for v in c),
        n_opt=n_opt,
        d_opt=float(_tokens_at(np.array(n_opt), n, d)),
        loss_opt=float(c[0] - c[1] ** 2 / (4 * c[2])),
        n_params=n,
        n_tokens=d,
        loss=loss,
        run_ids=run_ids,
        rows=rows,
    )


def _tokens_at(n_params: np.ndarray, sizes: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """D at N, linear in logs between neighbouring sizes (runs of one size averaged)."""
    x, group = np.unique(np.log(sizes), return_inverse=True)
    y = np.bincount(group, np.log(tokens)) / np.bincount(group)
    return np.exp(np.interp(np.log(n_params), x, y))
