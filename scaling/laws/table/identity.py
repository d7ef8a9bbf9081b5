"""Which rows of a table are which runs: row numbers, run names, checkpoints without a name."""

import dataclasses

import numpy as np
import pandas as pd

from scaling.laws.table.csv_table import RUN_NAMES

_STEPS = ("step", "steps", "current_step", "current_steps", "global_step", "train_step", "iteration",
          "iterations", "iter", "checkpoint", "ckpt", "ckpt_step")
# what is measured at a checkpoint, or follows from how far it is: no part of a run's configuration
_MEASURED = ("loss", "error", "acc", "perplexity", "ppl", "bits", "bpb", "flop", "token", "time", "second",
             "hour", "elapsed", "portion", "progress", "epoch", "unnamed")
_FEWEST_CHECKPOINTS = 3
_FEWEST_IN_PROGRESSION = 5  # evenly spaced D, where no column counts steps
_EVENLY = 0.02  # spread of the steps in D, relative to their mean


@dataclasses.dataclass(frozen=True)
class RunNames:
    """names: of the run of each row; "row 1", "row 2", ... where the table names none.

    column: that they were read from, or None. notes: what was assumed.
    """

    names: list[str]
    column: str | None
    notes: tuple[str, ...]


def row_numbers(frame: pd.DataFrame) -> np.ndarray:
    """1-based number below the header of each row, (rows,): its index plus 1 where the index is one of
    row positions, as it is after a selection; else its position."""
    index = frame.index
    if pd.api.types.is_integer_dtype(index.dtype) and index.is_unique and (index >= 0).all():
        return index.to_numpy(int) + 1
    return np.arange(1, len(frame) + 1)


def run_names(frame: pd.DataFrame) -> RunNames:
    """The run of each row by the first column called run_id, run, run_name or name, in any case.

    Rows that share a name are checkpoints of one run. Only `run_id` is taken at its word: a column
    of another name with one value for all, or under one of whose values n_params vary, names
    something else. A row whose name is empty is a run of its own.
    """
    rows, notes = row_numbers(frame), []
    own = [f"row {row}" for row in rows]
    lower = {str(name).lower(): name for name in reversed(frame.columns)}
    for wanted in RUN_NAMES:
        if wanted not in lower:
            continue
        column = frame[lower[wanted]]
        named = column.notna().to_numpy() & (column.astype(str).str.strip() != "").to_numpy()
        varying = _varies(frame, column, named)
        if wanted != "run_id":
            if not named.any():
                continue
            if column[named].nunique() == 1 and len(frame) > 1:
                notes.append(f"column {lower[wanted]} has one value for all rows: not read as the run's"
                             " name")
                continue
            if varying is not None:
                notes.append(f"n_params vary among the rows of {lower[wanted]} {varying!s}:"
                             f" the column is not read as the run's name")
                continue
        elif varying is not None:
            notes.append(f"n_params vary among the rows of {lower[wanted]} {varying!s}: rows of one"
                         " run_id count as checkpoints of one run")
        if not named.all():
            notes.append(f"{(~named).sum()} rows have no {lower[wanted]} (the first: row"
                         f" {rows[~named][0]}): each is taken for a run of its own")
        names = [str(v) if known else row for v, known, row in zip(column.tolist(), named.tolist(), own)]
        return RunNames(names, str(lower[wanted]), tuple(notes))
    return RunNames(own, None, tuple(notes))


def _varies(frame: pd.DataFrame, names: pd.Series, named: np.ndarray) -> object | None:
    """A name under which n_params differ, if there is one."""
    if "n_params" not in frame or not named.any():
        return None
    n_params = pd.Series(frame["n_params"].to_numpy()[named])
    counts = n_params.groupby(names.to_numpy()[named], sort=False).nunique()
    several = counts.index[counts > 1]
    return several[0] if len(several) else None


def looks_like_checkpoints(frame: pd.DataFrame, target: str) -> bool:
    """Whether rows that no column names look like several checkpoints of one run.

    That is: at least three rows of one configuration that differ in a column of steps; or, without
    such a column, five rows of one configuration at evenly spaced D. Sweeps space D by factors.
    """
    if "n_params" not in frame or len(frame) < _FEWEST_CHECKPOINTS:
        return False
    steps = [name for name in frame.columns if str(name).lower() in _STEPS]
    configuration = [
        name for name in frame.columns
        if name not in steps and name != target
        and not any(word in str(name).lower() for word in _MEASURED)
    ]
    groups = frame.groupby(configuration, sort=False, dropna=False)
    for name in steps:
        if (groups[name].nunique() >= _FEWEST_CHECKPOINTS).any():
            return True
    if steps or "n_tokens" not in frame:
        return False
    tokens = pd.to_numeric(frame["n_tokens"], errors="coerce")
    ordered = frame.assign(_tokens=tokens).sort_values("_tokens", kind="stable")
    gap = ordered.groupby(configuration, sort=False, dropna=False)["_tokens"].diff()
    keys = [ordered[c] for c in configuration]
    spread = gap[gap > 0].groupby(keys, dropna=False).agg(["count", "mean", "std"])
    even = spread["std"] <= _EVENLY * spread["mean"]
    return bool((even & (spread["count"] >= _FEWEST_IN_PROGRESSION - 1)).any())
