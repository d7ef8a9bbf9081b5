"""scaling coord-check EXPERIMENT.gin|.json"""

import argparse
import json

from scaling.commands.arguments import add_binding
from scaling.commands.experiments import read_experiment
from scaling.commands.tables import console, table
from scaling.errors import UserError
from scaling.parametrizations.coordinate_check import (
    AXES,
    CoordinateCheck,
    coordinate_check,
    plot_coordinate_check,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("experiment", help="an experiment's .gin (or .json) file; its model is the base")
    add_binding(parser)
    parser.add_argument(
        "--axes", default="width,depth", metavar="AXIS,...",
        help="; ".join(f"{name}: grow {what}" for name, what in AXES.items()),
    )
    parser.add_argument("--factors", default="1,2,4,8", metavar="1,2,4,8", help="sizes over the base's")
    parser.add_argument("--seeds", type=int, default=2, metavar="N", help="runs a size (default 2)")
    parser.add_argument("--out", metavar="FILE.png", help="draw the slopes")
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(args: argparse.Namespace) -> int:
    """Exit status 0 where all slopes are within bounds, else 2."""
    experiment = read_experiment(args.experiment, args.binding)
    if args.seeds < 1:
        raise UserError(f"--seeds {args.seeds}: expected at least 1")
    checks = [
        coordinate_check(
            experiment.parametrization, experiment.model, axis, factors=_factors(args.factors),
            seeds=range(args.seeds), optimizer=experiment.optimizer,
        )
        for axis in args.axes.split(",")
    ]
    if args.out:
        plot_coordinate_check(checks, args.out, experiment.parametrization.name)
    if args.json:
        print(json.dumps([_as_json(check) for check in checks], allow_nan=False))
    else:
        _show(checks)
    failures = [str(finding) for check in checks for finding in check.failures]
    if failures:
        raise UserError(f"{len(failures)} slopes out of bounds: {'; '.join(failures)}")
    return 0


def _factors(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.isdecimal() for part in parts):
        raise UserError(f"--factors {text}: expected whole numbers with commas between, such as 1,2,4")
    return tuple(map(int, parts))


def _as_json(check: CoordinateCheck) -> dict:
    return {
        "axis": check.axis,
        "factors": check.factors,
        "ok": check.ok,
        "slopes": [{**vars(finding), "ok": finding.ok} for finding in check.findings],
    }


def _show(checks: list[CoordinateCheck]) -> None:
    out = console()
    for check in checks:
        shown = table(check.axis, "what", ">slope", ">allowed", "")
        for finding in check.findings:
            if finding.bounds is not None:
                low, high = finding.bounds
                shown.add_row(
                    finding.kind, finding.name, f"{finding.slope:+.2f}", f"{low:+.2f} to {high:+.2f}",
                    "" if finding.ok else "out of bounds",
                )
        out.print(shown)
