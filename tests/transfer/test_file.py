"""The transfer file: what it was tuned for, and what it refuses."""

import json

import pytest

from scaling.data import DataConfig, TokenizerConfig
from scaling.errors import UserError
from scaling.optim import AdamWConfig, LionConfig, ScheduleConfig
from scaling.transfer.file import check_fresh, find_transfer, read_transfer, write_transfer


@pytest.fixture(scope="module")
def transfer(synthetic):
    return synthetic.tune(synthetic.make_study())


@pytest.fixture
def path(transfer, tmp_path):
    return write_transfer(tmp_path, transfer)


def test_it_is_read_as_it_was_written(transfer, path, tmp_path):
    assert read_transfer(path) == transfer and find_transfer(tmp_path) == path
    before = path.read_bytes()
    write_transfer(tmp_path, transfer)  # the same again changes nothing
    assert path.read_bytes() == before
    assert transfer.rules_from(path).source == f"transfer-1.json {transfer.content_hash[:12]}"


def test_a_version_is_never_overwritten_and_the_newest_is_found(transfer, path, tmp_path):
    with pytest.raises(UserError, match="holds another result"):
        write_transfer(tmp_path, transfer.replace(noise=2 * transfer.noise + 1))
    for version in (2, 10):
        newest = write_transfer(tmp_path, transfer.replace(version=version))
    assert find_transfer(tmp_path) == newest and newest.name == "transfer-10.json"


@pytest.mark.parametrize("field, value", [("noise", 0.5), ("table_hash", "0" * 12), ("version", 7)])
def test_an_edited_file_is_refused(path, field, value):
    body = json.loads(path.read_text())
    path.write_text(json.dumps(body | {field: value}))
    with pytest.raises(UserError, match="edited by hand or damaged"):
        read_transfer(path)


@pytest.mark.parametrize(
    "text, words", [("{", "not JSON"), ("{}", "no transfer file"), ("[]", "no transfer file")]
)
def test_other_files_are_refused(path, text, words):
    path.write_text(text)
    with pytest.raises(UserError, match=words):
        read_transfer(path)


def test_a_folder_without_one_says_how_to_make_it(tmp_path):
    with pytest.raises(UserError, match="no transfer file here; make one with scaling transfer tune"):
        find_transfer(tmp_path)


def test_the_same_family_is_fresh(transfer, path):
    base = transfer.base
    bigger = base.replace(
        model=base.model.replace(d_model=256, n_heads=4, n_layers=6, d_ff=512), n_steps=1000, batch_size=4,
        optimizer=base.optimizer.replace(learning_rate=0.5, weight_decay=0.0),
    )
    check_fresh(path, transfer, bigger, transfer.data_hash)


def stale(transfer, path, data_hash=None, **changes) -> str:
    with pytest.raises(UserError) as error:
        check_fresh(path, transfer, transfer.base.replace(**changes), data_hash)
    assert "is stale" in str(error.value) and str(path) in str(error.value)
    return str(error.value)


def test_another_table_is_stale(transfer, path):
    base = transfer.base.parametrization
    said = stale(transfer, path, parametrization=base.replace(name="standard"))
    assert "(mup)" in said and "(standard)" in said
    stale(transfer, path, parametrization=base.replace(embedding_lr=2.0))
    stale(transfer, path, parametrization=base.replace(base_d_model=64))


def test_another_optimizer_schedule_or_model_is_stale(transfer, path):
    assert "b2" in stale(transfer, path, optimizer=AdamWConfig(b2=0.5))
    assert "LionConfig" in stale(transfer, path, optimizer=LionConfig())
    assert "shape" in stale(transfer, path, schedule=ScheduleConfig(shape="cosine"))
    model = transfer.base.model
    assert "qk_norm = False, not True" in stale(transfer, path, model=model.replace(qk_norm=True))
    other = DataConfig(tokenizer=TokenizerConfig(vocab_size=512))
    assert "vocab_size" in stale(transfer, path, model=model.replace(vocab_size=512), data=other)


def test_another_objective_is_stale(transfer, path):
    assert "Experiment.objective = 'causal_lm', not 'prefix_lm'" in stale(
        transfer, path, objective="prefix_lm"
    )


def test_other_data_are_stale(transfer, path):
    assert "tuned on the data dddd" in stale(transfer, path, "e" * 32)
