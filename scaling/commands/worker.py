"""One worker process of a sweep; launchers start it."""

import argparse
import os
import pathlib
import platform
from typing import Any

from scaling.errors import UserError
from scaling.sweeps.folder import PLAN_FILE
from scaling.sweeps.status import read_entries
from scaling.sweeps.worker import run_worker


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("root")
    parser.add_argument("--index", type=int, required=True)
    parser.add_argument("--sealed")


def run(args: argparse.Namespace) -> int:
    from scaling.experiment import Experiment
    from scaling.gin_config import to_gin
    from scaling.training import StopRequest, train
    from scaling.training.runtime import set_up_runtime

    set_up_runtime()

    def train_entry(entry: dict[str, Any], run_dir: pathlib.Path):
        experiment = Experiment.from_json(entry["experiment"])
        gin = to_gin(experiment)
        return train(experiment, run_dir, tags=entry["tags"], config_gin=gin, stop=stop)

    with StopRequest().installed() as stop:
        run_worker(
            args.root,
            entries=entries_of(pathlib.Path(args.root), args.sealed),
            train=train_entry,
            worker=f"{platform.node()}-{args.index}-{os.getpid()}",
            should_stop=lambda: bool(stop),
        )
    return stop.exit_code if stop else 0


def entries_of(root: pathlib.Path, sealed: str | None) -> list[dict[str, Any]]:
    """What to run, longest first: the plan of a folder, or the targets of a sealed forecast.

    Raises `UserError` if there is nothing to run, or a run is not the one that its id names.
    """
    if sealed is None:
        entries = read_entries(root)
    else:
        from scaling.laws import read_seal

        entries = [target["entry"] for target in read_seal(pathlib.Path(sealed))["targets"]]
    if not entries:
        raise UserError(f"{sealed or root}: nothing to run")
    for entry in entries:
        _check_unedited(entry, str(sealed or root / PLAN_FILE))
    return sorted(entries, key=lambda e: (-sum(e["train_flops"].values()), e["run_id"]))


def _check_unedited(entry: dict[str, Any], where: str) -> None:
    from scaling.experiment import Experiment

    experiment = Experiment.from_json(entry["experiment"], f"{where}: {entry['run_id']}")
    if experiment.run_id != entry["run_id"]:
        raise UserError(
            f"{where}: the run {entry['run_id']} was edited by hand: its experiment is"
            f" {experiment.run_id}; make the plan again in another folder"
        )
