"""Choices in fitting: which checkpoints, which learning rates, which starts (Li et al. 2025)."""

import numpy as np
from comparison import Comparison, compare
from refits import Published, columns_of, refit

from scaling.laws.fitting.point_fit import fit_form
from scaling.laws.forms.chinchilla import CHINCHILLA, CHINCHILLA_SHARED

DATA = "misfitting"
FINAL, CHECKPOINTS = "misfitting_final.csv", "misfitting_ckpts.csv"
ND = ("n_params", "n_tokens")
STORED = {"alpha": "0.20019580085843525", "beta": "0.6356967859533506"}
STORED_OBJECTIVE = "0.005021654212110655"
STORED_SHARED = {"alpha": "0.6033796218161143"}
STORED_SHARED_OBJECTIVE = "0.005243705787850444"
WHERE = "hadasah, figures/1b/.../analysis_form_*.json"
SEEDS = 5


def comparisons(published: Published) -> list[Comparison]:
    final, checkpoints = published.read(FINAL), published.read(CHECKPOINTS)
    best = final.loc[final.groupby(list(ND)).loss.idxmin()]
    columns, loss = columns_of(final, *ND), final.loss.to_numpy()
    # Runs that differ in their learning rate alone share a model and a number of tokens: one cluster.
    shapes = _names(final, *ND)
    law = refit(CHINCHILLA, columns, loss, shapes, published.replicates)
    rows = [
        compare(DATA, "261 final checkpoints", name, number, law.params[name],
                interval=law.interval(name), exponent=True, source=WHERE)
        for name, number in STORED.items()
    ]
    rows.append(compare(DATA, "261 final checkpoints", "objective", STORED_OBJECTIVE,
                        law.point.objective, source=WHERE))
    shared = refit(CHINCHILLA_SHARED, columns, loss)
    for quantity, number, ours in (
        ("alpha", STORED_SHARED["alpha"], shared.params["alpha"]),
        ("objective", STORED_SHARED_OBJECTIVE, shared.point.objective),
    ):
        rows.append(compare(DATA, "261 final checkpoints, alpha = beta", quantity, number, ours,
                            exponent=quantity == "alpha", source=WHERE))
    several = np.array([fit_form(CHINCHILLA, columns, loss, seed=s).theta for s in range(SEEDS)])
    rows.append(compare(
        DATA, "261 final checkpoints", f"largest spread of a parameter over {SEEDS} sets of starts", None,
        float(np.ptp(several, axis=0).max()),
        why="standard errors over initialisations, as published, are about the optimiser, not the data",
    ))
    others = (
        ("best learning rate of each (N, D)", best, None),
        ("every checkpoint", checkpoints, _names(checkpoints, "model", "total_steps", "peak_lr", "sweep")),
    )
    for words, frame, runs in others:
        law = refit(CHINCHILLA, columns_of(frame, *ND), frame.loss.to_numpy(), runs, published.replicates)
        for name in ("alpha", "beta"):
            rows.append(compare(DATA, f"{words}, {len(frame)} rows", name, None, law.params[name],
                                interval=law.interval(name), why="which rows are used moves the law"))
    return rows


def _names(frame, *columns: str) -> np.ndarray:
    return frame[list(columns)].astype(str).agg(" ".join, axis=1).to_numpy()
