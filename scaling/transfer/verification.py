"""A mid-size trained at lr*/2, lr* and 2 lr*: do the rules hold there, and what follows."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from scaling.errors import UserError
from scaling.experiment import Experiment
from scaling.results import RunRecord
from scaling.sweeps.plan import PlannedRun, costed
from scaling.sweeps.transferred import Prediction, TransferredRules
from scaling.transfer.cells import scan_of, verified_cell
from scaling.transfer.file import TransferFile, Verification
from scaling.transfer.optimum import Optimum, Scan, optimum, standard_error
from scaling.transfer.proxies import Setting, tags
from scaling.transfer.rules import derive
from scaling.transfer.shapes import scaled, shape_name


def foretold(
    transfer: TransferFile, rules: TransferredRules, d_model: int, n_layers: int, n_tokens: float
) -> tuple[Experiment, Prediction]:
    """The run of a shape and a number of tokens by the rules, and the prediction of its rate.

    Raises `UserError` for a shape that is no multiple of the base's, or an axis not scanned.
    """
    base = transfer.base
    model = scaled(base.model, d_model, n_layers)
    batch_size = rules.batch_at(n_tokens)
    n_steps = max(1, round(n_tokens / (batch_size * base.data.sequence_length)))
    n_tokens = n_steps * batch_size * base.data.sequence_length
    best = rules.predict(d_model, n_layers, batch_size, n_tokens)
    experiment = rules.applied(base, model=model, batch_size=batch_size, n_steps=n_steps, best=best)
    return experiment, best


def verification_runs(
    transfer: TransferFile, d_model: int, n_layers: int, n_tokens: float, n_seeds: int,
    n_train_tokens: int,
) -> list[PlannedRun]:
    """Three rates by `n_seeds` seeds. Raises `UserError` as `foretold`."""
    middle, best = foretold(transfer, transfer.rules, d_model, n_layers, n_tokens)
    base, runs = transfer.base, []
    setting = Setting(
        model=middle.model,
        batch_size=middle.batch_size,
        n_tokens=middle.n_tokens,
        decay_timescale=transfer.rules.decay_timescale,
        unembedding_lr=transfer.rules.unembedding_lr,
    )
    for octave in (-1, 0, 1):
        for seed in range(base.seed, base.seed + n_seeds):
            shape = shape_name(middle.model).replace(".", "-")
            name = f"{transfer.name}-verify-{shape}-x{octave}-s{seed}"
            experiment = setting.experiment(base, best.learning_rate * 2.0**octave, seed, name)
            run_tags = {**tags(transfer.name, setting, base), "role": "verify"}
            runs.append(costed(experiment, n_train_tokens, run_tags))
    return runs


def verified(transfer: TransferFile, records: Sequence[RunRecord]) -> TransferFile:
    """The next version: the mid-size judged by the rules as they were, then counted among the cells.

    An optimum beyond the three rates is recorded as such; it moves no rule, for where it lies is
    not known. Raises `UserError` for a mid-size that was verified already.
    """
    scan, kept = scan_of(records)
    experiment = Experiment.from_json(records[0].experiment)
    shape = shape_name(experiment.model)
    run_ids = tuple(sorted(r.run_id for r in records))
    if any(v.run_ids == run_ids for v in transfer.verifications):
        raise UserError(f"{shape} is verified already, in version {transfer.version}; nothing to add")
    best = transfer.rules.predict_for(experiment)
    found, beyond = _measured(scan)
    error = standard_error(scan, transfer.noise) if beyond is None else None
    center = math.log2(best.learning_rate)
    half = math.log2(best.interval[1]) - center
    if error is not None:
        half = half * math.hypot(best.standard_deviation, error) / best.standard_deviation
    verification = Verification(
        shape=shape,
        n_tokens=experiment.n_tokens,
        predicted=center,
        interval=(center - half, center + half),
        measured=None if beyond else found.log2_rate,
        standard_error=error,
        beyond=beyond,
        losses=_losses(scan, records),
        run_ids=run_ids,
    )
    cells, rules, notes = transfer.cells, transfer.rules, transfer.notes
    if beyond is None:
        cell = verified_cell(kept, found.log2_rate, error, found.curvature, found.loss)
        cells = (*cells, cell)
        rules = derive(transfer.base, cells, transfer.noise, rules.level).rules
    return dataclasses.replace(
        transfer,
        version=transfer.version + 1,
        previous=transfer.content_hash,
        rules=rules,
        cells=cells,
        notes=notes,
        verifications=(*transfer.verifications, verification),
    )


def _measured(scan: Scan) -> tuple[Optimum | None, str | None]:
    """The vertex of the three, or where it lies beyond them."""
    if len(scan.log2_rates) < 3:
        return None, "at or below the lowest rate tried: others diverged"
    found = optimum(scan.log2_rates, scan.losses)
    if found.curvature > 0 and scan.log2_rates[0] <= found.log2_rate <= scan.log2_rates[-1]:
        return found, None
    return None, "below lr*/2" if found.edge == "smallest" else "above 2 lr*"


def _losses(scan: Scan, records: Sequence[RunRecord]) -> tuple[float | None, ...]:
    """Mean over seeds at each of the three rates; None where a run diverged."""
    mean = dict(zip(scan.log2_rates.tolist(), np.mean(scan.losses, axis=1).tolist()))
    rates = sorted({math.log2(r.experiment["optimizer"]["learning_rate"]) for r in records})
    return tuple(mean.get(rate) for rate in rates)
