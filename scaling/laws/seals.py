"""Sealed forecasts: written once before the run, hashed over everything, scored after it."""

import dataclasses
import datetime
import json

import numpy as np
import pandas as pd
from etils import epath

from scaling.config import canonical_json
from scaling.errors import UserError
from scaling.laws.code_version import code_version, content_sha256, read_sealed_json
from scaling.laws.table.checks import missing_column
from scaling.laws.table.csv_table import number, numbers
from scaling.laws.table.identity import run_names
from scaling.results.files import write_once

TOLERANCE = 0.01  # of N and of D: of a run that is the one foretold
_SIZE = ("n_params", "n_tokens")


@dataclasses.dataclass(frozen=True)
class TargetScore:
    """One foretold run. Losses in nats per token; error = actual - predicted.

    status: that of the run; a diverged or failed run has no loss and scores as a failed forecast.
    """

    run_id: str
    status: str
    predicted: float
    predictive_interval: tuple[float, float]
    actual: float | None
    error_nats: float | None
    error_percent: float | None
    inside_interval: bool


@dataclasses.dataclass(frozen=True)
class Score:
    """A verified seal and how its targets came out. failed: targets that diverged or failed."""

    path: str
    created_at: str
    seal_sha256: str
    level: float
    targets: tuple[TargetScore, ...]

    @property
    def failed(self) -> tuple[str, ...]:
        return tuple(t.run_id for t in self.targets if t.actual is None)

    @property
    def inside(self) -> int:
        return sum(t.inside_interval for t in self.targets)

    def to_json(self) -> dict:
        return {**dataclasses.asdict(self), "failed": list(self.failed), "inside": self.inside}


def seal(path: epath.PathLike, payload: dict) -> dict:
    """Writes a forecast that cannot change unnoticed; returns what is in the file.

    payload: JSON values with at least `forecast`, `law`, `data_hash`, `fitted_run_ids`, `level`
    and `targets`, a list of {run_id, n_params, n_tokens, train_flops, prediction} whose prediction
    has `loss` and `predictive_interval`; see `forecasting.seal_payload`. A target whose run_id is
    None foretells every run of its N and D; its `fitted_losses` are those of such runs in the fit.
    Added here: code_version, created_at (UTC), and sha256 over the canonical JSON of all the rest.
    Where the same forecast is already sealed, that one stays (a restarted study seals once).
    Raises `UserError` if a different one is sealed there.
    """
    path = epath.Path(path)
    _check_payload(payload)
    try:
        body = json.loads(canonical_json({**payload, "code_version": code_version()}))
    except (TypeError, ValueError) as problem:
        raise UserError(f"seal: the payload is not plain finite JSON: {problem}") from None
    now = datetime.datetime.now(datetime.UTC).isoformat()
    sealed = {**body, "created_at": now}
    sealed["sha256"] = content_sha256(sealed)
    if write_once(path, json.dumps(sealed, indent=1, sort_keys=True, allow_nan=False) + "\n"):
        return sealed
    there = read_seal(path)
    if {k: v for k, v in there.items() if k not in ("created_at", "sha256")} != body:
        different = sorted(k for k in body.keys() | there.keys()
                           if k not in ("created_at", "sha256") and body.get(k) != there.get(k))
        raise UserError(f"{path}: another forecast is sealed here (they differ in"
                        f" {', '.join(different)}); a sealed forecast is never overwritten")
    return there


def read_seal(path: epath.PathLike) -> dict:
    """A seal, checked against its own hash. Raises `UserError` if it was changed."""
    return read_sealed_json(path, "sealed forecast")


def verify(path: epath.PathLike, runs: pd.DataFrame) -> Score:
    """Scores a sealed forecast against the runs it foretold.

    runs: a table with loss, n_params, n_tokens and, if it has them, status and finished_at; run_id
    where the seal names its targets. A target without a name is every run within 1% of its N and D.
    Raises `UserError` for a broken seal, a target that was in the fit, one that finished before
    the seal was made, one without a record, or a run that is not the one foretold (N or D more
    than 1% off).
    """
    sealed = read_seal(path)
    created = datetime.datetime.fromisoformat(sealed["created_at"])
    names = run_names(runs)
    scores = []
    for target in sealed["targets"]:
        find = _of_size if target["run_id"] is None else _by_name
        for i in find(target, runs, names.names, str(path)):
            run_id = names.names[i]
            if names.column is not None and run_id in sealed["fitted_run_ids"]:
                raise UserError(f"{path}: run {run_id} was in the fit; it cannot test the forecast")
            scores.append(_score(target, run_id, runs.iloc[i], created, str(path)))
    return Score(str(path), sealed["created_at"], sealed["sha256"], sealed["level"], tuple(scores))


