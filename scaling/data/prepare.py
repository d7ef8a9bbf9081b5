"""From a data config to rows of tokens, each stage built once and kept in a cache.

    documents/<corpus>-<hash of the listing>   TFDS dataset of two splits, manifest.json
    tokenizers/<hash>/                         tokenizer.model
    rows/<content hash>/                       train.u16, validation.npy, manifest.json
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
from etils import epath

from scaling.config import content_hash
from scaling.data import corpora
from scaling.data.cache import build_once
from scaling.data.config import CorpusConfig, DataConfig, TokenizerConfig
from scaling.data.packing import Packer, spread_evenly
from scaling.data.rows import Rows, open_rows, write_rows
from scaling.data.sources import Source, open_source
from scaling.data.tokenizer import (
    ByteTokenizer,
    SentencePieceTokenizer,
    Tokenizer,
    train_sentencepiece,
)
from scaling.errors import UserError
from scaling.results.cache_folder import cache_root
from scaling.results.files import write_atomically

FORMAT = 1  # raise it when the same config would give other rows
ENCODED_AT_ONCE = 4 * 2**20  # bytes of text

Log = Callable[[str], None]


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedData:
    """A corpus as tokens.

    token_bytes: int32 [vocab_size], the UTF-8 bytes of text each token stands for; 0 for control
        tokens. Summed over targets it gives the bytes that bits per byte divides by.
    train_rows: each int32 [sequence_length + 1], in the order of the corpus.
    validation_rows: int32 [validation_rows, sequence_length + 1].
    n_train_tokens: targets in one epoch.
    manifest: what went in: documents, bytes, tokens and rows of each split, what was left out and
        why, and `content_hash` of all that determines the rows.
    """

    vocab_size: int
    bos_id: int
    token_bytes: np.ndarray
    train_rows: Rows
    validation_rows: np.ndarray
    n_train_tokens: int
    manifest: dict[str, Any]
    tokenizer: Tokenizer


def prepare(
    config: DataConfig, cache_dir: epath.PathLike | None = None, log: Log = lambda line: None
) -> PreparedData:
    """Builds what the cache lacks and opens the rest.

    Any number of processes may call it at once, and any of them may be killed.

    Args:
      config: the data.
      cache_dir: a local folder; by default `$SCALING_CACHE`, else `~/.cache/scaling`.
      log: called with one line before each slow step.

    Raises:
      UserError: the corpus cannot be read, is too small for the vocabulary or the validation
        set, or the disk is full.
    """
    root = cache_root(cache_dir)
    documents = _documents(config.corpus, root, log)
    manifest = _read_manifest(documents)
    tokenizer = _tokenizer(config.tokenizer, documents, root, log)
    identity = content_hash(
        {
            "format": FORMAT,
            "text": {name: split["text_hash"] for name, split in manifest["splits"].items()},
            "tokenizer": tokenizer.digest,
            "sequence_length": config.sequence_length,
            "validation_rows": config.validation_rows,
        },
        digits=32,
    )
    rows = root / "rows" / identity
    build_once(rows, lambda folder: _build_rows(config, documents, tokenizer, folder, log))
    counts = _read_manifest(rows)
    train_rows = open_rows(rows / "train.u16", config.sequence_length)
    return PreparedData(
        vocab_size=tokenizer.vocab_size,
        bos_id=tokenizer.bos_id,
        token_bytes=tokenizer.token_bytes,
        train_rows=train_rows,
        validation_rows=np.load(rows / "validation.npy").astype(np.int32),
        n_train_tokens=len(train_rows) * config.sequence_length,
        manifest={
            **manifest,
            "splits": {s: manifest["splits"][s] | counts[s] for s in ("train", "validation")},
            "tokenizer": {**config.tokenizer.to_json(), "digest": tokenizer.digest},
            "sequence_length": config.sequence_length,
            "content_hash": identity,
        },
        tokenizer=tokenizer,
    )


def _documents(config: CorpusConfig, root: Path, log: Log) -> Path:
    source = open_source(config)
    identity = content_hash(
        {"format": FORMAT, "corpus": config.to_json(), "listing": source.fingerprint()}
    )
    folder = root / "documents" / f"{config.name}-{identity}"
    build_once(folder, lambda temporary: _build_documents(source, config, temporary, log))
    return folder


def _build_documents(source: Source, config: CorpusConfig, folder: Path, log: Log) -> None:
    log(f"reading {source.origin}")
    found = corpora.scan(source)
    splits = corpora.split(found.kept, config)
    from scaling.data import builder  # TFDS is slow to import, and a warm cache needs none of it

    # bound per split: a generator must not see the loop variable of another
    readers = {
        name: (lambda documents=documents: _texts(source, documents))
        for name, documents in splits.items()
    }
    builder.write_documents(folder, readers)
    _write_manifest(folder, corpora.documents_manifest(source, config, found, splits))


def _texts(
    source: Source, documents: Sequence[corpora.DocumentKey]
) -> Iterator[tuple[str, str]]:
    for document in documents:
        text = corpora.read_text(source, document.id)
        if hashlib.sha256(text.encode()).hexdigest() != document.digest:
            raise UserError(f"{source.origin}: {document.id} changed while it was read; try again")
        yield document.id, text


def read_documents(folder: Path, split: corpora.Split) -> Iterator[str]:
    """Texts of a split in the order of the corpus, from a folder of the cache's `documents`."""
    from scaling.data import builder

    examples = builder.open_documents(folder, split)
    for index in range(len(examples)):
        yield examples[index]["text"].decode()


