"""Any dataset that TFDS has prepared, or can prepare, as a source of documents; no TensorFlow needed.

Both file formats are read from their shards in order, so a bucket gives one shard at a time.
"""

import contextlib
import difflib
import importlib.util
import io
import itertools
import json
import pathlib
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

from etils import epath

from scaling.data.corpus_config import TfdsConfig
from scaling.errors import UserError

BUCKETS = {"gs": "gcsfs", "s3": "s3fs", "az": "adlfs"}  # what fsspec opens them with
EXTRAS = {"h5py": "data", "importlib_resources": "data", "gcsfs": "data", "tensorflow": "tf"}


class TfdsSource:
    """Documents of one or two splits: `train:12` is the thirteenth of the training split.

    Where validation has a split of its own, its documents come first: a copy among the training
    documents is then the one that is dropped.
    """

    unlisted: Sequence[str] = ()

    def __init__(self, config: TfdsConfig, builder: Any) -> None:
        self.origin = f"TFDS {builder.info.full_name} in {builder.data_path}"
        self._builder, self._text = builder, config.text
        self._splits = {"train": config.train_split}
        if config.validation_split is not None:
            self._splits = {"validation": config.validation_split, **self._splits}
        self.has_validation = config.validation_split is not None
        self._infos = {split: self._info(split, name) for split, name in self._splits.items()}
        features = builder.info.features
        if self._text not in (features or {}):
            known = ", ".join(sorted(features or ()))
            raise config.refuse("text", f"one of the features of {config.dataset}: {known}")
        self._forward: dict[str, _Forward] = {}

    def ids(self) -> Sequence[str]:
        return [
            f"{split}:{i}" for split, info in self._infos.items() for i in range(info.num_examples)
        ]

    def read(self, document_id: str) -> bytes:
        split, index = document_id.split(":")
        if split not in self._forward:
            self._forward[split] = _Forward(self._builder.info, self._infos[split])
        example = self._builder.info.features.deserialize_example_np(
            self._forward[split].record(int(index))
        )
        text = example[self._text]
        return text.encode() if isinstance(text, str) else bytes(text)

    def fingerprint(self) -> str:
        told = [
            [split, self._splits[split], info.num_examples,
             [[str(f.filename), f.skip, f.take] for f in info.file_instructions]]
            for split, info in self._infos.items()
        ]
        written = (epath.Path(self._builder.data_path) / "dataset_info.json").read_text()
        return json.dumps([told, written, self._text])

    def _info(self, split: str, name: str) -> Any:
        splits = self._builder.info.splits
        try:
            info = splits[name]
            if info.num_examples:
                return info
            found = "holds no documents"
        except (KeyError, ValueError) as error:
            found = str(error).split("\n")[0].strip("'\"") or "no such split"
        raise UserError(
            f"TfdsConfig.{split}_split = {name!r}: {found}; {self._builder.info.full_name} has"
            f" {', '.join(sorted(splits))}, and slices of them as 'train[:10%]'"
        )


class _Forward:
    """Records of a split in order; one that lies behind starts again from the first shard."""

    def __init__(self, info: Any, split: Any) -> None:
        self._array_records = info.file_format.value == "array_record"
        self._shards = split.file_instructions
        self._next, self._records = 0, self._all()

    def record(self, index: int) -> bytes:
        if index < self._next:
            self._next, self._records = 0, self._all()
        record = next(itertools.islice(self._records, index - self._next, None))
        self._next = index + 1
        return record

    def _all(self) -> Iterator[bytes]:
        for shard in self._shards:
            stop = shard.examples_in_shard if shard.take == -1 else shard.skip + shard.take
            with _local(str(shard.filename)) as path:
                try:
                    yield from self._of_shard(path, shard.skip, stop)
                except (ValueError, RuntimeError, OSError) as error:
                    raise UserError(f"{shard.filename}: damaged or cut short: {error}") from None

    def _of_shard(self, path: str, start: int, stop: int) -> Iterator[bytes]:
        import grain

        if self._array_records:
            with grain.sources.ArrayRecordDataSource([path]) as records:
                yield from (records[i] for i in range(start, stop))
        else:
            records = iter(grain.experimental.TFRecordIterDataset(path))
            n = 0
            for record in itertools.islice(records, start, stop):
                n += 1
                yield record
            if n < stop - start:
                raise ValueError(f"{n} records, {stop - start} expected")


@contextlib.contextmanager
def _local(path: str) -> Iterator[str]:
    """`path`, or a copy for as long as it is read where it lies in a bucket."""
    if "://" not in path:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        here = pathlib.Path(folder, pathlib.PurePosixPath(path).name)
        epath.Path(path).copy(here)
        yield str(here)


