"""From the records of proxies to one optimum for each setting."""

import dataclasses
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from scaling.config import Config, canonical_json
from scaling.errors import UserError
from scaling.experiment import Experiment
from scaling.results import RunRecord
from scaling.sweeps.transferred import decay_timescale
from scaling.transfer.optimum import Scan, optimum, pooled_noise, refuse_edge, standard_error
from scaling.transfer.shapes import shape_name


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell(Config):
    """One setting and its best learning rate (log2, of hidden matrices at the base shape).

    horizon: tokens over the base's as the study asked for them; n_tokens: as they were trained.
    decay_timescale: of the run, 0 without decay. standard_error: of log2_rate, octaves.
    curvature: nats per octave squared. loss: at the optimum. noise_scale: of the gradient at the end
        of the runs nearest to it, tokens. verified: measured by `verify`, not by the study.
    """

    name: str
    d_model: int
    n_layers: int
    batch_size: int
    n_tokens: int
    horizon: float
    decay_timescale: float
    unembedding_lr: float
    log2_rate: float
    standard_error: float
    curvature: float
    loss: float
    train_flops: float
    noise_scale: float | None = None
    verified: bool = False


@dataclasses.dataclass(frozen=True)
class Reading:
    """cells, in the order of the records; noise: of one run, nats; notes: what was left out, and why."""

    cells: tuple[Cell, ...]
    noise: float
    notes: tuple[str, ...]


def read_cells(records: Sequence[RunRecord]) -> Reading:
    """Raises `UserError` for a failed proxy, an optimum at the edge of its grid, or unknown noise."""
    scans, notes = [], []
    for group in _groups(records):
        scan, kept = _scan(group)
        if scan.diverged:
            rates = ", ".join(f"{2**x:.3g}" for x in scan.diverged)
            notes.append(f"{scan.name}: a run diverged at learning rate {rates}; left out")
        found = optimum(scan.log2_rates, scan.losses) if len(scan.log2_rates) >= 3 else None
        refuse_edge(scan, found)
        scans.append((scan, found, kept))
    noise = pooled_noise([found for _, found, _ in scans])
    cells = [
        _cell(kept, scan.name, found.log2_rate, standard_error(scan, noise), found.curvature, found.loss)
        for scan, found, kept in scans
    ]
    return Reading(tuple(cells), noise, tuple(notes))


def scan_of(records: Sequence[RunRecord]) -> tuple[Scan, list[RunRecord]]:
    """The scan of one setting's records, and those that it uses."""
    (group,) = _groups(records)
    return _scan(group)


def verified_cell(
    records: Sequence[RunRecord], log2_rate: float, error: float, curvature: float, loss: float
) -> Cell:
    """What `verify` measured, as a cell."""
    cell = _cell(records, _name(records[0]), log2_rate, error, curvature, loss)
    return dataclasses.replace(cell, verified=True)


def _groups(records: Sequence[RunRecord]) -> list[list[RunRecord]]:
    groups: dict[str, list[RunRecord]] = defaultdict(list)
    for record in records:
        if record.status == "failed":
            raise UserError(
                f"the proxy {record.run_id} failed ({record.reason}); remove its folder and start again"
            )
        groups[canonical_json(_setting(record.experiment))].append(record)
    return list(groups.values())


def _setting(experiment: dict[str, Any]) -> dict[str, Any]:
    optimizer = {**experiment["optimizer"], "learning_rate": None, "weight_decay": _timescale(experiment)}
    kept = {k: v for k, v in experiment.items() if k not in ("name", "seed", "optimizer")}
    return {**kept, "optimizer": optimizer}


def _scan(group: list[RunRecord]) -> tuple[Scan, list[RunRecord]]:
    """Rates at which every seed finished; one diverged seed takes its rate out."""
    by_rate: dict[float, dict[int, RunRecord]] = defaultdict(dict)
    for record in group:
        rate = record.experiment["optimizer"]["learning_rate"]
        by_rate[math.log2(rate)][record.seed] = record
    diverged = [x for x, runs in by_rate.items() if any(r.status == "diverged" for r in runs.values())]
    usable = sorted(set(by_rate) - set(diverged))
    seeds = sorted({record.seed for record in group})
    losses = [[by_rate[x][seed].final.loss for seed in seeds] for x in usable]
    scan = Scan(
        _name(group[0]), np.array(usable), np.array(losses).reshape(len(usable), len(seeds)),
        tuple(sorted(diverged)),
    )
    return scan, [record for x in usable for record in by_rate[x].values()]


def _name(record: RunRecord) -> str:
    e = record.experiment
    model = Experiment.from_json(e).model
    text = f"{shape_name(model)}, batch {e['batch_size']}"
    text += f", {record.n_tokens:,} tokens"
    if tau := _timescale(e):
        text += f", tau {tau:g}"
    return text + f", readout {e['parametrization']['unembedding_lr']:g}"


def _timescale(experiment: dict[str, Any]) -> float:
    optimizer = Experiment.from_json(experiment).optimizer
    return float(f"{decay_timescale(optimizer, experiment['n_steps']):.4g}")


def _cell(
    kept: Sequence[RunRecord], name: str, log2_rate: float, error: float, curvature: float, loss: float
) -> Cell:
    record = kept[0]
    e, model = record.experiment, Experiment.from_json(record.experiment).model
    distances = [abs(math.log2(r.experiment["optimizer"]["learning_rate"]) - log2_rate) for r in kept]
    scales = [r.final.noise_scale for r, d in zip(kept, distances) if d < min(distances) + 1e-9]
    scales = [s for s in scales if s is not None]
    return Cell(
        name=name,
        d_model=model.d_model,
        n_layers=model.n_layers,
        batch_size=e["batch_size"],
        n_tokens=record.n_tokens,
        horizon=record.tags["horizon"],
        decay_timescale=_timescale(e),
        unembedding_lr=e["parametrization"]["unembedding_lr"],
        log2_rate=log2_rate,
        standard_error=error,
        curvature=curvature,
        loss=loss,
        train_flops=record.train_flops["exact"],
        noise_scale=float(np.median(scales)) if scales else None,
    )
