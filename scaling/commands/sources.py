"""Which runs a sweep's workers take: its plan, a sealed forecast's targets, or a design's proposals."""

import argparse
import json
import os
import pathlib
from typing import Any

from scaling.config import content_hash
from scaling.errors import UserError
from scaling.sweeps.folder import PLAN_FILE, read_study
from scaling.sweeps.status import ENTRY_FIELDS, read_entries
from scaling.sweeps.study import Study


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--sealed", metavar="FORECAST.json",
                        help="run the targets of a sealed forecast instead of the plan")
    source.add_argument("--designed", metavar="DESIGN.json",
                        help="run what `scaling design DIR --json` proposed instead of the plan")


def source_options(args: argparse.Namespace) -> list[str]:
    """The options that name the same runs again, from any working directory."""
    given = ((f"--{name}", getattr(args, name)) for name in ("sealed", "designed"))
    return [part for name, file in given if file for part in (name, os.path.abspath(file))]


def entries_of(
    root: pathlib.Path,
    sealed: str | None = None,
    designed: str | None = None,
    shard: tuple[int, int] | None = None,
) -> list[dict[str, Any]]:
    """What to run, longest first; of it every nth from the ith with shard = (i, n).

    Raises `UserError` if there is nothing to run, a design is of another study, or a run is not the one
    that its id names.
    """
    if sealed:
        from scaling.laws import read_seal

        where = sealed
        targets = read_seal(pathlib.Path(sealed))["targets"]
        if any("entry" not in target for target in targets):
            raise UserError(f"{sealed}: sealed from a table of runs, so that it has no experiment to run;"
                            f" seal the sweep's own: scaling forecast {root} --flops C --seal FILE")
        entries = [target["entry"] for target in targets]
    elif designed:
        where, entries = designed, _designed(designed, root)
    else:
        where, entries = str(root / PLAN_FILE), read_entries(root)
    if not entries:
        raise UserError(f"{sealed or designed or root}: nothing to run")
    for entry in entries:
        _check_unedited(entry, where)
    entries = sorted(entries, key=lambda e: (-sum(e["train_flops"].values()), e["run_id"]))
    return entries if shard is None else entries[shard[0] :: shard[1]]


def parse_shard(text: str) -> tuple[int, int]:
    """`2/8` as (2, 8). For argparse: raises `ValueError`."""
    index, n = map(int, text.split("/"))
    if not 0 <= index < n:
        raise ValueError(text)
    return index, n


def study_hash(study: Study) -> str:
    """By which a design knows the study whose ladder its runs are from."""
    return content_hash(study.to_json(), digits=64)


def _designed(file: str, root: pathlib.Path) -> list[dict[str, Any]]:
    try:
        body = json.loads(pathlib.Path(file).read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{file}: no design: {error}") from None
    entries = body.get("entries") if isinstance(body, dict) else None
    whole = isinstance(entries, list) and all(
        isinstance(entry, dict) and entry.keys() >= ENTRY_FIELDS for entry in entries)
    if not whole:
        raise UserError(f"{file}: holds no runs of a ladder; expected what `scaling design {root} --json`"
                        " prints (a design of a CSV proposes sizes, not experiments)")
    if body.get("study") != study_hash(read_study(root)):
        raise UserError(f"{file}: designed for another study than that of {root}; design again:"
                        f" scaling design {root} --json")
    return entries


def _check_unedited(entry: dict[str, Any], where: str) -> None:
    from scaling.experiment import Experiment

    digest = entry.get("digest")  # plans of older versions carry none
    if digest is not None and digest != content_hash({k: v for k, v in entry.items() if k != "digest"}):
        raise UserError(f"{where}: the run {entry['run_id']} was edited by hand; make the plan again in"
                        " another folder, or put its line back as it was")
    experiment = Experiment.from_json(entry["experiment"], f"{where}: {entry['run_id']}")
    if experiment.run_id != entry["run_id"]:
        raise UserError(
            f"{where}: the run {entry['run_id']} was edited by hand: its experiment is"
            f" {experiment.run_id}; make the plan again in another folder"
        )
