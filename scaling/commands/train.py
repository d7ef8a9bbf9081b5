"""scaling train EXPERIMENT.gin|.json"""

import argparse
import json
import sys

from etils import epath
from rich.console import Console

from scaling.commands.arguments import add_binding
from scaling.commands.experiments import read_experiment
from scaling.config import did_you_mean
from scaling.errors import UserError
from scaling.gin_config import to_gin
from scaling.partitioning import MeshConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("experiment", help="an experiment's .gin (or .json) file")
    add_binding(parser)
    parser.add_argument("--run-dir", help="folder of the run (default: runs/<run id>)")
    parser.add_argument("--mesh", default="", metavar="data=2,fsdp=4", help="devices by mesh axis")
    parser.add_argument("--keep-steps", default="", metavar="N,...", help="keep these checkpoints")
    parser.add_argument("--trunk", metavar="DIR", help="branch from this run where a wsd decay begins")
    parser.add_argument("--json", action="store_true", help="print the record as JSON")


def run(args: argparse.Namespace) -> int:
    experiment = read_experiment(args.experiment, args.binding)
    mesh, keep = parse_mesh(args.mesh), parse_steps(args.keep_steps, experiment.n_steps)
    run_dir = epath.Path(args.run_dir or f"runs/{experiment.run_id}")
    from scaling.training import Preempted, StopRequest, train
    from scaling.training.runtime import set_up_runtime

    set_up_runtime()
    console = Console(stderr=True)
    console.print(f"{experiment.run_id}: {experiment.n_steps:,} steps, {experiment.n_tokens:,} tokens")
    try:
        with StopRequest().installed() as stop:
            record = train(
                experiment, run_dir, config_gin=to_gin(experiment), mesh=mesh, stop=stop,
                keep_steps=keep, trunk=args.trunk,
                progress_bar=console.is_terminal,
            )
    except Preempted as preempted:
        print(f"scaling: {preempted.message}", file=sys.stderr)
        return preempted.code
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
