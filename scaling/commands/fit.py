"""scaling fit DIR|RUNS.csv"""

import argparse
import json

from rich.console import Console
from rich.table import Table

from scaling.commands.runs import add_run_arguments, runs_to_fit
from scaling.laws import LawFits, fit_all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run_arguments(parser)


def run(args: argparse.Namespace) -> int:
    fits = fit_all(runs_to_fit(args), args.level, args.bootstrap, args.seed)
    if args.json:
        print(json.dumps(fits.to_json(), allow_nan=False))
    else:
        show(fits, Console())
    return 0


def show(fits: LawFits, console: Console) -> None:
    """What a reviewer would ask for: parameters, exponents, receipt, hold-out, what was dropped."""
    console.print(f"{len(fits.runs)} runs up to {fits.largest_flops:.3g} FLOPs;"
                  f" intervals at {fits.level:.0%}", highlight=False)
    if fits.chinchilla:
        law = fits.chinchilla
        table = Table("L = E + A/N^alpha + B/D^beta", title_justify="left")
        table.add_column("value", justify="right")
        table.add_column("interval", justify="right")
        for name, value in law.params.items():
            table.add_row(name, f"{value:.5g}", _interval(law.intervals[name]))
        console.print(table)
        console.print(f"objective {law.point.objective:.6g} (Huber on log residuals, delta"
                      f" {law.point.delta:g}); run-to-run noise {100 * law.noise:.2f}%")
        receipt = law.point.receipt.to_json()
        console.print("receipt: " + ", ".join(f"{k} {_short(v)}" for k, v in receipt.items()))
    table = Table("exponents", title_justify="left")
    for name in ("N* ~ C^a", "interval", "D* ~ C^b", "interval", "hold-out error"):
        table.add_column(name, justify="right")
    for name, law in _laws(fits):
        e = law.exponents
        error = fits.holdouts[name].to_json()["rms_error_percent"]
        table.add_row(
            name, f"{e['n_opt']:.3f}", _interval(e["n_opt_interval"]), f"{e['d_opt']:.3f}",
            _interval(e["d_opt_interval"]), "-" if error is None else f"{error:.2f}%",
        )
    console.print(table)
    if fits.isoflop:
        table = Table("budget", title="IsoFLOP minima", title_justify="left")
        for name in ("sizes", "N*", "D*", "loss"):
            table.add_column(name, justify="right")
        for p in fits.isoflop.budgets:
            table.add_row(f"{p.flops:.3g}", str(len(p.rows)), f"{p.n_opt:.4g}", f"{p.d_opt:.4g}",
                          f"{p.loss_opt:.4f}")
        console.print(table)
    table = Table("optimum at C", title_justify="left")
    for name in ("law", "N*", "interval", "D*", "interval", "loss", "interval"):
        table.add_column(name, justify="right")
    for factor in (1, 10, 100):
        for name, law in _laws(fits):
            at = law.optimal(fits.largest_flops * factor)
            loss = at.get("loss")
            table.add_row(
                f"{at['flops']:.3g}", name, f"{at['n_opt']:.3g}", _interval(at["n_opt_interval"]),
                f"{at['d_opt']:.3g}", _interval(at["d_opt_interval"]),
                "-" if loss is None else f"{loss:.3f}",
                "-" if loss is None else _interval(at["interval"]),
            )
    console.print(table)
    for row in fits.runs.dropped:
        console.print("dropped: " + ", ".join(f"{k} {v}" for k, v in row.items()), highlight=False)
    for problem in (*fits.problems, *fits.runs.notes):
        console.print(f"note: {problem}", highlight=False)


def _laws(fits: LawFits):
    pairs = (("isoflop", fits.isoflop), ("chinchilla", fits.chinchilla))
    return [(name, law) for name, law in pairs if law is not None]


def _interval(pair) -> str:
    return f"{pair[0]:.4g} .. {pair[1]:.4g}"


def _short(value) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return str(len(value)) if isinstance(value, list) else str(value)
