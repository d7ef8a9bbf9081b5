"""What `scaling transfer` prints."""

import math
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console
from scipy.special import stdtrit  # scipy.stats takes a second to import

from scaling.commands.tables import table
from scaling.experiment import Experiment
from scaling.parametrizations.coordinate_check import CoordinateCheck
from scaling.sweeps.plan import PlannedRun
from scaling.sweeps.transferred import AXES, Prediction, TransferredRules
from scaling.transfer.critical_batch import CriticalBatch, critical_batch
from scaling.transfer.file import TransferFile
from scaling.transfer.published import RULES, span
from scaling.transfer.regret import Regret, Verdict
from scaling.transfer.shapes import shape_name


def show_plan(runs: Sequence[PlannedRun], root: pathlib.Path, out: Console) -> None:
    shapes = {run.experiment.shape_key for run in runs}
    total = sum(run.train_flops["exact"] for run in runs)
    tokens = sum(run.experiment.n_tokens for run in runs)
    out.print(f"{len(runs)} proxies of {len(shapes)} shapes, {tokens:,} tokens, {total:.3e} FLOPs"
              f" in {root}", soft_wrap=True)


def show_transfer(transfer: TransferFile, path: pathlib.Path, out: Console) -> None:
    """Optima of the settings, exponents beside published ones, and the choices made."""
    shown = table("setting", ">best lr", ">log2", ">+-", ">loss", ">nats/octave^2", ">noise scale, tokens")
    for cell in transfer.cells:
        shown.add_row(
            cell.name + (" (verified)" if cell.verified else ""), f"{2**cell.log2_rate:.3g}",
            f"{cell.log2_rate:.2f}", f"{cell.standard_error:.2f}", f"{cell.loss:.4f}",
            f"{cell.curvature:.4f}", "-" if cell.noise_scale is None else f"{cell.noise_scale:,.0f}",
        )
    out.print(shown)
    rules = transfer.rules
    _show_exponents(rules, out)
    base = transfer.base
    out.print(f"base {shape_name(base.model)}, {base.n_tokens:,} tokens: lr {rules.learning_rate:.4g},"
              f" batch {rules.batch_size:.4g} sequences ~ tokens^{rules.batch_horizon_exponent:.2f},"
              f" decay timescale {rules.decay_timescale:g}, warm-up {rules.warmup_fraction:.0%},"
              f" readout lr {rules.unembedding_lr:g}", soft_wrap=True)
    out.print(f"noise of a run {transfer.noise:.4f} nats, scatter of shapes {rules.scatter:.2f} octaves")
    if (critical := critical_batch(transfer.base, transfer.cells)) is not None:
        out.print(_critical(critical), soft_wrap=True)
    for note in transfer.notes:
        out.print(f"note: {note}", soft_wrap=True)
    out.print(f"transfer file {path}, {transfer.content_hash[:12]}")


def _show_exponents(rules: TransferredRules, out: Console) -> None:
    """Beside published ones."""
    shown = table("exponent of the learning rate along", ">fitted", f">{rules.level:.0%} interval",
                  ">published, from", ">to", title="exponents (of the rate at the base shape)")
    for row in exponents(rules):
        low, high = row["interval"] or (None, None)
        said = row["published"] or (None, None)
        shown.add_row(row["axis"], _number(row["exponent"]), f"{_number(low)} .. {_number(high)}",
                      *map(_number, said))
    shown.add_row("(batch along the horizon)", _number(rules.batch_horizon_exponent), "",
                  *map(_number, span("batch_horizon")))
    out.print(shown)
    out.print("published exponents are shown and never used; along the width they are of rates without"
              " a parametrization that scales them")


