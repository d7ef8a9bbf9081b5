"""What a corpus is built of, and how."""

import dataclasses
import re

from scaling.config import Config, did_you_mean
from scaling.corpus.filters import FILTERS
from scaling.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuildConfig(Config):
    """What is built of what.

    inputs: folders, files or globs. name: of the dataset.
    validation_inputs: as inputs, for the validation split; or
    validation_fraction: of the documents, held out by a hash of their text; 0: no validation split.
    text_field: of JSONL objects and Parquet rows.
    filters: of `scaling.corpus.filters`, in this order.
    exact: drop exact duplicates. near: drop near duplicates at this Jaccard similarity.
    decontaminate: drop training documents that share an n-gram of these many words with validation.
    max_bad: share of documents that may be unreadable before the build is refused.
    shard_bytes: text in a shard, about.
    """

    inputs: tuple[str, ...]
    name: str
    validation_inputs: tuple[str, ...] = ()
    validation_fraction: float = 0.0
    text_field: str = "text"
    filters: tuple[str, ...] = ()
    exact: bool = False
    near: float | None = None
    decontaminate: int | None = None
    max_bad: float = 0.01
    shard_bytes: int = 256 * 2**20

    def validate(self) -> None:
        self.require(bool(self.inputs), "inputs", "a folder, a file or a glob at least")
        self.require(re.fullmatch(r"[a-z][a-z0-9_]*", self.name) is not None, "name",
                     "lower-case letters, digits and '_', as TFDS wants them")
        self.require(0 <= self.validation_fraction <= 0.5, "validation_fraction", "a number in [0, 0.5]")
        self.require(not (self.validation_inputs and self.validation_fraction), "validation_fraction",
                     "0 where validation has inputs of its own")
        for name in self.filters:
            if name not in FILTERS:
                raise UserError(f"BuildConfig.filters: no filter {name!r}{did_you_mean(name, FILTERS)}")
        self.require(self.near is None or 0 < self.near < 1, "near", "a similarity in (0, 1)")
        words = self.decontaminate
        self.require(words is None or words >= 1, "decontaminate", "a number of words")
        if self.decontaminate is not None and not (self.validation_inputs or self.validation_fraction):
            raise self.refuse("decontaminate", "None without a validation split")
        self.require(0 <= self.max_bad <= 1, "max_bad", "a share in [0, 1]")
        self.require(self.shard_bytes >= 1, "shard_bytes", "a number of bytes")
