"""The two TFDS datasets, written as ArrayRecord and read without TensorFlow."""

import contextlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from etils import epath


class _Local(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A builder of ours: nothing is downloaded, and it is not in TFDS's list by name."""

    VERSION = tfds.core.Version("1.0.0")
    # else TFDS looks for a file of checksums beside this module, by a package it does not require
    url_infos: dict[str, Any] = {}


class Documents(_Local, skip_registration=True):
    """One example a document, in the order of the corpus: `{"id": bytes, "text": UTF-8 bytes}`.

    splits: split name -> function that yields (id, text).
    """

    def __init__(self, *, splits: Mapping[str, Callable[[], Iterable[tuple[str, str]]]], **kwargs):
        self._splits = splits
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        features = {"id": tfds.features.Text(), "text": tfds.features.Text()}
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        return {name: self._generate_examples(read) for name, read in self._splits.items()}

    def _generate_examples(self, read: Callable[[], Iterable[tuple[str, str]]]) -> Iterator:
        for index, (document_id, text) in enumerate(read()):
            yield index, {"id": document_id, "text": text}


class Rows(_Local, skip_registration=True):
    """One example a packed row, in the order of the stream: `{"tokens": [sequence_length + 1]}`.

    blocks: yields arrays [n, sequence_length + 1] of uint16.
    """

    def __init__(self, *, blocks: Iterable[np.ndarray], sequence_length: int, **kwargs):
        self._blocks = blocks
        self._sequence_length = sequence_length
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        tokens = tfds.features.Tensor(shape=(self._sequence_length + 1,), dtype=np.uint16)
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict({"tokens": tokens}),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator:
        index = 0
        for block in self._blocks:
            for row in block:
                yield index, {"tokens": row}
                index += 1


def write(builder: type[_Local], folder: epath.PathLike, **kwargs) -> None:
    """Prepares `builder` under `folder` as ArrayRecord, in silence."""
    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):  # it announces itself on stdout
        builder(data_dir=folder, file_format="array_record", **kwargs).download_and_prepare()


def read(
    builder: type[_Local], folder: epath.PathLike, split: str
) -> Sequence[dict[str, Any]]:
    """Random access to a split that `write` left under `folder`, wherever that has moved to."""
    prepared = epath.Path(folder) / builder.name / str(builder.VERSION)
    return tfds.builder_from_directory(prepared).as_data_source(split)