def open_tfds(config: TfdsConfig) -> TfdsSource:
    """The dataset as it is prepared in `data_dir`; one that TFDS knows is prepared there first.

    Raises `UserError` for a name that does not exist (with the nearest that does), for a package that
    is missing (with the extra that brings it), or where it cannot be prepared here.
    """
    _check_bucket(config)
    import tensorflow_datasets as tfds

    folder = tfds.core.constants.DATA_DIR if config.data_dir is None else config.data_dir
    try:
        return TfdsSource(config, _opened(config))
    except tfds.core.DatasetNotFoundError:
        pass
    except ValueError:  # its message is a page
        raise config.refuse("dataset", "name, name/config or name/config:1.2.3") from None
    except OSError as error:
        first = str(error).strip().split("\n")[0]
        raise config.refuse("data_dir", f"a folder or bucket that can be read: {first}") from None
    name = config.dataset.split("/")[0].split(":")[0]
    there = _prepared_in(epath.Path(folder))
    if prepared := there.get(name):
        raise config.refuse("dataset", f"what {folder} holds of it: {', '.join(prepared)}")
    if name not in (known := _known_names() | set(there)):
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
        here = f"; {folder} holds {', '.join(sorted(there)) or 'no dataset'}"
        raise UserError(
            f"TfdsConfig.dataset = {config.dataset!r}: TFDS has no such dataset"
            + (f"; did you mean {near[0]!r}?" if near else here)
        )
    _prepare(config)
    return TfdsSource(config, _opened(config))


def _check_bucket(config: TfdsConfig) -> None:
    """Raises `UserError` for an address of no kind that can be read, or read here."""
    kind, address, _ = str(config.data_dir).partition("://")
    if not address:
        return
    if kind not in BUCKETS:
        known = " or ".join(f"{known}://" for known in BUCKETS)
        raise config.refuse("data_dir", f"a folder, or a bucket: {known}")
    import fsspec

    try:
        fsspec.get_filesystem_class(kind)
    except ImportError:
        raise _missing(config, BUCKETS[kind]) from None


def _opened(config: TfdsConfig) -> Any:
    from tensorflow_datasets.core import read_only_builder

    # it tells on stdout where it looked
    with contextlib.redirect_stdout(io.StringIO()):
        return read_only_builder.builder_from_files(config.dataset, data_dir=config.data_dir)


def _prepare(config: TfdsConfig) -> None:
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            builder = tfds.builder(config.dataset, data_dir=config.data_dir, file_format="array_record")
            builder.download_and_prepare()
    except ImportError as error:
        raise _missing(config, (error.name or str(error)).split(".")[0]) from None
    except tfds.core.DatasetNotFoundError:
        # TFDS says so too of a dataset whose code it could not import
        if not importlib.util.find_spec("h5py"):
            raise _missing(config, "h5py") from None
        raise config.refuse("dataset", "a config and a version that TFDS has") from None
    except Exception as error:  # whatever a download, a server or a parser raises
        first = str(error).strip().split("\n")[0]
        raise UserError(
            f"{config.dataset} is not prepared in {config.data_dir or 'the TFDS folder'}, and preparing it"
            f" failed: {type(error).__name__}: {first}; name the data_dir of a prepared copy"
        ) from None


def _missing(config: TfdsConfig, module: str) -> UserError:
    module = next((name for name in EXTRAS if name in module), module)
    extra = EXTRAS.get(module)
    package = f"'scaling[{extra}]'" if extra else module
    return UserError(
        f"TfdsConfig.dataset = {config.dataset!r}: needs the package {module}; pip install {package}"
    )


def _known_names() -> set[str]:
    """Datasets that TFDS knows by name, those among them whose code wants packages that are missing."""
    import tensorflow_datasets as tfds

    package = pathlib.Path(tfds.__file__).parent
    inside = [p for p in package.glob("*/*") if p.parent.name not in ("core", "scripts", "testing")]
    names = {p.stem for p in inside if p.suffix in ("", ".py", ".txt") and not p.name.startswith("_")}
    return set(tfds.list_builders(with_community_datasets=False)) | {n for n in names if "test" not in n}


def _prepared_in(folder: epath.Path) -> dict[str, list[str]]:
    """Name of each dataset in a folder -> its configs and versions."""
    if not folder.is_dir():
        return {}
    found: dict[str, list[str]] = {}
    for dataset in sorted(p for p in folder.iterdir() if p.is_dir()):
        infos = itertools.chain(dataset.glob("*/dataset_info.json"), dataset.glob("*/*/dataset_info.json"))
        for info in sorted(str(p.parent) for p in infos):
            *config, version = pathlib.PurePosixPath(info).relative_to(str(dataset)).parts
            found.setdefault(dataset.name, []).append("/".join([dataset.name, *config]) + f":{version}")
    return found
