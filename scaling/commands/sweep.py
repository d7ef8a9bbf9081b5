"""scaling sweep DIR|STUDY.gin"""

import argparse
import pathlib
import shlex
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from scaling.commands.arguments import add_binding, sweep_folder
from scaling.commands.engine_options import add_engine_arguments, engine_from, engine_words
from scaling.commands.plan import check_workers, make_plan
from scaling.commands.sources import add_source_arguments, entries_of, source_options
from scaling.cores import n_cores
from scaling.data import prepare
from scaling.errors import UserError
from scaling.experiment import Experiment
from scaling.results.files import check_writable
from scaling.sweeps.launchers.job import Engine, Job, n_recorded
from scaling.sweeps.launchers.local import LocalConfig

WORKERS_ELSEWHERE = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sweep", help="a planned folder, or a study's .gin file with --out")
    add_binding(parser)
    parser.add_argument("--out", help="folder to plan a .gin file into")
    parser.add_argument("--workers", type=int,
                        help=f"worker processes (default: cores; {WORKERS_ELSEWHERE} on another engine)")
    add_source_arguments(parser)
    add_engine_arguments(parser)


def run(args: argparse.Namespace) -> int:
    local = args.launcher == "local"
    n_workers = args.workers if args.workers is not None else (
        n_cores() if local else WORKERS_ELSEWHERE)
    check_workers(n_workers)
    if args.launcher == "tpu" and args.workers is not None:
        raise UserError("--workers: on TPUs they follow from --tpu-slices and --tpu-workers-per-host")
    engine = engine_from(args)
    root = sweep_folder(args.out or args.sweep)
    if args.sweep.endswith(".gin"):
        if not args.out:
            raise UserError(f"{args.sweep} is a study: name the sweep's folder with --out")
        engine.check()
        make_plan(args.sweep, args.binding, root, n_workers=n_workers)
    elif args.binding:
        raise UserError("-b changes a gin file; the plan of a folder is frozen")
    elif args.out:
        raise UserError(f"--out is for a gin file; {args.sweep} is the sweep's folder itself")
    entries = entries_of(root, args.sealed, args.designed)
    options = source_options(args)
    given = [] if args.workers is None else ["--workers", str(args.workers)]
    again = shlex.join(["scaling", "sweep", str(root), *options, *engine_words(args), *given])
    return run_entries(root, entries, n_workers, f"to continue: {again}", options, engine=engine)


def run_entries(
    root: pathlib.Path, entries: list[dict[str, Any]], n_workers: int, how_to_continue: str,
    options: Sequence[str] = (), console: Console | None = None, engine: Engine = LocalConfig(),
) -> int:
    """Trains what lacks a record on an engine; the exit status. options: of each worker."""
    console = console or Console()
    n_unfinished = len(entries) - n_recorded(root, entries)
    if not n_unfinished:
        console.print(f"{len(entries)} of {len(entries)} runs are done already", highlight=False)
        return 0
    engine.check()
    check_writable(root)
    for data in dict.fromkeys(Experiment.from_json(e["experiment"]).data for e in entries):
        prepare(data)  # once, before workers ask for it together
    job = Job(root=root.absolute(), entries=entries, n_workers=min(n_workers, n_unfinished),
              options=tuple(options), how_to_continue=how_to_continue)
    return engine.launch(job, console)
