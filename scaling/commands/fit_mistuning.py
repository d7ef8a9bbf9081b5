"""scaling fit --correct-mistuning: the law with and without the expected loss from mis-tuning."""

import argparse
import json
from typing import Any

from scaling.commands.runs import fit_from, fit_one, is_law_file
from scaling.commands.tables import console, table
from scaling.errors import UserError


def run(args: argparse.Namespace) -> int:
    """Fits twice and shows the two beside each other."""
    for option in ("at", "out", "plot", "certify", "compete", "multiverse"):
        if getattr(args, option):
            raise UserError(f"--correct-mistuning compares two fits; --{option} is for one")
    if is_law_file(args):
        raise UserError("--correct-mistuning: a law file says itself how it was fitted; give the runs")
    fits = {}
    for name, correct in (("as_measured", None), ("corrected", True)):
        chosen = argparse.Namespace(**{**vars(args), "correct_mistuning": correct})
        fits[name] = (fit_one(chosen) if args.law else fit_from(chosen)).to_json()
    if args.json:
        print(json.dumps(fits, allow_nan=False))
        return 0
    measured, corrected = (_numbers(fit) for fit in fits.values())
    shown = table("", ">as measured", ">interval", ">corrected for mis-tuning", ">interval",
                  title="losses as measured, and less the expected loss from mis-tuning")
    for name in measured:
        shown.add_row(name, *measured[name], *corrected.get(name, ("-", "-")))
    console().print(shown)
    return 0


def _numbers(fit: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Parameters and exponents with their intervals, as text."""
    found = {}
    for law, body in (fit.get("laws") or {fit["law"]: fit}).items():
        for name, value in (body.get("params") or {}).items():
            found[f"{law} {name}"] = _pair(value, (body.get("intervals") or {}).get(name))
        exponents = body.get("exponents") or {}
        for name in ("n_opt", "d_opt"):
            if name in exponents:
                found[f"{law} {name} ~ C^"] = _pair(exponents[name], exponents.get(f"{name}_interval"))
    return found


def _pair(value: float, interval) -> tuple[str, str]:
    return f"{value:.4g}", "-" if interval is None else f"{interval[0]:.4g} .. {interval[1]:.4g}"
