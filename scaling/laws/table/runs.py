"""Runs as the laws see them: checked, in float64, with every dropped row and its reason."""

import dataclasses
import functools
import pathlib
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from scaling.config import content_hash
from scaling.errors import UserError
from scaling.laws.table.budgets import budgets_of
from scaling.laws.table.checks import checked, found_as, missing_column, positive, unit_notes
from scaling.laws.table.conventions import FLOPS, flops_of
from scaling.laws.table.csv_table import numbers, read_table
from scaling.laws.table.identity import looks_like_checkpoints, row_numbers, run_names

N_AND_D = ("n_params", "n_tokens")
_FINISHED = ("ok", "finished", "completed", "done", "success")
_UNNAMED = ("several checkpoints of one run without a run column: they are resampled as if"
            " independent; name the run in a column run_id")


@dataclasses.dataclass(frozen=True)
class RunSet:
    """The usable runs. Arrays of shape (runs,), float64; logs are natural.

    n_params, n_tokens, flops: None where the table does not have them and the law does not need
    them. flops: training FLOPs under the table's convention, or 6 N D where it has none.
    loss: the values of the column `target`, which is the loss unless a law predicts something else.
    run_ids: of the rows; "row 1", "row 2", ... where the table names none. Rows of one run are
    checkpoints of it, and are resampled together.
    budgets: group of each run, 0 for the smallest; runs of one nominal budget share a group.
    dropped: {row, run_id, reason} for every row left out. notes: what was assumed, in words.
    columns: every other column of numbers, unchecked; `column` checks.
    needed: those of them that the law named, which are in the hash.
    rows: 1-based, below the header. standard_error: of `loss`. weight: of each row in the fit.
    checkpoints_unnamed: the rows look like checkpoints of runs that no column names.
    source: of the table, for messages.
    """

    n_params: np.ndarray | None
    n_tokens: np.ndarray | None
    loss: np.ndarray
    flops: np.ndarray | None
    run_ids: tuple[str, ...]
    budgets: np.ndarray
    dropped: tuple[dict, ...]
    notes: tuple[str, ...]
    columns: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    target: str = "loss"
    needed: tuple[str, ...] = ()
    rows: np.ndarray | None = None
    standard_error: np.ndarray | None = None
    weight: np.ndarray | None = None
    checkpoints_unnamed: bool = False
    source: str = "runs"

    def __len__(self) -> int:
        return len(self.loss)

    @property
    def logs(self) -> dict[str, np.ndarray]:
        return {name: np.log(getattr(self, name)) for name in N_AND_D if getattr(self, name) is not None}

    @property
    def n_budgets(self) -> int:
        return int(self.budgets.max()) + 1 if len(self) else 0

    def column(self, name: str) -> np.ndarray:
        """The positive numbers of a column, by the table's name or the law's, (runs,).

        Raises `UserError` if there is no such column, or naming the first row without such a number.
        """
        known = {"n_params": self.n_params, "n_tokens": self.n_tokens, self.target: self.loss,
                 **dict.fromkeys(FLOPS, self.flops)}
        known = {**self.columns, **{k: v for k, v in known.items() if v is not None}}
        held = found_as(name, known)
        if held is None:
            raise missing_column(name, known, self.source)
        rows = np.arange(1, len(self) + 1) if self.rows is None else self.rows
        return checked(pd.Series(known[held], name=held), rows, self.source)

    @functools.cached_property
    def data_hash(self) -> str:
        """SHA-256 of the usable rows, whatever their order: of their ids, N, D, C, target, and of the
        weights, standard errors and columns that the law uses."""
        extra = {name: self.column(name) for name in self.needed}
        extra |= {"standard error": self.standard_error, "weight": self.weight}
        extra = {name: values for name, values in extra.items() if values is not None}
        basic = (self.n_params, self.n_tokens, self.loss, self.flops)
        columns = [[None] * len(self) if c is None else c.tolist() for c in (*basic, *extra.values())]
        rows = sorted(map(list, zip(self.run_ids, *columns)))
        if not extra and self.target == "loss":
            return content_hash(rows, digits=64)
        return content_hash({"target": self.target, "columns": list(extra), "rows": rows}, digits=64)

    def take(self, rows: np.ndarray) -> "RunSet":
        """A subset; budgets are numbered anew from 0."""
        rows = np.arange(len(self))[rows]
        arrays = {
            name: getattr(self, name)[rows]
            for name in ("n_params", "n_tokens", "loss", "flops", "rows", "standard_error", "weight")
            if getattr(self, name) is not None
        }
        _, budgets = np.unique(self.budgets[rows], return_inverse=True)
        return dataclasses.replace(
            self, **arrays, budgets=budgets, run_ids=tuple(self.run_ids[i] for i in rows),
            columns={name: values[rows] for name, values in self.columns.items()},
        )


def read_runs(
    path: str | pathlib.Path, columns: Iterable[str] = N_AND_D, target: str = "loss"
) -> pd.DataFrame:
    """A CSV of runs, checked as `usable_runs` does: n_params, n_tokens, loss, and any other columns.

    columns, target: those that the law needs. To leave rows out before the check, use `read_table`,
    `select` and `usable_runs`. Raises `UserError`, naming row and column, for what no law can use;
    rows are counted from 1 below the header.
    """
    columns = tuple(columns)
    frame = read_table(path, ", ".join((*columns, target)))
    usable_runs(frame, str(path), columns, target)
    return frame


