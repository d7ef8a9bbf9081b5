"""Resampling of runs, and intervals from the replicates."""

import dataclasses

import numpy as np

from scaling.errors import UserError


@dataclasses.dataclass(frozen=True)
class Bootstrap:
    """How intervals were made. failed: replicates without a usable optimum, left out."""

    method: str
    replicates: int
    failed: int
    seed: int

    @classmethod
    def of(cls, law: str, method: str, good: np.ndarray, seed: int) -> "Bootstrap":
        """From which replicates succeeded, (replicates,). Raises `UserError` if under half did."""
        if good.sum() < max(2, len(good) / 2):
            raise UserError(
                f"{law}: only {int(good.sum())} of {len(good)} resamples ({method}) determine"
                " the law; it needs more runs"
            )
        return cls(method, len(good), int((~good).sum()), seed)

    def to_json(self) -> dict:
        return dataclasses.asdict(self)


def clusters(run_ids: tuple[str, ...]) -> np.ndarray:
    """A number per row, equal for rows of one run: checkpoints of a run are not independent."""
    return np.unique(np.array(run_ids), return_inverse=True)[1]


def case_weights(run_of_row: np.ndarray, replicates: int, seed: int) -> np.ndarray:
    """Case bootstrap: how often each row's run was drawn, (replicates, rows), float64."""
    rng = np.random.default_rng(seed)
    runs = int(run_of_row.max()) + 1
    drawn = rng.multinomial(runs, np.full(runs, 1.0 / runs), size=replicates)
    return drawn[:, run_of_row].astype(float)


def residual_draws(
    residuals: np.ndarray,
    leverage: np.ndarray,
    degrees_of_freedom: int,
    run_of_row: np.ndarray,
    replicates: int,
    seed: int,
) -> np.ndarray:
    """Residual bootstrap: noise to add to a fit's predictions, (replicates, rows).

    Residuals are first divided by sqrt(1 - leverage), because a fit pulls them in (Davison and
    Hinkley 1997, section 6.2.3), and centred. Every run draws one of them for all its rows.
    Each replicate is then scaled by sqrt(freedom / chi-squared), because the size of the noise is
    itself an estimate: the normal theory's step from z to t.
    """
    pool = residuals / np.sqrt(np.maximum(1.0 - leverage, 0.05))
    pool = pool - pool.mean()
    rng = np.random.default_rng(seed)
    runs = int(run_of_row.max()) + 1
    drawn = pool[rng.integers(len(pool), size=(replicates, runs))]
    scale = np.sqrt(degrees_of_freedom / rng.chisquare(degrees_of_freedom, size=(replicates, 1)))
    return scale * drawn[:, run_of_row]


def interval(draws: np.ndarray, level: float) -> list[float]:
    """[low, high] that leave (1 - level) / 2 of the draws outside on either side.

    By Weibull's plotting position: one more draw falls outside with exactly that chance, however many
    there are (down to 2 / (1 - level) - 1; with fewer, the ends are the extreme draws).
    """
    tail = (1.0 - level) / 2
    return [float(v) for v in np.quantile(draws, [tail, 1.0 - tail], method="weibull")]
