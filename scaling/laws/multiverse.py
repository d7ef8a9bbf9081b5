"""Every defensible choice at once: how far N*, D* and the loss move with what nobody reports.

The counting of parameters alone moves published exponents of N* from 0.37 to 0.70 (Pearce and Song
2024, Porian et al. 2024). One call refits each combination of: which parameters count in N, which
FLOPs count in C, the objective's delta, which runs are left out, last checkpoints or all, and the form.
"""

import dataclasses
import itertools

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from scaling.errors import UserError
from scaling.laws.allocation import FlopsRelation
from scaling.laws.fitting.point_fit import FitError, fit_form
from scaling.laws.forms import FORMS
from scaling.laws.table.runs import RunSet, usable_runs

FORMS_TRIED = ("chinchilla", "chinchilla_shared")
DELTAS = (1e-3, 1e-2, np.inf)
OTHER_N = ("n_nonemb", "n_non_embedding", "n_total", "n_active", "n_body")
_STARTS = 16
_HIGHEST = 0.02  # share of runs with the highest losses that some authors leave out
_QUANTITIES = ("n_exponent", "n_opt", "d_opt", "loss")


@dataclasses.dataclass(frozen=True)
class Universe:
    """One combination of choices and what follows at the target; None with the reason in `problem`."""

    choices: dict[str, str]
    n_runs: int
    n_exponent: float | None = None
    n_opt: float | None = None
    d_opt: float | None = None
    loss: float | None = None
    problem: str | None = None


@dataclasses.dataclass(frozen=True)
class Multiverse:
    """All universes at `flops`; the first is the default of every choice."""

    flops: float
    universes: tuple[Universe, ...]

    @property
    def fitted(self) -> list[Universe]:
        return [u for u in self.universes if u.problem is None]

    def spread(self) -> dict[str, dict[str, float]]:
        """Least, median and greatest of each quantity, and that of the default universe."""
        answer = {}
        for name in _QUANTITIES:
            values = np.array([getattr(u, name) for u in self.fitted])
            answer[name] = {"least": float(values.min()), "median": float(np.median(values)),
                            "greatest": float(values.max()),
                            "default": getattr(self.universes[0], name)}
        return answer

    def by_choice(self) -> list[dict]:
        """Median of each quantity under each option of each choice that has several."""
        rows = []
        for choice in self.universes[0].choices:
            options = dict.fromkeys(u.choices[choice] for u in self.universes)
            if len(options) < 2:
                continue
            for option in options:
                own = [u for u in self.fitted if u.choices[choice] == option]
                rows.append({"choice": choice, "option": option, "universes": len(own)} | {
                    name: float(np.median([getattr(u, name) for u in own])) if own else None
                    for name in _QUANTITIES})
        return rows

    def to_json(self) -> dict:
        return {"flops": self.flops, "spread": self.spread(), "by_choice": self.by_choice(),
                "universes": [dataclasses.asdict(u) for u in self.universes]}

    def show(self, out: Console) -> None:
        refused = len(self.universes) - len(self.fitted)
        out.print(f"{len(self.universes)} universes at {self.flops:.3g} FLOPs"
                  + (f", {refused} refused" if refused else ""))
        shown = Table("", box=None, pad_edge=False)
        for column in ("N* ~ C^a", "N*", "D*", "loss"):
            shown.add_column(column, justify="right", no_wrap=True)
        spread = self.spread()
        for row in ("default", "least", "median", "greatest"):
            shown.add_row(row, *_cells(*(spread[name][row] for name in _QUANTITIES)))
        for row in self.by_choice():
            shown.add_row(f"{row['choice']}: {row['option']}", *_cells(*(row[n] for n in _QUANTITIES)))
        out.print(shown)
        for reason in dict.fromkeys(u.problem for u in self.universes if u.problem):
            out.print(f"refused: {reason}")


