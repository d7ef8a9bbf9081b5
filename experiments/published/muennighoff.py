"""Repeated data: the decay constants R_D* and R_N* (Muennighoff et al. 2023)."""

import dataclasses

import numpy as np
from comparison import Comparison, compare
from refits import LEVEL, Published, columns_of, refit

from scaling.laws.fitting.solver import refine
from scaling.laws.forms.data_constrained import DATA_CONSTRAINED
from scaling.laws.uncertainty.bootstrap import case_weights, interval

DATA = "muennighoff"
FILE = "datablations_fit182.csv"
BASE = {"A": np.exp(6.255414), "B": np.exp(7.3049974), "E": np.exp(0.6254804), "alpha": 0.3526596,
        "beta": 0.3526596}
STORED = {"R_D*": "15.387756", "R_N*": "5.309743"}
WHERE = "datablations, parametric_fit.ipynb"


def comparisons(published: Published) -> list[Comparison]:
    runs = published.read(FILE)
    columns = columns_of(runs, "n_params", "n_tokens", "unique_tokens")
    loss = runs.loss.to_numpy()
    fitted = refit(DATA_CONSTRAINED.fix(**{name: float(v) for name, v in BASE.items()}), columns, loss)
    point = fitted.point
    stored = {name: float(value) for name, value in STORED.items()}
    minima = [minimum["params"] for minimum in point.receipt.minima]
    starts = point.centring.to_centred(np.array([point.form.theta(p) for p in (stored, *minima)]))
    beside = refine(point.problem, starts[:1])
    near = point.form.named(point.centring.to_natural(beside.theta[0]))
    intervals = _intervals(point, loss, starts, published.replicates)
    excess, rows = fitted.excess(stored), []
    share = int(round(100 * point.receipt.starts_at_optimum))
    for name, number in STORED.items():
        low, high = intervals[name] or (0.0, 0.0)
        unbounded = f"; {name} is not identified above {low:.2g}" if high > 1e6 else ""
        rows.append(compare(
            DATA, "Huber 1e-3 of logs, 182 runs", name, number, fitted.params[name],
            interval=intervals[name], excess=excess, source=WHERE,
            why=f"a local minimum, {100 * excess:.2f}% above; our starts find {len(minima)}, {share}% of"
                f" them the lowest{unbounded}",
        ))
        rows.append(compare(
            DATA, "the minimum beside the stored values", name, number, near[name], source=WHERE,
            within=2e-3,
        ))
    rows.append(compare(DATA, "Huber 1e-3 of logs, 182 runs", "objective of the stored values",
                        "0.015825936", float(point.problem.value(starts[:1])[0]), source=WHERE,
                        within=1e-7))
    return rows


def _intervals(point, loss: np.ndarray, starts: np.ndarray, replicates: int) -> dict:
    """Every replicate starts at each known minimum and keeps the lowest: one would stay in its own."""
    if not replicates:
        return dict.fromkeys(point.form.names)
    weights = case_weights(np.arange(len(loss)), replicates, seed=0)
    problem = point.problem
    again = dataclasses.replace(problem, weights=np.repeat(weights, len(starts), axis=0))
    found = refine(again, np.tile(starts, (replicates, 1)))
    value = np.where(found.converged, found.value, np.inf).reshape(replicates, -1)
    best = value.argmin(axis=1) + len(starts) * np.arange(replicates)
    values = point.form.values(point.centring.to_natural(found.theta[best]))
    return {name: interval(values[:, i], LEVEL) for i, name in enumerate(point.form.names)}