def show_applied(
    transfer: TransferFile, path: pathlib.Path, experiment: Experiment, best: Prediction,
    regret: Regret, judged: Verdict, checks: Sequence[CoordinateCheck], out: Console,
) -> None:
    found = applied_json(transfer, experiment, best, regret, judged, checks)
    level = transfer.rules.level
    shown = table(f"{shape_name(experiment.model)}, {experiment.n_tokens:,} tokens", ">value",
                  f">{level:.0%} interval", title=f"{path}")
    low, high = best.interval
    shown.add_row("learning rate", f"{best.learning_rate:.4g}", f"{low:.4g} .. {high:.4g}")
    shown.add_row("batch, sequences", f"{experiment.batch_size:,}", _range(found["batch_interval"], "held"))
    shown.add_row("batch, tokens", f"{experiment.tokens_per_step:,}", "")
    shown.add_row("steps", f"{experiment.n_steps:,}", "")
    shown.add_row("decay timescale, of the run", f"{transfer.rules.decay_timescale:g}",
                  _range(found["decay_timescale_range"], "not scanned"))
    shown.add_row("weight decay per step", f"{experiment.optimizer.weight_decay:.3g}", "")
    shown.add_row("warm-up steps", f"{experiment.schedule.warmup_steps(experiment.n_steps):,}", "")
    shown.add_row("readout lr", f"{experiment.parametrization.unembedding_lr:g}",
                  _range(found["unembedding_lr_range"], "not scanned"))
    out.print(shown)
    _show_exponents(transfer.rules, out)
    low, high = found["published_span"]
    out.print(f"by published rules from the same base: lr {low:.3g} .. {high:.3g}")
    share = "" if regret.equivalent_share is None else (
        f", at least {regret.equivalent_share:.1%} of its {regret.flops:.3g} FLOPs")
    out.print(f"expected regret {regret.nats:.4f} nats{share} (sd {best.standard_deviation:.2f} octaves,"
              f" bias {best.bias:+.2f})")
    if (critical := critical_batch(transfer.base, transfer.cells)) is not None:
        excess = critical.excess_tokens(experiment.tokens_per_step, experiment.n_tokens)
        at, most = found["critical_batch"], "" if critical.tokens else "at most "
        out.print(f"{_critical(critical)}{'' if at is None else f'; at these, {at:,.0f}'}: the batch of"
                  f" {experiment.tokens_per_step:,} tokens costs {most}{excess:.1%} more tokens than tiny"
                  " ones", soft_wrap=True)
    for check in found["coordinate_checks"]:
        low, high = check["tap_slopes"]
        wrong = check["failures"]
        said = f"{len(wrong)} out of bounds, such as {'; '.join(wrong[:3])}" if wrong else (
            "all within bounds")
        out.print(f"coordinate check along {check['axis']}, to {check['factors'][-1]} times the base's:"
                  f" {check['n_slopes']} slopes, those of activations {low:+.2f} .. {high:+.2f}; {said}",
                  soft_wrap=True)
    out.print(judged.line, soft_wrap=True)


def show_verified(transfer: TransferFile, path: pathlib.Path, out: Console) -> None:
    last = transfer.verifications[-1]
    losses = ["diverged" if x is None else f"{x:.4f}" for x in last.losses]
    shown = table(f"{last.shape}, {last.n_tokens:,} tokens", ">lr", ">loss")
    for factor, name, loss in zip((0.5, 1, 2), ("lr*/2", "lr*", "2 lr*"), losses):
        shown.add_row(name, f"{2**last.predicted * factor:.4g}", loss)
    out.print(shown)
    low, high = (2**x for x in last.interval)
    if last.measured is None:
        out.print(f"the optimum lies {last.beyond}; foretold {low:.4g} .. {high:.4g}")
    else:
        inside = "inside" if last.inside else "outside"
        out.print(f"best rate {2**last.measured:.4g}, {last.drift:+.2f} octaves from the rules, {inside}"
                  f" the interval {low:.4g} .. {high:.4g}")
    out.print(f"transfer file {path}, version {transfer.version}; version {transfer.version - 1} is kept")


