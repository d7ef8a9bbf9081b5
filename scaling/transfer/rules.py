"""From the optima of proxies to rules: exponents with their covariance, batch, constants.

The exponents are of the learning rate *of the parametrization's base shape*: under muP the rate of a
wide matrix already falls with its width, and the exponent along width says what is left to correct.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from scaling.errors import UserError
from scaling.experiment import Experiment
from scaling.sweeps.transferred import AXES, TransferredRules
from scaling.transfer.best_batch import best_batch
from scaling.transfer.cells import Cell
from scaling.transfer.exponents import Line, fit_line
from scaling.transfer.proxies import base_setting, warmup_fraction


@dataclasses.dataclass(frozen=True)
class Derived:
    """rules; line: the fit behind them; notes: choices made, and what could not be chosen."""

    rules: TransferredRules
    line: Line
    notes: tuple[str, ...]


def derive(base: Experiment, cells: Sequence[Cell], noise: float, level: float = 0.9) -> Derived:
    """noise: of one run's loss, nats. Raises `UserError` with too few settings for the axes scanned."""
    setting = base_setting(base)
    tau = float(f"{setting.decay_timescale:.4g}")
    readout = setting.unembedding_lr
    ratios = np.array([_ratios(base, cell) for cell in cells])
    measured = [axis for axis, column in zip(AXES, ratios.T) if np.ptp(column) > 0.01]
    at = [AXES.index(axis) for axis in measured]
    # every other constant than the base's gets an offset of its own: no law along it is assumed
    offsets = sorted({key for cell in cells for key in _constants(cell, tau, readout)})
    columns = [np.ones(len(cells)), *ratios[:, at].T]
    columns += [np.array([key in _constants(c, tau, readout) for c in cells], float) for key in offsets]
    rows = np.stack(columns, 1)
    if np.linalg.matrix_rank(rows) < rows.shape[1]:
        raise UserError("the proxies do not tell their axes apart; add sizes along each")
    optima = np.array([cell.log2_rate for cell in cells])
    line = fit_line(rows, optima, np.array([cell.standard_error for cell in cells]))
    chosen, alike, notes = [], [], []
    for name, value in (("decay_timescale", tau), ("unembedding_lr", readout)):
        best, as_good, note = _choice(base, cells, name, value, noise)
        chosen.append(best)
        alike.append(as_good)
        notes += note
    batch = best_batch(base.batch_size, _plain(base, cells), noise)
    kept = {(n, v) for n, v in zip(("decay_timescale", "unembedding_lr"), chosen)}
    onto = np.zeros((5, rows.shape[1]))  # from the line's coefficients to the rules'
    onto[0, 0] = 1
    onto[[1 + i for i in at], 1 + np.arange(len(at))] = 1
    onto[0, 1 + len(at):] = [key in kept for key in offsets]
    values, covariance = onto @ line.coefficients, onto @ line.covariance @ onto.T
    far = int(np.argmax(np.abs(ratios[:, :2]).sum(1)))
    rules = TransferredRules(
        source="transfer",
        base_d_model=base.model.d_model,
        base_n_layers=base.model.n_layers,
        base_batch_size=base.batch_size,
        base_n_tokens=base.n_tokens,
        learning_rate=2.0 ** values[0],
        exponents=tuple(values[1:].tolist()),
        measured=tuple(measured),
        covariance=tuple(tuple(row) for row in ((covariance + covariance.T) / 2).tolist()),
        scatter=line.scatter,
        degrees_of_freedom=line.degrees_of_freedom,
        far_distance=float(np.abs(ratios[far]).sum()),
        far_residual=float(line.residuals[far]),
        curvature=float(np.median([cell.curvature for cell in cells])),
        batch_size=batch.batch_size,
        batch_horizon_exponent=batch.exponent,
        batch_covariance=tuple(tuple(row) for row in batch.covariance.tolist()),
        batch_degrees_of_freedom=batch.degrees_of_freedom,
        decay_timescale=chosen[0],
        warmup_fraction=warmup_fraction(base),
        unembedding_lr=chosen[1],
        decay_timescale_range=alike[0],
        unembedding_lr_range=alike[1],
        level=level,
    )
    return Derived(rules, line, (*notes, *batch.notes))


def _ratios(base: Experiment, cell: Cell) -> list[float]:
    """log2 of sizes over the base's, along `AXES`."""
    return [
        math.log2(cell.d_model / base.model.d_model),
        math.log2(cell.n_layers / base.model.n_layers),
        math.log2(cell.batch_size / base.batch_size),
        math.log2(cell.n_tokens / base.n_tokens),
    ]


def _constants(cell: Cell, tau: float, readout: float) -> set[tuple[str, float]]:
    """The constants in which a cell differs from the base."""
    own = {("decay_timescale", cell.decay_timescale), ("unembedding_lr", cell.unembedding_lr)}
    return own - {("decay_timescale", tau), ("unembedding_lr", readout)}


def _choice(
    base: Experiment, cells: Sequence[Cell], name: str, value: float, noise: float
) -> tuple[float, tuple[float, float] | None, list[str]]:
    """The best value of a constant at the longest horizon at which it was scanned, the range of those
    that the noise of a run cannot tell from the best, and notes.

    The base's is kept unless another is better by more than that noise.
    """
    scanned = [c for c in cells if getattr(c, name) != value]
    if not scanned:
        return value, None, []
    longest = max(c.horizon for c in scanned)
    # those that differ from the base in nothing else
    def alike(cell: Cell) -> bool:
        return (cell.d_model, cell.n_layers, cell.batch_size, cell.horizon) == (
            base.model.d_model, base.model.n_layers, base.batch_size, longest
        )
    other = "unembedding_lr" if name == "decay_timescale" else "decay_timescale"
    losses = {
        getattr(c, name): c.loss
        for c in cells
        if alike(c) and (getattr(c, name) != value or getattr(c, other) == _most_common(cells, other))
    }
    best = min(losses, key=losses.get)
    as_good = [v for v, loss in losses.items() if loss - losses[best] <= noise]
    span = min(as_good), max(as_good)
    if value in losses and losses[value] - losses[best] <= noise:
        note = f"{name} {value:g} is kept: none of the others is better by more than the noise"
        return value, span, [note]
    gain = losses.get(value, math.nan) - losses[best]
    notes = [f"{name} {best:g}: {gain:.4f} nats better than {value:g}"]
    if best in (min(losses), max(losses)):
        notes.append(f"the best {name}, {best:g}, is at the edge of what was scanned")
    return best, span, notes


def _most_common(cells: Sequence[Cell], name: str) -> float:
    values = [getattr(cell, name) for cell in cells]
    return max(set(values), key=values.count)


def _plain(base: Experiment, cells: Sequence[Cell]) -> dict[float, list[Cell]]:
    """Cells of the base's shape and of the most common constants, by their tokens over the base's."""
    tau, readout = _most_common(cells, "decay_timescale"), _most_common(cells, "unembedding_lr")
    rows: dict[float, list[Cell]] = {}
    for c in cells:
        if (c.d_model, c.n_layers, c.decay_timescale, c.unembedding_lr) == (
            base.model.d_model, base.model.n_layers, tau, readout
        ):
            rows.setdefault(c.horizon, []).append(c)
    return rows
