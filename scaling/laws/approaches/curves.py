"""Loss curves of many runs on one grid of compute, and the lowest of them at each point."""

import dataclasses

import numpy as np

from scaling.laws.fitting.point_fit import FitError
from scaling.laws.table.runs import RunSet

SAME_SIZE = 0.005  # parameter counts that differ by less are one size (digitised tables jitter)
MIN_SIZES = 3  # with fewer, no size has a smaller and a larger one to be compared with


@dataclasses.dataclass(frozen=True)
class Curves:
    """Curves interpolated linearly in logs between their own points, never beyond them.

    kind: "run" (checkpoints of one run_id), or "size" (the finished runs of one N, of different
        lengths). names: (curves,).
    sizes: (sizes,) distinct parameter counts, ascending. size: (curves,) index into it.
    log_flops: (grid,) evenly spaced over the compute at which at least two sizes have a curve.
    log_loss: (curves, grid) nats, inf where a curve has no points on both sides.
    log_tokens: (curves, grid) of the curve at that compute; only finite where the loss is.
    """

    kind: str
    names: tuple[str, ...]
    sizes: np.ndarray
    size: np.ndarray
    log_flops: np.ndarray
    log_loss: np.ndarray
    log_tokens: np.ndarray

    @classmethod
    def of(cls, runs: RunSet, points: int) -> "Curves":
        """Curves of a table. Raises `FitError` where it has none, or too few that overlap."""
        sizes, size_of_row = _sizes(runs.n_params)
        kind, rows_of = _rows_of_curves(runs, size_of_row)
        ends = np.array([[np.log(runs.flops[r]).min(), np.log(runs.flops[r]).max()]
                         for r in rows_of.values()])
        size = np.array([size_of_row[r[0]] for r in rows_of.values()])
        log_flops = _grid(ends, size, points)
        log_loss = np.full((len(rows_of), points), np.inf)
        log_tokens = np.zeros((len(rows_of), points))
        for i, (rows, (first, last)) in enumerate(zip(rows_of.values(), ends)):
            x, group = np.unique(np.log(runs.flops[rows]), return_inverse=True)
            inside = (log_flops >= first) & (log_flops <= last)
            for target, values in ((log_loss, runs.loss), (log_tokens, runs.n_tokens)):
                y = np.bincount(group, np.log(values[rows])) / np.bincount(group)
                target[i, inside] = np.interp(log_flops[inside], x, y)
        return cls(kind, tuple(rows_of), sizes, size, log_flops, log_loss, log_tokens)

    def __len__(self) -> int:
        return len(self.names)

    def lowest(self, drawn: np.ndarray) -> np.ndarray:
        """The lowest of the drawn curves at each compute, (replicates, grid); -1 where none reaches.

        drawn: (replicates, curves) booleans.
        """
        order = np.argsort(self.log_loss, axis=0, kind="stable")
        reached = np.isfinite(self.log_loss)
        grid = np.arange(len(self.log_flops))
        winner = np.full((len(drawn), len(grid)), -1)
        for candidate in order:
            usable = drawn[:, candidate] & reached[candidate, grid] & (winner < 0)
            winner = np.where(usable, candidate, winner)
            if (winner >= 0).all():
                break
        return winner

    def crossings(self, winner: np.ndarray) -> np.ndarray:
        """Whether the lead changes by a crossing between grid points g and g + 1.

        winner: (replicates, grid). Returns (replicates, grid - 1): true where both winners have
        curves at both points. A lead that changes because a curve begins or ends says nothing
        about the optimum.
        """
        reached = np.isfinite(self.log_loss)
        grid = np.arange(len(self.log_flops))
        before, after = winner[:, :-1], winner[:, 1:]
        return (reached[before, grid[1:]] & reached[after, grid[:-1]]
                & (before >= 0) & (after >= 0))


def _sizes(n_params: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct sizes ascending, as geometric means, and the size of each row."""
    order = np.argsort(n_params, kind="stable")
    logs = np.log(n_params[order])
    group = np.empty(len(logs), int)
    group[order] = np.concatenate([[0], np.cumsum(np.diff(logs) > np.log1p(SAME_SIZE))])
    means = np.bincount(group, np.log(n_params)) / np.bincount(group)
    return np.exp(means), group


def _rows_of_curves(runs: RunSet, size_of_row: np.ndarray) -> tuple[str, dict[str, np.ndarray]]:
    """Rows by curve, for curves with at least two different C."""
    ids = np.array(runs.run_ids)
    by_run = {name: np.flatnonzero(ids == name) for name in dict.fromkeys(runs.run_ids)}
    by_run = {name: r for name, r in by_run.items() if len(np.unique(runs.flops[r])) > 1}
    if by_run:
        for name, rows in by_run.items():
            if len(np.unique(size_of_row[rows])) > 1:
                raise FitError(f"envelope: run {name} has rows of different n_params; a run is one"
                               " model")
        return "run", by_run
    by_size = {}
    for s in np.unique(size_of_row):
        rows = np.flatnonzero(size_of_row == s)
        if len(np.unique(runs.flops[rows])) > 1:
            by_size[f"{np.exp(np.log(runs.n_params[rows]).mean()):.4g} parameters"] = rows
    if len(by_size) < MIN_SIZES:
        raise FitError(
            "envelope: no loss curves: every run has one point. It needs checkpoints (several"
            f" rows of a run_id), or {MIN_SIZES} sizes with runs of different lengths each;"
            f" there {'is' if len(by_size) == 1 else 'are'} {len(by_size)} such"
        )
    return "size", by_size


def _grid(ends: np.ndarray, size: np.ndarray, points: int) -> np.ndarray:
    """Evenly spaced log C from the first to the last compute that two sizes share."""
    shared = [
        x for x in np.unique(ends)
        if len(np.unique(size[(ends[:, 0] <= x) & (x <= ends[:, 1])])) >= 2
    ]
    if len(np.unique(size)) < MIN_SIZES or len(shared) < 2:
        raise FitError(f"envelope: loss curves of {len(np.unique(size))} sizes;"
                       f" {MIN_SIZES} are needed, and they must overlap in C")
    return np.linspace(shared[0], shared[-1], points)
