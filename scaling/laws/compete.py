"""Laws compete on extrapolation: each is fitted to the smaller budgets and asked for the next."""

import dataclasses
from collections.abc import Iterable

import numpy as np
from rich.console import Console
from rich.table import Table

from scaling.errors import UserError
from scaling.laws.fitting.point_fit import PointFit
from scaling.laws.forms import FORMS
from scaling.laws.forms.grammar import SumOfPowers
from scaling.laws.holdout import Holdout
from scaling.laws.law_fit import columns_of
from scaling.laws.law_fitting import fit_point, point_holdout
from scaling.laws.table.runs import RunSet

_STARTS = {True: 64, False: 16}  # by whether a law is a sum of powers; another costs a hundred times more


@dataclasses.dataclass(frozen=True)
class Entry:
    """One law. Errors in percent of the measurement: rms over all held-out runs, their mean (law minus
    measured), the largest by fold, and rms over the runs it was fitted to."""

    law: str
    n_params: int
    holdout_rms: float
    holdout_mean: float
    worst_fold: float
    n_folds: int
    in_sample_rms: float


@dataclasses.dataclass(frozen=True)
class Competition:
    """Best on hold-out first. refused: laws that these runs cannot determine, with the reason."""

    entries: tuple[Entry, ...]
    refused: dict[str, str]

    def to_json(self) -> dict:
        return {"entries": [dataclasses.asdict(e) for e in self.entries], "refused": self.refused}

    def show(self, out: Console) -> None:
        shown = Table("law", box=None, pad_edge=False, title_justify="left",
                      title="rolling hold-out over compute: fitted to the smaller, asked for the next")
        for column in ("parameters", "hold-out rms", "mean", "worst fold", "folds", "in sample"):
            shown.add_column(column, justify="right", no_wrap=True)
        for e in self.entries:
            shown.add_row(e.law, str(e.n_params), f"{e.holdout_rms:.3f}%", f"{e.holdout_mean:+.3f}%",
                          f"{e.worst_fold:.3f}%", str(e.n_folds), f"{e.in_sample_rms:.3f}%")
        out.print(shown)
        for law, reason in self.refused.items():
            out.print(f"refused: {law}: {reason}")


def compete(
    runs: RunSet, seed: int = 0, delta: float = 1e-3, objective: str | None = None,
    laws: Iterable[str] = tuple(FORMS),
) -> Competition:
    """Every law of `laws` that predicts the loss from columns these runs have.

    By point fits alone: no interval is shown. An entrant must stand every fold that another stands: none
    gains by refusing the hard ones. Raises `UserError` if no law has a hold-out.
    """
    found, refused = {}, {}
    for name in laws:
        form = FORMS[name]
        if form.target != "loss":
            continue
        try:
            columns_of(form, runs)
        except UserError:
            continue  # a law of other columns, not one that these runs refuse
        try:
            point = fit_point(form, runs, seed, delta, objective, _STARTS[isinstance(form, SumOfPowers)])
        except UserError as problem:
            refused[name] = str(problem)
            continue
        held = point_holdout(form, runs, seed, delta, objective)
        if not held.folds:
            refused[name] = "no hold-out: " + "; ".join(held.refused)
            continue
        found[name] = point, held
    if not found:
        raise UserError("no law of the loss could be held out: " + "; ".join(
            f"{k}: {v}" for k, v in refused.items()))
    most = max(len(held.folds) for _, held in found.values())
    for name in [n for n, (_, held) in found.items() if len(held.folds) < most]:
        _, held = found.pop(name)
        refused[name] = (f"only {len(held.folds)} of {most} folds: " + "; ".join(held.refused))
    entries = [_entry(name, *both) for name, both in found.items()]
    return Competition(tuple(sorted(entries, key=lambda e: e.holdout_rms)), refused)


def _entry(name: str, point: PointFit, held: Holdout) -> Entry:
    errors = [100 * np.expm1(f.prediction.log_errors) for f in held.folds]
    every = np.concatenate(errors)
    return Entry(
        law=name,
        n_params=len(point.form.names),
        holdout_rms=float(np.sqrt((every**2).mean())),
        holdout_mean=float(every.mean()),
        worst_fold=max(float(np.sqrt((e**2).mean())) for e in errors),
        n_folds=len(held.folds),
        in_sample_rms=float(100 * np.sqrt((point.log_residuals**2).mean())),
    )
