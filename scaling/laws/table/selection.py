"""Which rows go into a fit: by conditions on their columns, or the last checkpoint of each run."""

import dataclasses
from collections.abc import Iterable

import numpy as np
import pandas as pd

from scaling.errors import UserError
from scaling.laws.table.expressions import condition
from scaling.laws.table.identity import row_numbers, run_names
from scaling.laws.table.runs import RunSet


def select(
    frame: pd.DataFrame,
    where: str | Iterable[str] | None = None,
    drop: str | Iterable[str] | None = None,
) -> tuple[pd.DataFrame, list[dict]]:
    """The rows for which every `where` is true and no `drop` is, and a list of the others.

    The frame keeps its index, by which `usable_runs` names rows as they stand in the file; the list,
    for its `excluded`, has a {row, run_id, reason} for each row left out. Raises `UserError` if an
    expression cannot be evaluated, or no row is left.
    """
    reasons: list[str | None] = [None] * len(frame)
    left = np.ones(len(frame), bool)
    for words, expressions in (("not where", where), ("--drop", drop)):
        for expression in [expressions] if isinstance(expressions, str) else expressions or ():
            true = condition(expression, frame)
            out = left & (true if expressions is drop else ~true)
            left &= ~out
            for i in np.flatnonzero(out):
                reasons[i] = f"{words} {expression.strip()}"
    if len(frame) and not left.any():
        counts = pd.Series(reasons).value_counts(sort=False)
        raise UserError(f"no row of {len(frame)} is left: "
                        + ", ".join(f"{n} out by {why}" for why, n in counts.items()))
    rows, names = row_numbers(frame), run_names(frame).names
    dropped = [{"row": int(rows[i]), "run_id": names[i], "reason": reasons[i]}
               for i in np.flatnonzero(~left)]
    return frame[left], dropped


def last_checkpoints(runs: RunSet) -> RunSet:
    """The last row of each run (largest D; of equal ones the later row), the others listed as dropped.

    Raises `UserError` if the rows look like checkpoints of runs that no column names.
    """
    if runs.checkpoints_unnamed:
        raise UserError("the last checkpoint of each run: no column names the runs; expected run_id")
    if runs.n_tokens is None:
        raise UserError("the last checkpoint of each run: no column n_tokens tells which is the last")
    last: dict[str, int] = {}
    for i in np.argsort(runs.n_tokens, kind="stable"):
        last[runs.run_ids[i]] = int(i)
    kept = np.zeros(len(runs), bool)
    kept[list(last.values())] = True
    rows = np.arange(1, len(runs) + 1) if runs.rows is None else runs.rows
    dropped = [
        {"row": int(rows[i]), "run_id": runs.run_ids[i], "reason": "not the last checkpoint of its run"}
        for i in np.flatnonzero(~kept)
    ]
    everything = tuple(sorted((*runs.dropped, *dropped), key=lambda row: row["row"]))
    return dataclasses.replace(runs.take(kept), dropped=everything)
