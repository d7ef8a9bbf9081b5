"""scaling train EXPERIMENT.gin|.json"""

import argparse
import json
import os
import sys

from etils import epath
from rich.console import Console

from scaling.commands.arguments import add_binding
from scaling.commands.experiments import read_experiment
from scaling.config import did_you_mean
from scaling.errors import UserError
from scaling.gin_text import to_gin
from scaling.partitioning import MeshConfig
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
    mesh, keep = parse_mesh(args.mesh), parse_steps(args.keep_steps, experiment.n_steps)
    if args.keep_last < 1 or args.keep_best < 0:
        raise UserError("--keep-last, --keep-best: expected at least 1 and 0 checkpoints")
    place = args.run_dir or f"runs/{experiment.run_id}"
    check_bucket(place, writes=True)
    run_dir = epath.Path(place)
    from scaling.partitioning import is_writer, join_processes
    from scaling.training import Preempted, StopRequest, train
    from scaling.training.runtime import set_up_runtime

    set_up_runtime()
    join_processes(args.coordinator, args.processes, args.process)
    console = Console(stderr=True, quiet=not is_writer())
    console.print(f"{experiment.run_id}: {experiment.n_steps:,} steps, {experiment.n_tokens:,} tokens")
    try:
        with StopRequest().installed() as stop:
            record = train(
                experiment, run_dir, config_gin=to_gin(experiment), mesh=mesh, stop=stop,
                keep_steps=keep, keep_last=args.keep_last, keep_best=args.keep_best, trunk=args.trunk,
                progress_bar=console.is_terminal,
            )
    except Preempted as preempted:
        print(f"scaling: {preempted.message}", file=sys.stderr)
        return preempted.code
    if not is_writer():
        return 0
    if args.json:
        print(json.dumps(record.to_json(), allow_nan=False))
    elif record.final:
        final = record.final
        print(
            f"{record.status}: loss {final.loss:.4f} +- {final.standard_error:.4f} nats per token,"
            f" {final.bits_per_byte:.4f} bits per byte, {record.wall_seconds:.1f} s; {run_dir}"
        )
    else:
        print(f"{record.status}: {record.reason}; {run_dir}")
    return 0


def _env(name: str) -> str | None:
    return os.environ.get(name) or None


def parse_steps(text: str, n_steps: int) -> tuple[int, ...]:
    """`100,200` as updates of a run. Raises `UserError`."""
    parts = [part for part in text.split(",") if part]
    if not all(part.isdecimal() and 1 <= int(part) <= n_steps for part in parts):
        raise UserError(f"--keep-steps {text!r}: expected updates between 1 and {n_steps}")
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