def usable_runs(
    frame: pd.DataFrame,
    where: str = "runs",
    columns: Iterable[str] = N_AND_D,
    target: str = "loss",
    excluded: Iterable[dict] = (),
) -> RunSet:
    """Checks a table of runs and takes the finished ones.

    columns: those that the law needs, positive numbers, as is `target`, which it predicts (loss: nats
    per token). `flops` among them means training FLOPs, C. excluded: rows that `selection.select`
    left out, for the list of dropped ones.

    Optional columns: train_flops, or flops (C; without them C = 6 N D); run_id, or run, run_name,
    name (rows that share it are checkpoints of one run); status, reason (a run with a status other
    than ok is dropped and listed, as is a row equal to an earlier one in every column); loss_stderr
    or loss_se (standard error of the loss); weight (0 or positive); tag_budget (nominal C).
    Raises `UserError` naming row and column for anything else that is not a positive finite number.
    """
    columns, excluded = tuple(columns), list(excluded)
    needed = [name for name in columns if name not in FLOPS and name != target]
    if not frame.columns.is_unique:
        raise UserError(f"{where}: two columns are named {frame.columns[frame.columns.duplicated()][0]}")
    for name in (*needed, target):
        if found_as(name, frame.columns) is None:
            raise missing_column(name, frame.columns, where)
    if len(frame) == 0:
        raise UserError(f"{where}: no rows; expected at least 2 runs")
    rows, named = row_numbers(frame), run_names(frame)
    frame = frame.reset_index(drop=True)
    reasons = _reasons(frame)
    dropped = [{"row": int(rows[i]), "run_id": named.names[i], "reason": why} for i, why in reasons.items()]
    kept = np.array([i for i in range(len(frame)) if i not in reasons], int)
    if not len(kept):
        raise UserError(f"{where}: none of its {len(frame)} runs is usable"
                        f" (the first: {dropped[0]['reason']})")
    frame, rows = frame.iloc[kept], rows[kept]
    ids = tuple(named.names[i] for i in kept)
    values = {
        name: checked(frame[found_as(name, frame.columns)], rows, where) for name in (*needed, target)
    }
    for name in N_AND_D:
        values.setdefault(name, _optional(frame, name))
    n_params, n_tokens = values["n_params"], values["n_tokens"]
    needs_flops = bool(set(columns) & set(FLOPS))
    flops, notes = flops_of(frame, n_params, n_tokens, rows, where, needs_flops)
    if flops is None and needs_flops:
        raise missing_column("train_flops", frame.columns, where)
    notes += unit_notes(n_params, target, values[target], rows) + list(named.notes)
    if named.column not in (None, "run_id") and len(set(ids)) < len(ids):
        notes.append(f"runs are named by column {named.column}: {len(set(ids))} runs, {len(ids)} rows")
    unnamed = named.column is None and looks_like_checkpoints(frame, target)
    if len(kept) < 2:
        raise UserError(f"{where}: one usable run; expected at least 2")
    return RunSet(
        n_params=n_params, n_tokens=n_tokens, loss=values[target], flops=flops, run_ids=ids,
        budgets=budgets_of(frame, flops),
        dropped=tuple(sorted((*excluded, *dropped), key=lambda row: row["row"])),
        notes=(*notes, *([_UNNAMED] if unnamed else [])),
        columns=_others(frame, target), target=target,
        needed=tuple(name for name in needed if name not in N_AND_D), rows=rows,
        standard_error=_standard_error(frame, target, rows, where), weight=_weight(frame, rows, where),
        checkpoints_unnamed=unnamed, source=where,
    )


def _reasons(frame: pd.DataFrame) -> dict[int, str]:
    """Position -> why the row is left out."""
    reasons = {}
    compared = frame[[c for c in frame.columns if not str(c).startswith("Unnamed:")]]  # a written index
    try:
        repeated = compared.duplicated().to_numpy()
    except TypeError:  # values without a hash, such as lists
        repeated = compared.astype(str).duplicated().to_numpy()
    for i in np.flatnonzero(repeated):
        reasons[int(i)] = "equal to an earlier row in every column"
    if "status" in frame:
        status = frame["status"].astype(object).where(frame["status"].notna(), "").map(str).str.strip()
        for i in np.flatnonzero(~status.str.lower().isin(_FINISHED)):
            detail = frame["reason"].iloc[i] if "reason" in frame else None
            said = isinstance(detail, str) and detail.strip()
            word = status.iloc[i] or "no status"
            reasons[int(i)] = " ".join((f"{word}: {detail}" if said else word).split())
    return dict(sorted(reasons.items()))


def _optional(frame: pd.DataFrame, name: str) -> np.ndarray | None:
    """A column that the law does not need, if every row has it."""
    values = numbers(frame[name]) if name in frame else np.array([np.nan])
    return values if positive(values).all() else None


def _others(frame: pd.DataFrame, target: str) -> dict[str, np.ndarray]:
    """Every column of numbers but the target, by name."""
    others = {}
    for name in frame.columns:
        column = frame[name]
        if column.dtype == object:
            column = column.infer_objects()
        kind = column.dtype
        if name != target and pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind):
            others[str(name)] = numbers(column)
    return others


def _standard_error(frame: pd.DataFrame, target: str, rows: np.ndarray, where: str) -> np.ndarray | None:
    for name in (f"{target}_stderr", f"{target}_se"):
        if name in frame and frame[name].notna().any():
            return checked(frame[name], rows, where)
    return None


def _weight(frame: pd.DataFrame, rows: np.ndarray, where: str) -> np.ndarray | None:
    if "weight" not in frame or not frame["weight"].notna().any():
        return None
    not_negative = lambda w: np.isfinite(w) & (w >= 0)  # noqa: E731
    weight = checked(frame["weight"], rows, where, not_negative, "0 or a positive number")
    if not weight.any():
        raise UserError(f"{where}: column weight: every weight is 0; expected some above 0")
    return weight
