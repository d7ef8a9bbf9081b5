"""scaling sweep DIR|STUDY.gin"""

import argparse
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from scaling.commands.arguments import add_binding
from scaling.commands.plan import check_workers, make_plan
from scaling.commands.sources import add_source_arguments, entries_of, source_options
from scaling.data import prepare
from scaling.errors import UserError
from scaling.experiment import Experiment
from scaling.sweeps.launchers import local


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sweep", help="a planned folder, or a study's .gin file with --out")
    add_binding(parser)
    parser.add_argument("--out", help="folder to plan a .gin file into")
    parser.add_argument("--launcher", choices=["local"], default="local", help="where workers run")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1,
                        help="worker processes (default: cores)")
    add_source_arguments(parser)


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
    entries = entries_of(root, args.sealed, args.designed)
    options = source_options(args)
    again = " ".join(["scaling sweep", str(root), *options])
    return run_entries(root, entries, args.workers, f"to continue: {again}", options)


def run_entries(
    root: pathlib.Path, entries: list[dict[str, Any]], n_workers: int, how_to_continue: str,
    options: Sequence[str] = (), console: Console | None = None,
) -> int:
    """Trains what lacks a record, on this machine; the exit status. options: of each worker."""
    for data in dict.fromkeys(Experiment.from_json(e["experiment"]).data for e in entries):
        prepare(data)  # once, before workers ask for it together
    command = [sys.executable, "-m", "scaling", "worker", str(root.absolute()), *options]
    return local.launch(
        root,
        entries=entries,
        n_workers=min(n_workers, len(entries)),
        command=lambda index: [*command, "--index", str(index)],
        console=console or Console(),
        how_to_continue=how_to_continue,
    )
