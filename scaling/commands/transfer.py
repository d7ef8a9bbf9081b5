"""scaling transfer tune STUDY.gin --out DIR | apply DIR --target SHAPE ... | verify DIR --at SHAPE"""

import argparse
import json
import pathlib

from rich.console import Console

from scaling.commands import transfer_tables
from scaling.commands.arguments import add_binding, sweep_folder
from scaling.commands.plan import check_workers
from scaling.commands.sources import entries_of
from scaling.commands.sweep import run_entries
from scaling.commands.tables import console as results_console
from scaling.cores import n_cores
from scaling.data import prepare
from scaling.errors import UserError
from scaling.experiment import Experiment
from scaling.gin_config import load_transfer_study
from scaling.gin_text import to_gin
from scaling.models import ModelConfig
from scaling.parametrizations.coordinate_check import CoordinateCheck, coordinate_check
from scaling.results import read_records
from scaling.results.files import write_atomically
from scaling.sweeps.folder import write_plan
from scaling.sweeps.status import read_entries
from scaling.transfer.file import check_fresh, find_transfer, read_transfer, write_transfer
from scaling.transfer.proxies import proxy_runs
from scaling.transfer.regret import regret_at, verdict
from scaling.transfer.shapes import parse_shape
from scaling.transfer.tuning import tuned
from scaling.transfer.verification import foretold, verification_runs, verified

_CHECKED_FACTORS = (1, 2, 4)  # of the base's size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    steps = parser.add_subparsers(dest="step", required=True, metavar="tune|apply|verify")
    tune = steps.add_parser("tune", help="run a study's proxies and fit the rules")
    tune.add_argument("study", help="a transfer study's .gin file")
    add_binding(tune)
    tune.add_argument("--out", required=True, help="folder of the proxies and of the transfer file")
    tune.add_argument("--plan-only", action="store_true", help="price the proxies; train nothing")
    apply = steps.add_parser("apply", help="hyperparameters of a big run, with intervals")
    apply.add_argument("transfer", help="a transfer file, or its folder (then the newest version)")
    apply.add_argument("--target", required=True, metavar="d4096.L32", help="width and layers")
    apply.add_argument("--tokens", required=True, type=float, metavar="D", help="training tokens")
    apply.add_argument("--out", metavar="RUN.gin", help="write the run as gin, for explain, plan and train")
    apply.add_argument("--check", action="store_true", help="coordinate check of the base at 2 and 4 times"
                       " its width or depth, where the target's is another: seconds to minutes")
    verify = steps.add_parser("verify", help="train a mid-size at lr*/2, lr*, 2 lr*; update the file")
    verify.add_argument("transfer", help="a transfer file, or its folder (then the newest version)")
    verify.add_argument("--at", required=True, metavar="d1024.L8", help="width and layers")
    verify.add_argument("--tokens", type=float, metavar="D", help="training tokens (default: the base's)")
    verify.add_argument("--seeds", type=int, default=2, help="runs a rate (default: 2)")
    for step in (tune, verify):
        step.add_argument("--workers", type=int, default=n_cores(),
                          help="worker processes (default: cores)")
    for step in (tune, apply, verify):
        step.add_argument("--json", action="store_true", help="print it as JSON")


def run(args: argparse.Namespace) -> int:
    return {"tune": _tune, "apply": _apply, "verify": _verify}[args.step](args)


def _tune(args: argparse.Namespace) -> int:
    check_workers(args.workers)
    root = sweep_folder(args.out)
    study = load_transfer_study(args.study, args.binding).config
    data = prepare(study.base.data, log=Console(stderr=True).print)
    runs = proxy_runs(study, data.n_train_tokens)
    write_plan(root, study, to_gin(study), runs)
    if args.plan_only:
        if args.json:
            print(json.dumps({"study": study.to_json(), "runs": [r.to_json() for r in runs]}))
        else:
            transfer_tables.show_plan(runs, root, results_console())
        return 0
    if status := _trained(root, args.workers, f"the same command, scaling transfer tune ... --out {root}"):
        return status
    planned = [run.experiment.run_id for run in runs]
    transfer = tuned(study, planned, read_records(root))
    path = write_transfer(root, transfer)
    if args.json:
        print(json.dumps({"file": str(path), **transfer.to_json()}, allow_nan=False))
    else:
        transfer_tables.show_transfer(transfer, path, results_console())
    return 0