def multiverse(frame: pd.DataFrame, flops: float, seed: int = 0) -> Multiverse:
    """Refits a table of runs under every combination of choices that it offers.

    N: the column n_params, and every further count (`n_params_NAME`, n_nonemb, ...). C: train_flops,
    every `train_flops_NAME`, and 6 N D. Checkpoints: all rows, or each run's last, where runs have
    several. Raises `UserError` if nothing can be fitted.
    """
    if not (np.isfinite(flops) and flops > 0):
        raise UserError(f"multiverse: flops = {flops!r}: expected a positive number")
    counts = ["n_params"] + [c for c in frame.columns
                             if c.startswith("n_params_") or c in OTHER_N]
    operations = [c for c in frame.columns if c == "train_flops" or c.startswith("train_flops_")]
    universes, fits = [], {}
    for count, rows, delta, form in itertools.product(
        counts, ("all", f"without the {_HIGHEST:.0%} highest losses", "upper two thirds of compute",
                 "last checkpoints"), DELTAS, FORMS_TRIED,
    ):
        table = _table(frame, count, rows)
        if table is None:
            continue
        key = (count, rows, delta, form)
        fits[key] = _fitted(table, form, delta, seed)
        for operation in (*operations, "6 N D"):
            choices = {"N": count, "C": operation, "runs": rows, "form": form,
                       "delta": "squares" if np.isinf(delta) else f"{delta:g}"}
            universes.append(_universe(choices, table, frame, operation, fits[key], form, flops))
    if not any(u.problem is None for u in universes):
        raise UserError(f"multiverse: nothing could be fitted: {universes[0].problem}")
    return Multiverse(float(flops), tuple(universes))


def _table(frame: pd.DataFrame, count: str, rows: str) -> RunSet | None:
    """The runs with N counted by `count`, and some left out; None where that changes nothing."""
    runs = usable_runs(frame.assign(n_params=frame[count]), f"runs with N = {count}")
    order = np.argsort(-runs.loss, kind="stable")
    if rows.startswith("without"):
        return runs.take(np.sort(order[max(1, round(_HIGHEST * len(runs))):]))
    if rows.startswith("upper"):
        return runs.take(runs.flops >= np.quantile(runs.flops, 1 / 3))
    if rows.startswith("last"):
        last = {}
        for row in np.argsort(runs.n_tokens, kind="stable"):
            last[runs.run_ids[row]] = row
        return runs.take(np.sort(list(last.values()))) if len(last) < len(runs) else None
    return runs


def _fitted(runs: RunSet, form: str, delta: float, seed: int):
    columns = {"n_params": runs.n_params, "n_tokens": runs.n_tokens}
    try:
        return fit_form(FORMS[form], columns, runs.loss, delta, _STARTS, seed)
    except FitError as problem:
        return str(problem)


def _universe(choices, runs, frame, operation, point, form, flops) -> Universe:
    if isinstance(point, str):
        return Universe(choices, len(runs), problem=point)
    if operation == "6 N D":
        relation = FlopsRelation.of(runs.n_params, runs.n_tokens, 6 * runs.n_params * runs.n_tokens)
    else:
        counted = usable_runs(frame.assign(train_flops=frame[operation], n_params=frame[choices["N"]]))
        relation = FlopsRelation.of(counted.n_params, counted.n_tokens, counted.flops)
    allocate = FORMS[form].allocation
    n, d = (float(v) for v in allocate(point.theta, flops, relation))
    further = float(allocate(point.theta, 1.1 * flops, relation)[0])
    logs = {"n_params": np.log([n]), "n_tokens": np.log([d])}
    return Universe(choices, len(runs), float(np.log(further / n) / np.log(1.1)), n, d,
                    float(np.exp(point.log_loss(logs)[0])))


def _cells(exponent, n, d, loss) -> list[str]:
    if exponent is None:
        return ["-"] * 4
    return [f"{exponent:.3f}", f"{n:.3g}", f"{d:.3g}", f"{loss:.4f}"]
