"""The folder of a sweep: `study.json`, `study.gin`, `plan.jsonl`, `runs/`."""

import json
import pathlib
from collections.abc import Sequence

from scaling.config import Config
from scaling.errors import UserError
from scaling.results.files import write_atomically
from scaling.sweeps.plan import PlannedRun
from scaling.sweeps.status import read_entries
from scaling.sweeps.study import Study

PLAN_FILE = "plan.jsonl"
STUDY_FILE = "study.json"
GIN_FILE = "study.gin"


def write_plan(
    root: pathlib.Path, study: Config, study_gin: str, runs: Sequence[PlannedRun]
) -> None:
    """Freezes a plan in a folder; the same plan again changes nothing. study: of any kind.

    Raises `UserError` if the folder belongs to another plan, or holds files of something else.
    """
    path = root / PLAN_FILE
    if path.exists():
        if [e["run_id"] for e in read_entries(root)] != [run.experiment.run_id for run in runs]:
            raise UserError(f"{root} belongs to another plan ({path}); choose another folder")
        return
    study_json = json.dumps(study.to_json(), indent=1) + "\n"
    if root.exists() and (not root.is_dir() or not _may_be_planned(root, study_json)):
        raise UserError(f"{root} is not empty and holds no plan; choose another folder")
    write_atomically(root / STUDY_FILE, study_json)
    write_atomically(root / GIN_FILE, study_gin)
    lines = (json.dumps(run.to_json(), sort_keys=True) + "\n" for run in runs)
    write_atomically(path, "".join(lines))  # last: a folder with a plan is complete


def _may_be_planned(root: pathlib.Path, study_json: str) -> bool:
    """Whether a folder is empty, or holds only what a killed `write_plan` of this study left."""
    ours = (PLAN_FILE, STUDY_FILE, GIN_FILE)
    temporary = tuple(f".{name}." for name in ours)
    for path in root.iterdir():
        left_over = path.name.startswith(temporary) and path.suffix == ".tmp"
        if path.name not in ours and not left_over:
            return False
    path = root / STUDY_FILE
    return not path.exists() or path.read_text() == study_json


def read_study(root: pathlib.Path) -> Study:
    """The study that a planned folder belongs to. Raises `UserError`."""
    path = root / STUDY_FILE
    try:
        body = json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{root}: no {STUDY_FILE} here; make a plan first: scaling plan") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: not JSON: {error}") from None
    if isinstance(body, dict) and not {"proxies", "optimizer"}.isdisjoint(body):  # of tune, of verify
        raise UserError(
            f"{root} holds the runs of a transfer study, which carry no law; see scaling transfer apply"
        )
    return Study.from_json(body, str(path))
