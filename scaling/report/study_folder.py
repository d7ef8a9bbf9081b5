"""What a study's folder holds, as the report needs it."""

import dataclasses
import json
import pathlib
from typing import Any

from scaling.errors import UserError
from scaling.results import RunRecord, read_records

SEAL_FILE = "forecast.json"


@dataclasses.dataclass(frozen=True)
class StudyFolder:
    """study: `study.json` as it stands. plan: the lines of `plan.jsonl`, planned run by run."""

    root: pathlib.Path
    study: dict[str, Any]
    plan: list[dict[str, Any]]
    records: list[RunRecord]

    @property
    def name(self) -> str:
        return str(self.study.get("name") or self.root.resolve().name)

    @property
    def seal_path(self) -> pathlib.Path:
        return self.root / SEAL_FILE

    @property
    def flops_convention(self) -> str:
        """The one that the budgets are counted in."""
        return str((self.study.get("plan") or {}).get("flops_convention", "exact"))

    @property
    def sweep(self) -> list[RunRecord]:
        """Finished runs that laws may be fitted to."""
        return [r for r in self.records if r.tags.get("role") != "target"]

    @property
    def targets(self) -> list[RunRecord]:
        """Finished runs that test a forecast."""
        return [r for r in self.records if r.tags.get("role") == "target"]


def read_study_folder(root: pathlib.Path) -> StudyFolder:
    """Raises `UserError` if there is neither a plan nor a record, or a file is damaged."""
    study = _json(root / "study.json")
    if study is not None and not isinstance(study, dict):
        raise UserError(f"{root / 'study.json'}: expected an object that describes the study")
    plan = _plan(root / "plan.jsonl")
    records = read_records(root)
    if plan is None and not records:
        raise UserError(f"{root}: no sweep here (no plan.jsonl, no finished run); make one first:"
                        " scaling plan, then scaling sweep")
    return StudyFolder(root, study or {}, plan or [], records)


def _json(path: pathlib.Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise UserError(f"{path}: not JSON: {error}") from None


def _plan(path: pathlib.Path) -> list[dict[str, Any]] | None:
    try:
        lines = path.read_text().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return [json.loads(line) for line in lines if line.strip()]
    except ValueError as error:
        raise UserError(f"{path}: not one JSON object a line ({error})") from None
