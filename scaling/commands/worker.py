"""One worker process of a sweep; launchers start it."""

import argparse
import os
import pathlib
import platform
from typing import Any

from scaling.commands.sources import add_source_arguments, entries_of, parse_shard
from scaling.sweeps.worker import next_free, run_worker


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("root")
    parser.add_argument("--index", type=int, required=True)
    add_source_arguments(parser)
    parser.add_argument("--shard", type=parse_shard, metavar="I/N", help="every Nth run, from the Ith")


def run(args: argparse.Namespace) -> int:
    import jax

    from scaling.experiment import Experiment
    from scaling.gin_text import to_gin
    from scaling.training import StopRequest, train
    from scaling.training.runtime import set_up_runtime

    set_up_runtime()
    # a CPU that compiles does not train meanwhile
    compiles_ahead = jax.default_backend() != "cpu"

    def train_entry(entry: dict[str, Any], run_dir: pathlib.Path):
        experiment = Experiment.from_json(entry["experiment"])
        gin = to_gin(experiment)
        after = next_free(pathlib.Path(args.root), entries, entry) if compiles_ahead else None
        upcoming = after and Experiment.from_json(after["experiment"])
        return train(
            experiment, run_dir, tags=entry["tags"], config_gin=gin, stop=stop, upcoming=upcoming
        )

    with StopRequest().installed() as stop:
        entries = entries_of(pathlib.Path(args.root), args.sealed, args.designed, args.shard)
        run_worker(
            args.root,
            entries=entries,
            train=train_entry,
            worker=f"{platform.node()}-{args.index}-{os.getpid()}",
            should_stop=lambda: bool(stop),
        )
    return stop.exit_code if stop else 0
