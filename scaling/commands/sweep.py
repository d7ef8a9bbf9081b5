"""scaling sweep DIR|STUDY.gin"""

import argparse
import os
import pathlib
import sys

from rich.console import Console

from scaling.commands.plan import check_workers, make_plan
from scaling.commands.worker import entries_of
from scaling.data import prepare
from scaling.errors import UserError
from scaling.sweeps.folder import read_study
from scaling.sweeps.launchers import local


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sweep", help="a planned folder, or a study's .gin file with --out")
    parser.add_argument("-b", "--binding", action="append", default=[], metavar="CLASS.FIELD=VALUE")
    parser.add_argument("--out", help="folder to plan a .gin file into")
    parser.add_argument("--launcher", choices=["local"], default="local", help="where workers run")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1,
                        help="worker processes (default: cores)")
    parser.add_argument("--sealed", metavar="FORECAST.json",
                        help="run the targets of a sealed forecast instead of the plan")


def run(args: argparse.Namespace) -> int:
    check_workers(args.workers)
    root = pathlib.Path(args.out or args.sweep)
    if args.sweep.endswith(".gin"):
        if not args.out:
            raise UserError(f"{args.sweep} is a study: name the sweep's folder with --out")
        make_plan(args.sweep, args.binding, root, n_workers=args.workers)
    elif args.binding:
        raise UserError("-b changes a gin file; the plan of a folder is frozen")
    elif args.out:
        raise UserError(f"--out is for a gin file; {args.sweep} is the sweep's folder itself")
    entries = entries_of(root, args.sealed)
    study = read_study(root)
    prepare(study.base.data)  # once, before workers ask for it together
    command = [sys.executable, "-m", "scaling", "worker", str(root.absolute())]
    if args.sealed:
        command += ["--sealed", os.path.abspath(args.sealed)]
    again = f"scaling sweep {root}" + (f" --sealed {args.sealed}" if args.sealed else "")
    return local.launch(
        root,
        entries=entries,
        n_workers=min(args.workers, len(entries)),
        command=lambda index: [*command, "--index", str(index)],
        console=Console(),
        how_to_continue=f"to continue: {again}",
    )
