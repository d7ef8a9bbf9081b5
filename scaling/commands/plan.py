"""scaling plan STUDY.gin --out DIR; scaling plan STUDY.gin|EXPERIMENT.gin --aot TOPOLOGY"""

import argparse
import dataclasses
import json
import pathlib
from collections.abc import Sequence

from rich.console import Console

from scaling.commands.aot import add_aot_arguments, check_fits
from scaling.commands.arguments import add_binding, sweep_folder
from scaling.commands.experiments import read_experiment
from scaling.commands.tables import console as results_console
from scaling.commands.tables import table
from scaling.cores import n_cores
from scaling.data import MixtureConfig, PreparedData, prepare
from scaling.errors import UserError
from scaling.experiment import Experiment
from scaling.gin_config import describes_study, load_study
from scaling.gin_text import to_gin
from scaling.laws.design import NOISE, Expectation, expect
from scaling.results.record import PARAMETER_CONVENTIONS
from scaling.sweeps.calibration import expected_seconds
from scaling.sweeps.folder import PLAN_FILE, write_plan
from scaling.sweeps.plan import PlannedRun, epoch_tokens, plan, plan_runs
from scaling.sweeps.status import format_duration, read_entries
from scaling.sweeps.study import Study
from scaling.transfer.file import check_fresh, find_transfer, read_transfer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", help="a study's .gin file (with --aot also an experiment's)")
    add_binding(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", help="folder of the sweep")
    add_aot_arguments(parser, what)
    parser.add_argument("--workers", type=int, default=n_cores(),
                        help="for the expected wall time (default: cores)")
    parser.add_argument("--no-calibration", action="store_true",
                        help="do not time this machine; no expected times")
    parser.add_argument("--noise", type=float, metavar="S",
                        help="run-to-run standard deviation of the log loss, for the expected intervals"
                        f" (default: {NOISE})")
    parser.add_argument("--transfer", metavar="FILE|DIR", help="learning rate, batch, decay and warm-up of"
                        " each run from a transfer file (scaling transfer)")
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")


def run(args: argparse.Namespace) -> int:
    check_workers(args.workers)
    if args.aot:
        check_fits(args, *_experiments(args))
        return 0
    if args.mesh or args.slices != 1:
        raise UserError("--mesh and --slices say where to compile for: expected --aot with them")
    make_plan(
        args.study, args.binding, sweep_folder(args.out), n_workers=args.workers,
        calibrate=not args.no_calibration, as_json=args.json, noise=args.noise,
        transfer=args.transfer,
    )
    return 0


def _experiments(args: argparse.Namespace) -> tuple[list[Experiment], bool]:
    """What `--aot` compiles, and whether it is of a study."""
    if args.study.endswith(".json") or not describes_study(args.study):
        return [read_experiment(args.study, args.binding)], False
    study = load_study(args.study, args.binding).config
    if args.transfer is not None:
        console = Console(stderr=True)
        study = with_transfer(study, args.transfer, prepare(study.base.data, log=console.print), console)
    return plan(study), True


def check_workers(n_workers: int) -> None:
    if n_workers < 1:
        raise UserError(f"--workers {n_workers}: expected at least 1")


def make_plan(
    study_file: str, bindings: Sequence[str], root: pathlib.Path, *, n_workers: int,
    calibrate: bool = True, as_json: bool = False, noise: float | None = None,
    transfer: str | None = None,
) -> None:
    """Plans, prices, freezes in `root`, and shows it."""
    if noise is not None and not 0 < noise < 1:
        raise UserError(f"--noise {noise:g}: expected a standard deviation of log loss, between 0 and 1")
    console = Console(stderr=True)
    study = load_study(study_file, bindings).config
    data = prepare(study.base.data, log=console.print)
    if transfer is not None:
        study = with_transfer(study, transfer, data, console)
    runs = plan_runs(study, data.n_train_tokens)
    planned_before = (root / PLAN_FILE).exists()
    if calibrate and not planned_before:
        with console.status("timing training steps on this machine"):
            seconds = expected_seconds(runs)
        runs = [dataclasses.replace(r, expected_seconds=s) for r, s in zip(runs, seconds)]
    write_plan(root, study, to_gin(study), runs)
    if planned_before:
        known = {entry["run_id"]: entry["expected_seconds"] for entry in read_entries(root)}
        runs = [dataclasses.replace(r, expected_seconds=known[r.experiment.run_id]) for r in runs]
    columns = zip(*((r.n_body_and_head, r.experiment.n_tokens,
                     r.train_flops[study.plan.flops_convention]) for r in runs))
    expectation = expect(*columns, noise=noise or NOISE)
    if as_json:
        print(json.dumps({"study": study.to_json(), "runs": [r.to_json() for r in runs],
                          "expected": expectation.to_json()}))
    else:
        _show(study, runs, data, root, n_workers, expectation)


def with_transfer(study: Study, where: str, data: PreparedData, console: Console) -> Study:
    """The study with the rules of a transfer file in its ladder. Raises `UserError` if it is stale."""
    path = find_transfer(where)
    transfer = read_transfer(path)
    check_fresh(path, transfer, study.base, data.manifest["content_hash"])
    rules = transfer.rules_from(path)
    odd = [d for d in study.plan.d_models if max(d, rules.base_d_model) % min(d, rules.base_d_model)]
    if odd:
        console.print(f"widths {', '.join(map(str, odd))} are no multiples of the transfer's base width,"
                      f" {rules.base_d_model}: its rules are read between the multiples")
    return study.replace(ladder=study.ladder.replace(transfer=rules))


def _show(
    study: Study, runs: Sequence[PlannedRun], data: PreparedData, root: pathlib.Path, n_workers: int,
    expectation: Expectation,
) -> None:
    console = results_console()
    shown = table(
        "run", ">N body+head", ">N total", ">tokens D", ">FLOPs C", ">D/N", ">unique", ">epochs", ">steps",
        ">learning rate", ">MiB", ">expected", title=f"{study.name}: {len(runs)} runs",
    )
    for run in runs:
        experiment, n = run.experiment, run.n_body_and_head
        expected = "-" if run.expected_seconds is None else format_duration(run.expected_seconds)
        shown.add_row(
            experiment.name, f"{n:,}", f"{sum(run.n_params.values()):,}",
            f"{experiment.n_tokens:,}", f"{run.train_flops[study.plan.flops_convention]:.3e}",
            f"{experiment.n_tokens / n:.1f}", f"{unique_tokens(run, data):,}", f"{run.epochs:.2f}",
            f"{experiment.n_steps:,}",
            f"{experiment.optimizer.learning_rate:.2g}", f"{run.memory_bytes / 2**20:.0f}", expected,
        )
    console.print(shown)
    if isinstance(study.base.data.corpus, MixtureConfig):
        _show_mixture(runs, data, console)
    total = sum(run.train_flops[study.plan.flops_convention] for run in runs)
    groups = " + ".join(PARAMETER_CONVENTIONS["body_and_head"])
    console.print(f"N body+head: {groups}. C by the convention {study.plan.flops_convention!r}.")
    console.print(f"corpus {data.manifest['corpus']}: {data.n_train_tokens:,} training tokens")
    times = [run.expected_seconds for run in runs if run.expected_seconds is not None]
    wall = f", about {format_duration(sum(times) / n_workers)} on {n_workers} workers" if times else ""
    console.print(f"total {total:.3e} FLOPs{wall}")
    if study.ladder.transfer is not None:
        nats = [run.tags["mistuning_nats"] for run in runs]
        console.print(f"rates, batch, decay and warm-up from {study.ladder.transfer.source}; expected"
                      f" mis-tuning {min(nats):.4f} to {max(nats):.4f} nats a run")
    for line in expectation.in_words():
        console.print(line)
    console.print(f"next: scaling sweep {root}")


def unique_tokens(run: PlannedRun, data: PreparedData) -> int:
    """Distinct tokens of text that a run will read."""
    if run.experiment.data.unique_tokens is not None:
        return min(run.experiment.n_tokens, epoch_tokens(run.experiment, data.n_train_tokens))
    return sum(corpus["n_unique_tokens"] for corpus in data.read_by(run.experiment.n_examples))


def _show_mixture(runs: Sequence[PlannedRun], data: PreparedData, console: Console) -> None:
    """What the longest run reads of each corpus."""
    longest = max(runs, key=lambda run: run.experiment.n_tokens)
    shown = table("corpus", ">share", ">unique tokens", ">tokens read", ">epochs",
                  title=f"the mixture, at {longest.experiment.name}")
    for corpus in data.read_by(longest.experiment.n_examples):
        shown.add_row(corpus["name"], f"{corpus['share']:.2%}", f"{corpus['unique_token_budget']:,}",
                      f"{corpus['n_tokens']:,}", f"{corpus['n_epochs']:.2f}")
    console.print(shown)
