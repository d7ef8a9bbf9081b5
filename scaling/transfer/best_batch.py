"""The best batch of the base shape, and how it grows with training tokens."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from scaling.transfer.cells import Cell
from scaling.transfer.exponents import fit_line
from scaling.transfer.optimum import Scan, optimum, standard_error


@dataclasses.dataclass(frozen=True)
class BestBatch:
    """batch_size: sequences, at the base's tokens; exponent: along the horizon.

    covariance: 2 x 2, of log2 batch_size and the exponent; zeros where the batch is held and not
    chosen. degrees_of_freedom: of Student's t. notes: what was left out, and why.
    """

    batch_size: float
    exponent: float
    covariance: np.ndarray
    degrees_of_freedom: float
    notes: tuple[str, ...]


def best_batch(held: int, row_of_horizon: dict[float, Sequence[Cell]], noise: float) -> BestBatch:
    """Vertices of parabolas in log2 batch, then a line along the horizon.

    held: the base's batch, which stays where no best one was found inside a scan. row_of_horizon:
    cells that differ in their batch alone, by their tokens over the base's. noise: of one run's loss,
    nats; a cell's loss, fitted to several runs, is known a little better than that.
    """
    found, errors, notes = {}, [], []
    for horizon, cells in sorted(row_of_horizon.items()):
        if len(cells) < 3:
            continue
        row = sorted(cells, key=lambda c: c.batch_size)
        scan = Scan("", np.log2([c.batch_size for c in row]), np.array([[c.loss] for c in row]))
        best = optimum(scan.log2_rates, scan.losses)
        if best.edge is None:
            found[horizon] = best.log2_rate
            errors.append(standard_error(scan, noise))
        else:
            notes.append(f"at {horizon:g} times the tokens the best batch is the {best.edge} scanned")
    if not found:
        if len({c.batch_size for cells in row_of_horizon.values() for c in cells}) > 1:
            notes.append(f"batch: held at the base's {held}")
        return BestBatch(float(held), 0.0, np.zeros((2, 2)), 1e9, tuple(notes))
    x, y = np.log2(list(found)), np.array(list(found.values()))
    if len(found) == 1:
        notes.append("batch: scanned at one horizon, the same at all")
        return BestBatch(float(2 ** y[0]), 0.0, np.diag([errors[0] ** 2, 0.0]), 1e9, tuple(notes))
    line = fit_line(np.stack([np.ones(len(x)), x], 1), y, np.array(errors))
    at_base, exponent = line.coefficients.tolist()
    return BestBatch(2**at_base, exponent, line.covariance, line.degrees_of_freedom, tuple(notes))