def _by_name(target: dict, runs: pd.DataFrame, names: list[str], where: str) -> list[int]:
    """Position of the one run that a target names."""
    _check_columns(runs, ("run_id", "loss"))
    found = [i for i, name in enumerate(names) if name == target["run_id"]]
    if not found:
        raise UserError(f"{where}: target {target['run_id']} has no record yet; run it, then verify"
                        f" (N = {target['n_params']:.4g}, D = {target['n_tokens']:.4g})")
    if len(found) > 1:
        raise UserError(f"{where}: target {target['run_id']} has {len(found)} rows; expected one")
    return found


def _of_size(target: dict, runs: pd.DataFrame, names: list[str], where: str) -> list[int]:
    """Positions of all runs of a target's N and D: its seeds."""
    _check_columns(runs, (*_SIZE, "loss"))
    apart = size_apart(*(numbers(runs[name]) for name in _SIZE), *(target[name] for name in _SIZE))
    found = np.flatnonzero(apart <= TOLERANCE)
    asked = f"N = {target['n_params']:.4g} and D = {target['n_tokens']:.4g}"
    if not len(found):
        nearest = ""
        if len(apart) and np.isfinite(apart.min()):
            row = runs.iloc[int(apart.argmin())]
            nearest = (f" (nearest: {names[int(apart.argmin())]}, N = {float(row['n_params']):.4g},"
                       f" D = {float(row['n_tokens']):.4g})")
        raise UserError(f"{where}: foretells a run of {asked}, and none of the {len(runs)} rows is within"
                        f" 1% of both{nearest}")
    for i in found:
        if number(runs["loss"].iloc[i]) in target["fitted_losses"]:
            raise UserError(f"{where}: {names[i]}, of {asked}, was in the fit; it cannot test the forecast")
    return [int(i) for i in found]


def size_apart(
    n_params: np.ndarray, n_tokens: np.ndarray, n_params_foretold: float, n_tokens_foretold: float
) -> np.ndarray:
    """How far runs are from a size, (runs,): the greater relative difference of N and D; else inf."""
    apart = np.maximum(np.abs(n_params / n_params_foretold - 1), np.abs(n_tokens / n_tokens_foretold - 1))
    return np.where(np.isfinite(apart), apart, np.inf)


def _check_columns(runs: pd.DataFrame, names: tuple[str, ...]) -> None:
    for name in names:
        if name not in runs.columns:
            raise missing_column(name, runs.columns, "verify: the table of runs")


def _score(
    target: dict, run_id: str, row: pd.Series, created: datetime.datetime, where: str
) -> TargetScore:
    prediction = target["prediction"]
    finished = row.get("finished_at")
    if finished is not None and pd.notna(finished) and _moment(str(finished)) <= created:
        raise UserError(f"{where}: target {run_id} finished {finished}, before the seal was made"
                        f" ({created.isoformat()}); that is no forecast")
    low, high = prediction["predictive_interval"]
    status = str(row.get("status", "ok"))
    loss = number(row["loss"])
    if status == "ok" and not (np.isfinite(loss) and loss > 0):
        raise UserError(f"{where}: target {run_id} is finished but has no loss")
    if status != "ok":
        return TargetScore(run_id, status, prediction["loss"], (low, high), None, None, None, False)
    for name in _SIZE:
        if name in row and not abs(number(row[name]) / target[name] - 1) <= TOLERANCE:
            raise UserError(f"{where}: target {run_id} has {name} = {row[name]}, the"
                            f" forecast was for {target[name]:.6g}; it is not the run foretold")
    error = loss - prediction["loss"]
    return TargetScore(run_id, status, prediction["loss"], (low, high), loss, error,
                       100 * error / loss, low <= loss <= high)


def _check_payload(payload: dict) -> None:
    for name in ("forecast", "law", "data_hash", "fitted_run_ids", "level", "targets"):
        if name not in payload:
            raise UserError(f"seal: the payload has no {name}")
    for i, target in enumerate(payload["targets"]):
        missing = [n for n in ("run_id", "n_params", "n_tokens", "prediction") if n not in target]
        missing += [n for n in ("loss", "predictive_interval")
                    if n not in target.get("prediction", {n: 0})]
        if missing:
            raise UserError(f"seal: targets[{i}] has no {', '.join(missing)}")
        if target.get("run_id", "") is None and "fitted_losses" not in target:
            raise UserError(f"seal: targets[{i}] has neither a run_id nor fitted_losses")
        if target["run_id"] in payload["fitted_run_ids"]:
            raise UserError(f"seal: target {target['run_id']} was in the fit; it cannot test it")


def _moment(text: str) -> datetime.datetime:
    """An ISO time; without a zone it is UTC."""
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f"finished_at = {text!r}: expected an ISO 8601 time") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
