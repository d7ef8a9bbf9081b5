"""TFDS datasets by name: prepared here, in both file formats, and what is wrong in one line."""

import builtins
import struct
import sys

import fsspec
import pytest
import tensorflow_datasets as tfds
from fsspec.implementations.memory import MemoryFileSystem

from scaling.data import DataConfig, TfdsConfig, TokenizerConfig, prepare
from scaling.data.documents import read_documents
from scaling.data.tfds_source import open_tfds
from scaling.errors import UserError

TEXTS = {
    "train": [f"training document {i}\n" * 40 for i in range(20)] + ["validation document 1\n" * 40],
    "validation": [f"validation document {i}\n" * 40 for i in range(4)],
}
FEATURES = {"text": tfds.features.Text(), "title": tfds.features.Text()}


class ScalingLetters(tfds.core.GeneratorBasedBuilder):
    """Registered with TFDS by being defined, as any dataset is."""

    VERSION = tfds.core.Version("1.2.0")
    url_infos: dict = {}

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(FEATURES), disable_shuffling=True
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(texts) for split, texts in TEXTS.items()}

    def _generate_examples(self, texts):
        for i, text in enumerate(texts):
            yield i, {"text": text, "title": str(i)}


def write_tfrecords(data_dir) -> None:
    """The same dataset in two shards of TFRecord, as a bucket of TFDS holds them."""
    folder = data_dir / "scaling_records" / "1.0.0"
    folder.mkdir(parents=True)
    template = tfds.core.ShardedFileTemplate(
        data_dir=folder, dataset_name="scaling_records", filetype_suffix="tfrecord",
        template="{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
    )
    features = tfds.features.FeaturesDict(FEATURES)
    infos = []
    for split, texts in TEXTS.items():
        records = [features.serialize_example({"text": t, "title": "x"}) for t in texts]
        shards = [records[:3], records[3:]]
        for i, shard in enumerate(shards):
            with open(folder / f"scaling_records-{split}.tfrecord-0000{i}-of-00002", "wb") as file:
                for record in shard:
                    file.write(struct.pack("<QI", len(record), 0) + record + struct.pack("<I", 0))
        infos.append(tfds.core.SplitInfo(
            name=split, shard_lengths=[len(s) for s in shards], num_bytes=sum(map(len, records)),
            filename_template=template.replace(split=split),
        ))
    tfds.folder_dataset.write_metadata(
        data_dir=folder, features=features, split_infos=infos, filename_template=template, check_data=False
    )


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("datasets")
    write_tfrecords(folder)
    return folder


def config_of(data_dir, dataset: str, **changes) -> TfdsConfig:
    values = {"dataset": dataset, "data_dir": str(data_dir), "validation_split": "validation"}
    return TfdsConfig(**values | changes)


def prepared(corpus: TfdsConfig, cache) -> tuple[dict, dict]:
    """Documents by split, and the manifest."""
    byte = TokenizerConfig(kind="byte", vocab_size=257)
    data = prepare(
        DataConfig(corpus=corpus, tokenizer=byte, sequence_length=16, validation_rows=20), cache
    )
    (folder,) = (cache / "documents").glob(f"{corpus.name}-*")
    return {s: list(read_documents(folder, s)) for s in ("train", "validation")}, data.manifest


@pytest.mark.parametrize("dataset", ["scaling_letters:1.2.0", "scaling_records"])
def test_a_dataset_by_name_is_read_without_tensorflow(dataset, data_dir, tmp_path, monkeypatch):
    """The first is prepared by its registered code on the way, as ArrayRecord; the second is TFRecord."""
    imported = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == "tensorflow":
            raise ModuleNotFoundError(name="tensorflow")
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    documents, manifest = prepared(config_of(data_dir, dataset), tmp_path)
    assert documents == {"train": TEXTS["train"][:-1], "validation": TEXTS["validation"]}
    assert manifest["duplicates"] == ["train:20 = validation:1"], "the training copy is dropped"


@pytest.fixture
def bucket(data_dir, monkeypatch):
    """The same folder in a bucket that is kept in memory, opened as those of S3 are."""

    class Bucket(MemoryFileSystem):
        protocol, store, pseudo_dirs = "s3", {}, [""]

        @classmethod
        def _strip_protocol(cls, path):
            return super()._strip_protocol(path.replace("s3://", "memory://"))

    monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, "s3", Bucket)
    fsspec.filesystem("s3").put(str(data_dir), "/bucket/datasets", recursive=True)
    return "s3://bucket/datasets"


def test_a_bucket_is_read_a_shard_at_a_time(bucket, tmp_path):
    documents, _ = prepared(config_of(bucket, "scaling_records"), tmp_path)
    assert documents == {"train": TEXTS["train"][:-1], "validation": TEXTS["validation"]}
    assert "did you mean 'scaling_records'?" in refused(config_of(bucket, "scaling_recrods"))
    assert "holds of it: scaling_records:1.0.0" in refused(config_of(bucket, "scaling_records:2.0.0"))


def test_slices_and_held_out_documents(data_dir, tmp_path):
    config = config_of(data_dir, "scaling_records", train_split="train[2:10]", validation_split=None)
    documents, _ = prepared(config.replace(validation_fraction=0.25), tmp_path)
    assert sorted(documents["train"] + documents["validation"]) == sorted(TEXTS["train"][2:10])
    assert len(documents["validation"]) == 2


def refused(config: TfdsConfig) -> str:
    with pytest.raises(UserError) as error:
        open_tfds(config)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_mistakes_are_one_line_that_offers_what_is_valid(data_dir, monkeypatch):
    assert "did you mean 'wiki40b'?" in refused(config_of(data_dir, "wiki4ob/en"))
    assert "did you mean 'scaling_records'?" in refused(config_of(data_dir, "scaling_record"))
    assert "holds of it: scaling_records:1.0.0" in refused(config_of(data_dir, "scaling_records:3.0.0"))
    assert "has train, validation" in refused(config_of(data_dir, "scaling_records", train_split="trian"))
    assert "features of scaling_records: text, title" in refused(
        config_of(data_dir, "scaling_records", text="body")
    )
    assert "TfdsConfig.dataset" in refused(config_of(data_dir, "c4/en:x.y"))
    assert "expected a folder, or a bucket: gs:// or s3:// or az://" in refused(config_of("http://x", "c4"))
    for package in ("gcsfs", "s3fs"):
        monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    assert "needs the package gcsfs; pip install 'scaling[data]'" in refused(config_of("gs://b", "c4"))
    assert "needs the package s3fs; pip install s3fs" in refused(config_of("s3://b", "c4"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    unprepared = refused(config_of(data_dir, "wiki40b/en"))
    assert "needs the package h5py; pip install 'scaling[data]'" in unprepared


def test_a_shard_that_was_cut_short_is_named(data_dir, tmp_path):
    import shutil

    copy = shutil.copytree(data_dir, tmp_path / "copy")
    shard = copy / "scaling_records/1.0.0/scaling_records-train.tfrecord-00001-of-00002"
    shard.write_bytes(shard.read_bytes()[:-30])
    source = open_tfds(config_of(copy, "scaling_records"))
    with pytest.raises(UserError, match="00001-of-00002: damaged or cut short"):
        [source.read(i) for i in source.ids()]
