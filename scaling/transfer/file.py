"""The transfer file: rules, their evidence, and what they are valid for; versioned and hashed.

A folder holds `transfer-1.json`, `transfer-2.json`, ...; a new version names the hash of the old one,
which is kept. Equal evidence gives equal bytes.
"""

import dataclasses
import json
import pathlib
import re
from typing import Any

from scaling.config import Config, content_hash
from scaling.errors import UserError
from scaling.experiment import Experiment
from scaling.models import build_model
from scaling.parametrizations import table_hash
from scaling.results.files import write_atomically
from scaling.sweeps.transferred import TransferredRules
from scaling.transfer.cells import Cell
from scaling.transfer.shapes import DEPTHS, WIDTHS, scaled

FORMAT = 1
_NAME = re.compile(r"transfer-(\d+)\.json")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verification(Config):
    """A mid-size run to see whether the rules hold. Rates are log2.

    interval: of the rules, with the measurement's own error. measured: vertex of the parabola;
    None where it lies outside the three rates, and then `beyond` says on which side.
    """

    shape: str
    n_tokens: int
    predicted: float
    interval: tuple[float, float]
    measured: float | None
    standard_error: float | None
    beyond: str | None
    losses: tuple[float | None, ...]
    run_ids: tuple[str, ...]

    @property
    def drift(self) -> float | None:
        """Octaves from what was predicted to what was measured."""
        return None if self.measured is None else self.measured - self.predicted

    @property
    def inside(self) -> bool:
        return self.measured is not None and self.interval[0] <= self.measured <= self.interval[1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransferFile(Config):
    """Everything that a tuned study found.

    base: the base experiment. table_hash: of the parametrization's table, see `table_hash_of`.
    data_hash: of the rows trained on. noise: of one run's loss, nats. run_ids: of the proxies.
    previous: content hash of the version before.
    """

    version: int
    previous: str | None
    name: str
    base: Experiment
    rules: TransferredRules
    table_hash: str
    data_hash: str
    cells: tuple[Cell, ...]
    noise: float
    regret_budget: float
    run_ids: tuple[str, ...]
    notes: tuple[str, ...]
    verifications: tuple[Verification, ...] = ()

    @property
    def content_hash(self) -> str:
        return content_hash({"format": FORMAT, **self.to_json()}, digits=64)

    def rules_from(self, path: pathlib.Path) -> TransferredRules:
        """The rules, naming the file that they were read from."""
        return self.rules.replace(source=f"{path.name} {self.content_hash[:12]}")


def table_hash_of(base: Experiment) -> str:
    """Of the parametrization's tables at 2 and 3 times the base in width and depth.

    There its rules show; at most one of the two can be the shape at which all multipliers are 1.
    """
    tables = []
    for factor in (2, 3):
        model = scaled(base.model, factor * base.model.d_model, factor * base.model.n_layers)
        tables.append(table_hash(base.parametrization, build_model(model).specs))
    return content_hash(tables)


def write_transfer(folder: pathlib.Path, transfer: TransferFile) -> pathlib.Path:
    """Writes a version; one that exists and says the same is left alone.

    Raises `UserError` if it says something else: versions are never overwritten.
    """
    path = folder / f"transfer-{transfer.version}.json"
    body = {"format": FORMAT, **transfer.to_json()}
    text = json.dumps({**body, "content_hash": transfer.content_hash}, indent=1) + "\n"
    if path.exists():
        if read_transfer(path).content_hash != transfer.content_hash:
            raise UserError(
                f"{path} exists and holds another result (of an older program?); remove it, or choose"
                " another folder"
            )
        return path
    write_atomically(path, text)
    return path


def find_transfer(where: str | pathlib.Path) -> pathlib.Path:
    """A transfer file itself, or the newest version in a folder. Raises `UserError`."""
    path = pathlib.Path(where)
    if path.is_file():
        return path
    found = {}
    if path.is_dir():
        found = {int(m[1]): p for p in path.iterdir() if (m := _NAME.fullmatch(p.name))}
    if not found:
        raise UserError(f"{path}: no transfer file here; make one with scaling transfer tune")
    return found[max(found)]


def read_transfer(path: pathlib.Path) -> TransferFile:
    """Raises `UserError` for a file that is damaged, edited by hand, or of a newer program."""
    try:
        body: Any = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: not JSON: {error}") from None
    if not isinstance(body, dict) or "content_hash" not in body or "format" not in body:
        raise UserError(f"{path}: no transfer file (no content_hash)")
    if body["format"] != FORMAT:
        raise UserError(f"{path}: format {body['format']}, this program reads {FORMAT}")
    stated = body.pop("content_hash")
    if content_hash(body, digits=64) != stated:
        raise UserError(
            f"{path}: edited by hand or damaged (its content is not what its hash says);"
            " run scaling transfer tune again"
        )
    body.pop("format")
    return TransferFile.from_json(body, str(path))


def check_fresh(
    path: pathlib.Path, transfer: TransferFile, experiment: Experiment, data_hash: str | None = None
) -> None:
    """Raises `UserError` where the file was tuned for something else than `experiment`'s family.

    data_hash: of the rows that will be trained on; None where they are not at hand.
    """
    again = "; tune again: scaling transfer tune"
    base = transfer.base
    if type(experiment.model) is not type(base.model):
        raise _other(path, "model", type(base.model).__name__, type(experiment.model).__name__, again)
    fields = [f for f in base.model.to_json() if f not in (*WIDTHS, *DEPTHS)]
    _compare(path, base.model, experiment.model, fields, again)
    fields = [f for f in base.optimizer.to_json() if f not in ("learning_rate", "weight_decay")]
    if type(experiment.optimizer) is not type(base.optimizer):
        names = (type(base.optimizer).__name__, type(experiment.optimizer).__name__)
        raise _other(path, "optimizer", *names, again)
    _compare(path, base.optimizer, experiment.optimizer, fields, again)
    fields = [f for f in base.schedule.to_json() if f not in ("warmup_fraction", "max_warmup_steps")]
    _compare(path, base.schedule, experiment.schedule, fields, again)
    _compare(path, base, experiment, ["objective", "noise"], again)
    theirs = table_hash_of(base.replace(parametrization=experiment.parametrization))
    if theirs != transfer.table_hash:
        raise UserError(
            f"{path} is stale: it was tuned for the parametrization table {transfer.table_hash}"
            f" ({base.parametrization.name}), and this one is {theirs}"
            f" ({experiment.parametrization.name}){again}"
        )
    if data_hash is not None and data_hash != transfer.data_hash:
        raise UserError(
            f"{path} is stale: it was tuned on the data {transfer.data_hash[:12]}, and these are"
            f" {data_hash[:12]} (other text, tokenizer, sequence length or validation rows){again}"
        )


def _compare(path, ours: Config, theirs: Config, fields: list[str], again: str) -> None:
    for field in fields:
        if getattr(ours, field) != getattr(theirs, field):
            raise _other(path, f"{type(ours).__name__}.{field}", getattr(ours, field),
                         getattr(theirs, field), again)


def _other(path: pathlib.Path, what: str, ours: Any, theirs: Any, again: str) -> UserError:
    return UserError(f"{path} is stale: it was tuned with {what} = {ours!r}, not {theirs!r}{again}")