def _tokenizer(config: TokenizerConfig, documents: Path, root: Path, log: Log) -> Tokenizer:
    if config.kind == "byte":
        return ByteTokenizer(config.n_sentinels)
    train = _read_manifest(documents)["splits"]["train"]
    identity = content_hash(
        {
            "format": FORMAT,
            "tokenizer": config.to_json(),
            "text": train["text_hash"],
            "sentencepiece": sentencepiece.__version__,
        }
    )

    def build(folder: Path) -> None:
        log(f"training the tokenizer: {config.kind}, {config.vocab_size} tokens")
        texts = read_documents(documents, "train")
        model = train_sentencepiece(config, texts, train["bytes"])
        (folder / "tokenizer.model").write_bytes(model)

    folder = root / "tokenizers" / identity
    build_once(folder, build)
    return SentencePieceTokenizer((folder / "tokenizer.model").read_bytes())


def _build_rows(
    config: DataConfig, documents: Path, tokenizer: Tokenizer, folder: Path, log: Log
) -> None:
    splits = _read_manifest(documents)["splits"]
    log(f"tokenising {sum(s['bytes'] for s in splits.values()) / 1e6:.1f} MB of text")
    held_out = Packer(config.sequence_length, tokenizer.bos_id)
    blocks = list(held_out.rows(_encoded(tokenizer, read_documents(documents, "validation"))))
    if held_out.n_rows < config.validation_rows:
        raise config.refuse(
            "validation_rows",
            f"at most {held_out.n_rows}, the rows of {config.sequence_length} tokens in the"
            " held-out documents; or a larger CorpusConfig.validation_fraction",
        )
    chosen = spread_evenly(config.validation_rows, held_out.n_rows)
    np.save(folder / "validation.npy", np.concatenate(blocks)[chosen])

    train = Packer(config.sequence_length, tokenizer.bos_id)
    encoded = _encoded(tokenizer, read_documents(documents, "train"))
    write_rows(folder / "train.u16", train.rows(encoded))
    if train.n_rows == 0:
        raise config.refuse(
            "sequence_length",
            f"at most {train.n_tokens - 1}, the tokens in the training documents",
        )
    _write_manifest(folder, {"train": _counts(train), "validation": _counts(held_out)})


def _encoded(tokenizer: Tokenizer, texts: Iterator[str]) -> Iterator[list[int]]:
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= ENCODED_AT_ONCE:
            yield from tokenizer.encode_all(batch)
            batch, size = [], 0
    yield from tokenizer.encode_all(batch)


def _counts(packer: Packer) -> dict[str, int]:
    return {
        "tokens": packer.n_tokens,
        "rows": packer.n_rows,
        "tokens_dropped": packer.n_dropped,
    }


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    write_atomically(folder / "manifest.json", json.dumps(manifest, indent=1) + "\n")


def _read_manifest(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())
