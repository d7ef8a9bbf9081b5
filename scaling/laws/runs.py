"""Runs as the laws see them: checked, in float64, with every dropped row and its reason."""

import dataclasses
import pathlib

import numpy as np
import pandas as pd

from scaling.config import content_hash, did_you_mean
from scaling.errors import UserError

REQUIRED = ("n_params", "n_tokens", "loss")
_BUDGET_GAP = 0.1  # runs whose FLOPs differ by less than 10% share a budget, where none is named


@dataclasses.dataclass(frozen=True)
class RunSet:
    """The usable runs. Arrays of shape (runs,); logs are natural.

    flops: training FLOPs under the table's convention, or 6 N D where it has none.
    run_ids: of the rows; "row 1", "row 2", ... where the table names none.
    budgets: group of each run, 0 for the smallest; runs of one nominal budget share a group.
    dropped: {row, run_id, reason} for every row left out. notes: what was assumed, in words.
    """

    n_params: np.ndarray
    n_tokens: np.ndarray
    loss: np.ndarray
    flops: np.ndarray
    run_ids: tuple[str, ...]
    budgets: np.ndarray
    dropped: tuple[dict, ...]
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.loss)

    @property
    def logs(self) -> dict[str, np.ndarray]:
        return {"n_params": np.log(self.n_params), "n_tokens": np.log(self.n_tokens)}

    @property
    def n_budgets(self) -> int:
        return int(self.budgets.max()) + 1 if len(self) else 0

    @property
    def data_hash(self) -> str:
        """SHA-256 of the usable rows, whatever their order."""
        columns = (self.run_ids, self.n_params, self.n_tokens, self.loss, self.flops)
        rows = sorted([r, *map(float, numbers)] for r, *numbers in zip(*columns))
        return content_hash(rows, digits=64)

    def take(self, rows: np.ndarray) -> "RunSet":
        """A subset; budgets are numbered anew from 0."""
        rows = np.arange(len(self))[rows]
        arrays = {f: getattr(self, f)[rows] for f in ("n_params", "n_tokens", "loss", "flops")}
        _, budgets = np.unique(self.budgets[rows], return_inverse=True)
        return dataclasses.replace(
            self, **arrays, budgets=budgets, run_ids=tuple(self.run_ids[i] for i in rows)
        )


def read_runs(path: str | pathlib.Path) -> pd.DataFrame:
    """A CSV of runs: n_params, n_tokens, loss, and any other columns, numbers checked.

    Raises `UserError`, naming row and column, for what no law can use; rows are counted from 1
    below the header.
    """
    path = pathlib.Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    try:
        raw.decode("utf-8")
        if b"\0" in raw:
            raise ValueError
    except ValueError:
        raise UserError(f"{path}: a binary file; expected a CSV of runs in UTF-8") from None
    if not raw.strip():
        raise UserError(f"{path}: empty; expected a header with {', '.join(REQUIRED)} and rows")
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True,
                            index_col=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(f"{path}: not a CSV: {str(error).strip()}") from None
    _check_columns(frame, str(path))
    numeric = [*REQUIRED, *(c for c in ("train_flops", "tag_budget") if c in frame)]
    for name in numeric:
        words = frame[name].str.strip()
        values = pd.to_numeric(words, errors="coerce")
        bad = values.isna() & (words != "") & (words.str.lower() != "nan")
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise UserError(f"{path}: row {row + 1}, column {name}: {words.iloc[row]!r} is not a"
                            " number")
        frame[name] = values
    for name in frame.columns.difference(numeric):
        values = pd.to_numeric(frame[name].replace("", np.nan), errors="coerce")
        if name != "run_id" and values.notna().all():
            frame[name] = values
    usable_runs(frame, str(path))
    return frame


def usable_runs(frame: pd.DataFrame, where: str = "runs") -> RunSet:
    """Checks a table of runs and takes the finished ones.

    Columns: n_params, n_tokens, loss (nats per token); optionally train_flops, run_id, status,
    reason, tag_budget. A run with status diverged or failed is dropped and listed, as is a row
    equal to an earlier one in every column. Anything else that is not a positive finite number
    raises `UserError`.
    """
    _check_columns(frame, where)
    frame = frame.reset_index(drop=True)
    if len(frame) == 0:
        raise UserError(f"{where}: no rows; expected at least 2 runs")
    ids = ([str(v) for v in frame["run_id"]] if "run_id" in frame
           else [f"row {i + 1}" for i in range(len(frame))])
    repeated = frame.astype(str).duplicated().to_numpy()
    dropped, kept = [], []
    for row, run_id in enumerate(ids):
        status = str(frame["status"].iloc[row]) if "status" in frame else "ok"
        reason = None
        if status != "ok":
            detail = frame["reason"].iloc[row] if "reason" in frame else None
            said = isinstance(detail, str) and detail.strip()
            reason = f"{status}: {detail}" if said else status
        elif repeated[row]:
            reason = "equal to an earlier row in every column"
        if reason:
            dropped.append({"row": row + 1, "run_id": run_id, "reason": reason})
        else:
            kept.append(row)
    if not kept:
        raise UserError(f"{where}: none of its {len(frame)} runs is usable"
                        f" (the first: {dropped[0]['reason']})")
    columns = {name: _positive(frame, name, kept, where) for name in REQUIRED}
    notes = []
    if "train_flops" in frame and frame["train_flops"].iloc[kept].notna().any():
        flops = _positive(frame, "train_flops", kept, where)
    else:
        flops = 6.0 * columns["n_params"] * columns["n_tokens"]
        notes.append("no column train_flops: C = 6 N D")
        if "flops" in frame:
            notes.append("column flops is not read; name it train_flops to use it")
    if len(kept) < 2:
        raise UserError(f"{where}: one usable run; expected at least 2")
    return RunSet(**columns, flops=flops, run_ids=tuple(ids[i] for i in kept),
                  budgets=_budgets(frame, kept, flops), dropped=tuple(dropped),
                  notes=tuple(notes))


def _check_columns(frame: pd.DataFrame, where: str) -> None:
    for name in REQUIRED:
        if name not in frame.columns:
            found = [str(c) for c in frame.columns]
            near = did_you_mean(name, found).replace("; valid:", "; it has")
            raise UserError(f"{where}: no column {name}{near}")


def _positive(frame: pd.DataFrame, name: str, rows: list[int], where: str) -> np.ndarray:
    numbers = pd.to_numeric(frame[name], errors="coerce").to_numpy(float)[rows]
    bad = ~(np.isfinite(numbers) & (numbers > 0))
    if bad.any():
        row = rows[int(np.flatnonzero(bad)[0])]
        value = frame[name].iloc[row]
        raise UserError(f"{where}: row {row + 1}, column {name}: {value!s} is not a positive"
                        " number")
    return numbers


def _budgets(frame: pd.DataFrame, rows: list[int], flops: np.ndarray) -> np.ndarray:
    """Groups by the planner's nominal budget, else by gaps in FLOPs; ordered by FLOPs."""
    nominal = None
    if "tag_budget" in frame:
        nominal = pd.to_numeric(frame["tag_budget"], errors="coerce").to_numpy(float)[rows]
    if nominal is not None and np.isfinite(nominal).all():
        return np.unique(nominal, return_inverse=True)[1]
    order = np.argsort(flops, kind="stable")
    group = np.empty(len(flops), int)
    gaps = np.diff(np.log(flops[order])) > np.log1p(_BUDGET_GAP)
    group[order] = np.concatenate([[0], np.cumsum(gaps)])
    return group
