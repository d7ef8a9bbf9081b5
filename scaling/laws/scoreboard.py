"""The running score over all seals of a folder: how often intervals held, and how large errors were.

Each verified seal leaves one file, `scores/<sha256 of the seal>.json`, written once: a forecast is
scored once, and no later score replaces it.
"""

import dataclasses
import json

import numpy as np
from etils import epath

from scaling.errors import UserError
from scaling.laws.seals import Score
from scaling.results.files import write_once

FOLDER = "scores"


@dataclasses.dataclass(frozen=True)
class Scoreboard:
    """Over every scored seal. targets: runs foretold; inside: in their predictive interval, nominally
    `level` of them (None if the seals have several levels). Errors are actual minus predicted, in
    percent of the actual loss, over targets that have one."""

    seals: int
    targets: int
    inside: int
    failed: int
    level: float | None
    mean_percent: float | None
    rms_percent: float | None

    def to_json(self) -> dict:
        return dataclasses.asdict(self)

    def line(self) -> str:
        errors = "" if self.rms_percent is None else (
            f"; error {self.mean_percent:+.2f}% on average, {self.rms_percent:.2f}% rms")
        nominal = "" if self.level is None else f" (nominal {self.level:.0%})"
        failed = f"; {self.failed} diverged or failed" if self.failed else ""
        return (f"running score: {self.seals} seal{'s' * (self.seals != 1)}, {self.inside} of"
                f" {self.targets} runs inside their interval{nominal}{errors}{failed}")


def keep_score(folder: epath.PathLike, score: Score) -> bool:
    """Adds a score to a folder of scores; False if that seal was scored before."""
    body = json.dumps(score.to_json(), indent=1, sort_keys=True, allow_nan=False)
    return write_once(epath.Path(folder) / f"{score.seal_sha256}.json", body + "\n")


def read_scoreboard(folder: epath.PathLike) -> Scoreboard:
    """The running score. Raises `UserError` for a damaged file."""
    scores = []
    for path in sorted(epath.Path(folder).glob("*.json"), key=str):
        try:
            score = json.loads(path.read_text())
            scores.append((float(score["level"]), [
                (bool(t["inside_interval"]), t["error_percent"]) for t in score["targets"]]))
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{path}: not a score") from None
    targets = [t for _, own in scores for t in own]
    errors = np.array([e for _, e in targets if e is not None], float)
    levels = {level for level, _ in scores}
    return Scoreboard(
        seals=len(scores),
        targets=len(targets),
        inside=sum(inside for inside, _ in targets),
        failed=sum(e is None for _, e in targets),
        level=levels.pop() if len(levels) == 1 else None,
        mean_percent=float(errors.mean()) if len(errors) else None,
        rms_percent=float(np.sqrt((errors**2).mean())) if len(errors) else None,
    )
