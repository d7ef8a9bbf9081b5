"""The store of runs: `<root>/runs/<run_id>/record.json`; the table is a scan of the records."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from etils import epath

from scaling.errors import UserError
from scaling.results.downstream import columns, merged, read_downstream
from scaling.results.files import write_once
from scaling.results.record import PARAMETER_CONVENTIONS, RunRecord

if TYPE_CHECKING:
    import pandas as pd


def write_record(run_dir: epath.PathLike, record: RunRecord) -> bool:
    """Writes `record.json` atomically and once; False if the run already had one."""
    text = json.dumps(record.to_json(), indent=1, allow_nan=False) + "\n"
    return write_once(epath.Path(run_dir) / "record.json", text)


def read_record(run_dir: epath.PathLike) -> RunRecord | None:
    """The record of one run, with what it was asked later, or None if it has not finished."""
    path = epath.Path(run_dir) / "record.json"
    try:
        text = path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        record = RunRecord.from_json(json.loads(text), str(path))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not JSON ({error}); records are written whole or not at all,"
                        " so this one was damaged from outside") from None
    later = read_downstream(run_dir)
    return dataclasses.replace(record, downstream=merged(record.downstream, later)) if later else record


def read_records(root: epath.PathLike) -> list[RunRecord]:
    """All records under `<root>/runs`, sorted by run id."""
    runs = epath.Path(root) / "runs"
    if not runs.exists():
        return []
    found = (read_record(folder) for folder in sorted(runs.iterdir(), key=lambda p: p.name))
    return [record for record in found if record is not None]


def runs_table(
    records: list[RunRecord],
    parameters: str = "body_and_head",
    flops: str = "exact",
) -> pd.DataFrame:
    """One row a record, with N and C under named conventions.

    Columns: run_id, status, reason, n_params, n_active_params (of experts those that a token is sent
    to), n_experts (1 without), n_tokens, train_flops, loss (nats per token, final evaluation),
    loss_standard_error, bits_per_byte, noise_scale (of the gradient, tokens), seed, n_steps, n_epochs,
    n_unique_tokens, wall_seconds, flops_per_second, finished_at, then one `tag_<name>` per tag,
    `n_params_<group>` per group, and `domain_<name>_<score>`, `task_<name>_<score>`,
    `task_<name>_error` of what runs were asked.
    Missing values are NaN. Raises `UserError` on an unknown convention.
    """
    import pandas as pd  # half a second that a worker, which only writes records, need not spend

    if parameters not in PARAMETER_CONVENTIONS:
        raise UserError(
            f"parameter convention {parameters!r}: valid: {', '.join(PARAMETER_CONVENTIONS)}"
        )
    rows = []
    for record in records:
        if flops not in record.train_flops:
            raise UserError(
                f"FLOPs convention {flops!r}: run {record.run_id} carries"
                f" {', '.join(sorted(record.train_flops))}"
            )
        final = record.final
        rows.append(
            {
                "run_id": record.run_id,
                "status": record.status,
                "reason": record.reason,
                "n_params": record.parameters(parameters),
                "n_active_params": record.active_parameters(parameters),
                "n_experts": record.n_experts,
                "n_tokens": record.n_tokens,
                "train_flops": record.train_flops[flops],
                "loss": final.loss if final else None,
                "loss_standard_error": final.standard_error if final else None,
                "bits_per_byte": final.bits_per_byte if final else None,
                "noise_scale": final.noise_scale if final else None,
                "seed": record.seed,
                "n_steps": record.n_steps,
                "n_epochs": record.n_epochs,
                "n_unique_tokens": record.n_unique_tokens,
                "wall_seconds": record.wall_seconds,
                "flops_per_second": record.flops_per_second,
                "finished_at": record.finished_at,
                **{f"tag_{name}": value for name, value in record.tags.items()},
                **{f"n_params_{group}": count for group, count in record.n_params.items()},
                **columns(record.downstream),
            }
        )
    return pd.DataFrame(rows)
