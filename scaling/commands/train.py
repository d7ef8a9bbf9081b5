"""scaling train EXPERIMENT.gin|.json"""

import argparse
import json
import os
import sys

from etils import epath
from rich.console import Console

from scaling.commands.arguments import add_binding
from scaling.commands.experiments import read_experiment
from scaling.commands.out_of_memory import memory_is_enough
from scaling.config import did_you_mean
from scaling.errors import UserError
from scaling.experiment import Experiment
from scaling.gin_text import to_gin
from scaling.partitioning import MeshConfig
from scaling.results import RunRecord
from scaling.results.buckets import check_bucket


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("experiment", help="an experiment's .gin (or .json) file")
    add_binding(parser)
    parser.add_argument("--run-dir", help="folder of the run (default: runs/<run id>)")
    parser.add_argument("--mesh", default="", metavar="data=2,fsdp=4", help="devices by mesh axis")
    parser.add_argument("--keep-steps", default="", metavar="N,...", help="keep these checkpoints")
    parser.add_argument("--keep-last", type=int, default=2, metavar="K", help="keep the K newest (2)")
    parser.add_argument("--keep-best", type=int, default=1, metavar="K", help="and the K best (1)")
    parser.add_argument("--trunk", metavar="DIR", help="branch from this run where a wsd decay begins")
    parser.add_argument("--branches", metavar="N,...", help="runs of these numbers of steps, which share a"
                        " trunk up to their wsd decays: trains DIR/trunk, DIR/N, ... (DIR: --run-dir)")
    parser.add_argument("--json", action="store_true", help="print the record as JSON")
    several = parser.add_argument_group(
        "several processes",
        "One run over many hosts: the same command on each. Under srun, mpirun and on TPU pods nothing"
        " else is needed. $JAX_COORDINATOR_ADDRESS, $JAX_NUM_PROCESSES and $JAX_PROCESS_ID serve as well.",
    )
    several.add_argument("--coordinator", metavar="HOST:PORT", default=_env("JAX_COORDINATOR_ADDRESS"),
                         help="where process 0 listens")
    several.add_argument("--processes", type=int, metavar="N", default=_env("JAX_NUM_PROCESSES"))
    several.add_argument("--process", type=int, metavar="I", default=_env("JAX_PROCESS_ID"),
                         help="which of them this is, from 0")


def run(args: argparse.Namespace) -> int:
    experiment = read_experiment(args.experiment, args.binding)
    mesh, keep = parse_mesh(args.mesh), parse_steps("--keep-steps", args.keep_steps, experiment.n_steps)
    if args.keep_last < 1 or args.keep_best < 0:
        raise UserError("--keep-last, --keep-best: expected at least 1 and 0 checkpoints")
    place = args.run_dir or f"runs/{experiment.run_id}"
    check_bucket(place, writes=True)
    run_dir = epath.Path(place)
    from scaling.partitioning import is_writer, join_processes
    from scaling.training import Preempted, StopRequest, train
    from scaling.training.runtime import set_up_runtime

    runs = [(experiment, run_dir, keep, args.trunk)]
    if args.branches is not None:
        runs = _with_branches(args, experiment, run_dir)
    set_up_runtime()
    join_processes(args.coordinator, args.processes, args.process)
    console = Console(stderr=True, quiet=not is_writer())
    for experiment, run_dir, keep, trunk in runs:
        console.print(f"{experiment.run_id}: {experiment.n_steps:,} steps, {experiment.n_tokens:,} tokens")
        try:
            with StopRequest().installed() as stop, memory_is_enough(experiment, mesh):
                record = train(
                    experiment, run_dir, config_gin=to_gin(experiment), mesh=mesh, stop=stop,
                    keep_steps=keep, keep_last=args.keep_last, keep_best=args.keep_best, trunk=trunk,
                    progress_bar=console.is_terminal,
                )
        except Preempted as preempted:
            print(f"scaling: {preempted.message}", file=sys.stderr)
            return preempted.code
        if is_writer():
            _show(record, run_dir, args.json)
    return 0


def _with_branches(
    args: argparse.Namespace, experiment: Experiment, folder: epath.Path
) -> list[tuple[Experiment, epath.Path, tuple[int, ...], str | None]]:
    """The trunk, then each branch: experiment, folder, steps to keep, trunk's folder."""
    from scaling.training import last_shared_step, trunk_of

    if args.keep_steps or args.trunk:
        raise UserError("--branches makes its own trunk and keeps what it needs: no --keep-steps, --trunk")
    lengths = sorted(set(parse_steps("--branches", args.branches, None)))
    if not lengths:
        raise UserError("--branches: expected at least one number of steps")
    branches = [experiment.replace(name=f"{experiment.name}-{n}", n_steps=n) for n in lengths]
    trunk = trunk_of(branches, f"{experiment.name}-trunk")
    kept = tuple(last_shared_step(branch) for branch in branches)
    home = str(folder / "trunk")
    return [(trunk, folder / "trunk", kept, None)] + [
        (branch, folder / str(n), (), home) for branch, n in zip(branches, lengths)
    ]


def _show(record: RunRecord, run_dir: epath.Path, as_json: bool) -> None:
    if as_json:
        print(json.dumps(record.to_json(), allow_nan=False))
    elif record.final:
        final = record.final
        print(
            f"{record.status}: loss {final.loss:.4f} +- {final.standard_error:.4f} nats per token,"
            f" {final.bits_per_byte:.4f} bits per byte, {record.wall_seconds:.1f} s; {run_dir}"
        )
    else:
        print(f"{record.status}: {record.reason}; {run_dir}")


def _env(name: str) -> str | None:
    return os.environ.get(name) or None


def parse_steps(option: str, text: str, n_steps: int | None) -> tuple[int, ...]:
    """`100,200` as updates of a run; n_steps: the most, if there is one. Raises `UserError`."""
    parts = [part for part in text.split(",") if part]
    if not all(part.isdecimal() and 1 <= int(part) <= (n_steps or int(part)) for part in parts):
        raise UserError(f"{option} {text!r}: expected updates between 1 and {n_steps or 'any number'}")
    return tuple(map(int, parts))


def parse_mesh(text: str) -> MeshConfig:
    """`data=2,fsdp=4` as a mesh. Raises `UserError`."""
    sizes = {}
    axes = list(MeshConfig().to_json())
    for part in filter(None, text.split(",")):
        axis, _, size = part.partition("=")
        if axis not in axes:
            raise UserError(f"--mesh {text!r}: no axis {axis!r}{did_you_mean(axis, axes)}")
        if not size.isdecimal():
            raise UserError(f"--mesh {text!r}: expected {axis}=N with a whole number N")
        sizes[axis] = int(size)
    return MeshConfig(**sizes)
