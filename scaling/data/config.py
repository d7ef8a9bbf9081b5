"""What a run's data is: which corpus, which tokenizer, which rows."""

import dataclasses
from typing import Literal

from scaling.config import Config

BYTE_VOCAB_SIZE = 257  # 256 bytes and BOS
MAX_SEED = 2**32 - 1  # grain's limit


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorpusConfig(Config):
    """Where documents come from and how they are divided.

    name: `sotu` (State of the Union addresses, English, 12 MB), `python_source` (this
        interpreter's standard library and installed packages: it changes when they do) or
        `text_folder` (every UTF-8 file under `path`).
    path: the folder, for `text_folder` only.
    validation_fraction: of the text's bytes, held out as whole documents; in (0, 0.5].
    seed: of the choice of documents that are held out.
    """

    name: Literal["sotu", "python_source", "text_folder"] = "sotu"
    path: str | None = None
    validation_fraction: float = 0.05
    seed: int = 0

    def validate(self) -> None:
        if self.name == "text_folder":
            self.require(bool(self.path), "path", "a folder of text files, for name='text_folder'")
        else:
            self.require(self.path is None, "path", f"None; {self.name!r} takes no path")
        self.require(
            0 < self.validation_fraction <= 0.5, "validation_fraction", "a number in (0, 0.5]"
        )
        self.require(0 <= self.seed <= MAX_SEED, "seed", f"an integer in 0..{MAX_SEED}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenizerConfig(Config):
    """How text becomes tokens.

    kind: `bpe` and `unigram` are SentencePiece models with byte fallback, trained on the
        training split; `byte` needs no training and fixes `vocab_size` at 257.
    vocab_size: of the whole vocabulary, control tokens and the 256 bytes included. The smallest
        one possible depends on the corpus (256 + 2 + its alphabet, about 350 for English); a
        corpus that is too small for a vocabulary is refused when the tokenizer is trained.
    n_sentinels: control tokens of `vocab_size` that no text contains, for objectives that hide
        tokens (see `scaling.objectives`). Give models that are to be compared equally many.
    """

    kind: Literal["bpe", "unigram", "byte"] = "bpe"
    vocab_size: int = 1024
    n_sentinels: int = 0

    def validate(self) -> None:
        self.require(0 <= self.n_sentinels <= 1000, "n_sentinels", "an integer in 0..1000")
        if self.kind == "byte":
            self.require(
                self.vocab_size == BYTE_VOCAB_SIZE + self.n_sentinels,
                "vocab_size",
                f"{BYTE_VOCAB_SIZE + self.n_sentinels} for kind='byte' (256 bytes, BOS and"
                f" {self.n_sentinels} sentinels)",
            )
        else:
            self.require(256 <= self.vocab_size <= 32768, "vocab_size", "an integer in 256..32768")

    @property
    def sentinel_ids(self) -> tuple[int, ...]:
        """After the byte tokenizer's 257 ids; SentencePiece's unknown and BOS come before them."""
        first = BYTE_VOCAB_SIZE if self.kind == "byte" else 2
        return tuple(range(first, first + self.n_sentinels))


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig(Config):
    """Rows of a corpus under a tokenizer.

    sequence_length: targets per row; a row holds one token more.
    validation_rows: size of the fixed validation set, spread evenly over the held-out documents.
    """

    corpus: CorpusConfig = CorpusConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    sequence_length: int = 64
    validation_rows: int = 1024

    def validate(self) -> None:
        self.require(self.sequence_length >= 1, "sequence_length", "an integer >= 1")
        self.require(self.validation_rows >= 2, "validation_rows", "an integer >= 2 (a standard"
                     " error needs two)")
