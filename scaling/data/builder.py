"""A corpus as a TFDS dataset: written as ArrayRecord, read without TensorFlow."""

import contextlib
import errno
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow_datasets as tfds
from etils import epath


class Documents(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """One example a document, in the order of the corpus: `{"id": bytes, "text": UTF-8 bytes}`.

    splits: split name -> function that yields (id, text).
    """

    VERSION = tfds.core.Version("1.0.0")
    # else TFDS looks for a file of checksums beside this module, by a package it does not require
    url_infos: dict[str, Any] = {}

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


def write_documents(
    folder: epath.PathLike, splits: Mapping[str, Callable[[], Iterable[tuple[str, str]]]]
) -> None:
    """Prepares `Documents` under `folder` as ArrayRecord, in silence.

    Raises `OSError` where the disk is full.
    """
    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):  # it announces itself on stdout
        builder = Documents(splits=splits, data_dir=folder, file_format="array_record")
        try:
            builder.download_and_prepare()
        except RuntimeError as error:  # ArrayRecord's way to report what the disk refuses
            for code in (errno.ENOSPC, errno.EDQUOT):
                if os.strerror(code) in str(error):
                    raise OSError(code, os.strerror(code), str(folder)) from error
            raise


def open_documents(folder: epath.PathLike, split: str) -> Sequence[dict[str, Any]]:
    """Random access to a split that `write_documents` left, wherever the folder has moved to."""
    prepared = epath.Path(folder) / Documents.name / str(Documents.VERSION)
    return tfds.builder_from_directory(prepared).as_data_source(split)