def _apply(args: argparse.Namespace) -> int:
    if not args.tokens > 0:
        raise UserError(f"--tokens {args.tokens:g}: expected a number above 0")
    path = find_transfer(args.transfer)
    transfer = read_transfer(path)
    check_fresh(path, transfer, transfer.base)
    rules = transfer.rules_from(path)
    experiment, best = foretold(transfer, rules, *parse_shape(args.target), args.tokens)
    regret = regret_at(transfer, experiment.model, experiment.n_tokens, best)
    checks = _coordinate_checks(transfer.base, experiment.model) if args.check else []
    judged = verdict(transfer, regret, checks)
    if args.out:
        _write_gin(pathlib.Path(args.out), experiment.replace(name=f"{transfer.name}-target"))
    if args.json:
        print(json.dumps(transfer_tables.applied_json(
            transfer, experiment, best, regret, judged, checks)))
    else:
        transfer_tables.show_applied(
            transfer, path, experiment, best, regret, judged, checks, results_console())
    return 0


def _coordinate_checks(base: Experiment, target: ModelConfig) -> list[CoordinateCheck]:
    """Along the axes on which the target is another size than the base."""
    apart = {"width": target.d_model != base.model.d_model, "depth": target.depths != base.model.depths}
    return [coordinate_check(base.parametrization, base.model, axis, factors=_CHECKED_FACTORS,
                             optimizer=base.optimizer) for axis, differs in apart.items() if differs]


def _write_gin(path: pathlib.Path, experiment: Experiment) -> None:
    if path.suffix != ".gin":
        raise UserError(f"--out {path}: expected a name that ends in .gin")
    if not path.parent.is_dir():
        raise UserError(f"--out {path}: no folder {path.parent}")
    write_atomically(path, to_gin(experiment))


def _verify(args: argparse.Namespace) -> int:
    check_workers(args.workers)
    if args.seeds < 1:
        raise UserError(f"--seeds {args.seeds}: expected at least 1")
    if args.tokens is not None and not args.tokens > 0:
        raise UserError(f"--tokens {args.tokens:g}: expected a number above 0")
    path = find_transfer(args.transfer)
    transfer = read_transfer(path)
    shape = parse_shape(args.at)
    data = prepare(transfer.base.data, log=Console(stderr=True).print)
    check_fresh(path, transfer, transfer.base, data.manifest["content_hash"])
    n_tokens = args.tokens or transfer.base.n_tokens
    runs = verification_runs(transfer, *shape, n_tokens, args.seeds, data.n_train_tokens)
    root = path.parent / "verify" / f"{args.at}-v{transfer.version}-{runs[0].experiment.n_tokens}"
    write_plan(root, transfer.base, to_gin(transfer.base), runs)
    if status := _trained(root, args.workers, f"scaling transfer verify {args.transfer} --at {args.at}"):
        return status
    update = verified(transfer, _planned_records(root))
    new_path = write_transfer(path.parent, update)
    if args.json:
        print(json.dumps({"file": str(new_path), **update.to_json()}, allow_nan=False))
    else:
        transfer_tables.show_verified(update, new_path, results_console())
    return 0


def _trained(root: pathlib.Path, n_workers: int, again: str) -> int:
    """Runs what lacks a record; 0 when all have one."""
    entries = entries_of(root)
    if all((root / "runs" / e["run_id"] / "record.json").exists() for e in entries):
        return 0
    console = Console(stderr=True)  # standard output is for the result
    return run_entries(root, entries, n_workers, f"to continue: {again}", console=console)


def _planned_records(root: pathlib.Path):
    planned = {entry["run_id"] for entry in read_entries(root)}
    return [record for record in read_records(root) if record.run_id in planned]
