"""Where packed training rows lie: in one array if they fit, else in ArrayRecord files."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

IN_MEMORY_BYTES = 64 * 2**20  # of text; at most 256 MiB of int32 tokens, a quarter of it for BPE

_ARRAY_FILE = "train.npy"


class TrainRows(Protocol):
    """Random access to rows, each int32 [sequence_length + 1]."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> np.ndarray: ...

    def __getitems__(self, indices: Sequence[int]) -> Sequence[np.ndarray]: ...


class ArrayRows:
    """Rows held in memory. array: int32 [n_rows, sequence_length + 1]."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.array[index]

    def __getitems__(self, indices: Sequence[int]) -> np.ndarray:
        return self.array[np.asarray(indices)]


class RecordRows:
    """Rows read from ArrayRecord as they are asked for."""

    def __init__(self, examples: Sequence[dict]) -> None:
        self._examples = examples

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> np.ndarray:
        return self._examples[index]["tokens"].astype(np.int32)

    def __getitems__(self, indices: Sequence[int]) -> list[np.ndarray]:
        examples = self._examples.__getitems__(indices)
        return [example["tokens"].astype(np.int32) for example in examples]


def write_rows(
    folder: Path, blocks: Iterable[np.ndarray], sequence_length: int, n_bytes: int
) -> None:
    """Stores blocks of rows (uint16) under `folder`, the way their `n_bytes` of text suggest."""
    if n_bytes <= IN_MEMORY_BYTES:
        empty = np.empty((0, sequence_length + 1), np.uint16)
        np.save(folder / _ARRAY_FILE, np.concatenate([empty, *blocks]))
        return
    from scaling.data import builder  # slow to import, and needed for large corpora only

    builder.write(builder.Rows, folder, blocks=blocks, sequence_length=sequence_length)


def open_rows(folder: Path) -> TrainRows:
    """What `write_rows` left under `folder`."""
    if (folder / _ARRAY_FILE).exists():
        return ArrayRows(np.load(folder / _ARRAY_FILE).astype(np.int32))
    from scaling.data import builder

    return RecordRows(builder.read(builder.Rows, folder, "train"))
