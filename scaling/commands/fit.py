"""scaling fit DIR|RUNS.csv"""

import argparse
import json

from rich.console import Console

from scaling.commands.runs import add_run_arguments, fit_from
from scaling.commands.tables import console, table
from scaling.laws import LawFits


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run_arguments(parser)


def run(args: argparse.Namespace) -> int:
    fits = fit_from(args)
    if args.json:
        print(json.dumps(fits.to_json(), allow_nan=False))
    else:
        show(fits, console())
    return 0


def show(fits: LawFits, out: Console) -> None:
    """What a reviewer would ask for: parameters, exponents, receipt, hold-out, what was dropped."""
    out.print(f"{len(fits.runs)} runs up to {fits.largest_flops:.3g} FLOPs;"
              f" intervals at {fits.level:.0%}")
    if fits.chinchilla:
        _show_chinchilla(fits, out)
    shown = table("exponents", ">N* ~ C^a", ">interval", ">D* ~ C^b", ">interval", ">hold-out")
    for name, law in _laws(fits):
        e = law.exponents
        error = fits.holdouts[name].to_json()["rms_error_percent"]
        shown.add_row(
            name, f"{e['n_opt']:.3f}", _interval(e["n_opt_interval"]), f"{e['d_opt']:.3f}",
            _interval(e["d_opt_interval"]), "-" if error is None else f"{error:.2f}%",
        )
    out.print(shown)
    if fits.isoflop:
        shown = table("IsoFLOP minimum at", ">sizes", ">N*", ">D*", ">loss")
        for p in fits.isoflop.budgets:
            shown.add_row(f"{p.flops:.3g}", str(len(p.rows)), f"{p.n_opt:.4g}", f"{p.d_opt:.4g}",
                          f"{p.loss_opt:.4f}")
        out.print(shown)
    shown = table("optimum at", "law", ">N*", ">interval", ">D*", ">interval", ">loss", ">interval")
    for factor in (1, 10, 100):
        for name, law in _laws(fits):
            at = law.optimal(fits.largest_flops * factor)
            loss = at.get("loss")
            shown.add_row(
                f"{at['flops']:.3g}", name, f"{at['n_opt']:.3g}", _interval(at["n_opt_interval"]),
                f"{at['d_opt']:.3g}", _interval(at["d_opt_interval"]),
                "-" if loss is None else f"{loss:.3f}",
                "-" if loss is None else _interval(at["interval"]),
            )
    out.print(shown)
    for row in fits.runs.dropped:
        out.print("dropped: " + ", ".join(f"{k} {v}" for k, v in row.items()))
    for problem in (*fits.problems, *fits.runs.notes):
        out.print(f"note: {problem}")


def _show_chinchilla(fits: LawFits, out: Console) -> None:
    law = fits.chinchilla
    shown = table("L = E + A/N^alpha + B/D^beta", ">value", ">interval")
    for name, value in law.params.items():
        shown.add_row(name, f"{value:.5g}", _interval(law.intervals[name]))
    out.print(shown)
    out.print(f"objective {law.point.objective:.6g}: Huber on log residuals, delta"
              f" {law.point.delta:g}, summed; run-to-run noise {100 * law.noise:.2f}%")
    receipt = law.point.receipt
    out.print(
        f"receipt: scale-free gradient {receipt.gradient:.1e};"
        f" {receipt.starts_at_optimum:.0%} of {receipt.n_starts} starts at the optimum;"
        f" {len(receipt.minima)} minimum found; conditioning "
        + ("none" if receipt.conditioning is None else f"{receipt.conditioning:.1e}")
        + (f"; at a bound: {', '.join(receipt.at_bound)}" if receipt.at_bound else "")
    )


def _laws(fits: LawFits):
    pairs = (("isoflop", fits.isoflop), ("chinchilla", fits.chinchilla))
    return [(name, law) for name, law in pairs if law is not None]


def _interval(pair) -> str:
    return f"{pair[0]:.4g} .. {pair[1]:.4g}"