def exponents(rules: TransferredRules) -> list[dict[str, Any]]:
    """One row an axis: fitted exponent and interval, None where it was not scanned; published span."""
    quantile = float(stdtrit(rules.degrees_of_freedom, (1 + rules.level) / 2))
    errors = np.sqrt(np.maximum(np.diag(np.array(rules.covariance)), 0))[1:]
    rows = []
    for axis, value, error in zip(AXES, rules.exponents, errors):
        known = axis in rules.measured
        interval = [value - quantile * error, value + quantile * error] if known else None
        rows.append({"axis": axis, "exponent": value if known else None, "interval": interval,
                     "published": span(axis)})
    return rows


def applied_json(
    transfer: TransferFile, experiment: Experiment, best: Prediction, regret: Regret, judged: Verdict,
    checks: Sequence[CoordinateCheck] = (),
) -> dict[str, Any]:
    rules = transfer.rules
    critical = critical_batch(transfer.base, transfer.cells)
    return {
        "target": shape_name(experiment.model),
        "n_tokens": experiment.n_tokens,
        "learning_rate": best.learning_rate,
        "interval": list(best.interval),
        "level": rules.level,
        "batch_size": experiment.batch_size,
        "batch_interval": rules.batch_interval(experiment.n_tokens),
        "batch_tokens": experiment.tokens_per_step,
        "n_steps": experiment.n_steps,
        "decay_timescale": rules.decay_timescale,
        "decay_timescale_range": rules.decay_timescale_range,
        "weight_decay": experiment.optimizer.weight_decay,
        "warmup_steps": experiment.schedule.warmup_steps(experiment.n_steps),
        "unembedding_lr": rules.unembedding_lr,
        "unembedding_lr_range": rules.unembedding_lr_range,
        "standard_deviation_octaves": best.standard_deviation,
        "bias_octaves": best.bias,
        "critical_batch": None if critical is None else critical.at(experiment.n_tokens),
        "critical_batch_exponent": None if critical is None else critical.exponent,
        "published_span": _published_span(rules, experiment),
        "exponents": exponents(rules),
        "regret": {"nats": regret.nats, "flops": regret.flops,
                   "equivalent_share_at_least": regret.equivalent_share},
        "coordinate_checks": [_checked(check) for check in checks],
        "go": judged.go,
        "reasons": list(judged.reasons),
    }


def _checked(check: CoordinateCheck) -> dict[str, Any]:
    bounded = [f for f in check.findings if f.bounds is not None]
    taps = [f.slope for f in bounded if f.kind == "tap"]
    return {"axis": check.axis, "factors": list(check.factors), "ok": check.ok, "n_slopes": len(bounded),
            "tap_slopes": [min(taps), max(taps)], "failures": [str(f) for f in check.failures]}


def _published_span(rules: TransferredRules, experiment: Experiment) -> list[float]:
    """Smallest and largest rate that a published rule carries our base's to; along the width only where
    the parametrization itself does not scale rates, and along the depth as we fitted it."""
    model = experiment.model
    ratios = rules.octaves(model.d_model, model.n_layers, experiment.batch_size, experiment.n_tokens)
    standard = experiment.parametrization.name == "standard"
    rates = []
    for rule in RULES:
        own = dict(zip(AXES, rules.exponents))
        said = {"width": rule.width if standard else None, "batch": rule.batch, "horizon": rule.horizon}
        own |= {axis: value for axis, value in said.items() if value is not None}
        rates.append(math.log2(rules.learning_rate) + sum(r * own[a] for a, r in zip(AXES, ratios)))
    return [2 ** min(rates), 2 ** max(rates)]


def _critical(critical: CriticalBatch) -> str:
    """Of the proxies, in words."""
    said = "critical batch by gradient noise (twice the fewest tokens, twice the fewest steps):"
    if critical.tokens is None:
        return (f"{said} above {critical.bound:,.0f} tokens, beyond what so few batches can tell"
                " (EvaluationConfig.noise_scale_batches)")
    grows = "" if critical.exponent is None else f", and as tokens^{critical.exponent:.2f}"
    return f"{said} {critical.tokens:,.0f} tokens after {critical.n_tokens:,} of training{grows}"


def _range(interval: Sequence[float] | None, otherwise: str) -> str:
    return otherwise if interval is None else f"{interval[0]:.4g} .. {interval[1]:.4g}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"
