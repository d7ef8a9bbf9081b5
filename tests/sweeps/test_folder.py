import json

import pytest

from scaling.errors import UserError
from scaling.gin_config import load_study
from scaling.gin_text import to_gin
from scaling.sweeps.folder import PLAN_FILE, read_study, write_plan
from scaling.sweeps.plan import plan_runs
from scaling.sweeps.status import read_entries


@pytest.fixture(scope="module")
def study():
    return load_study("sweeps/demo.gin").config


@pytest.fixture(scope="module")
def runs(study):
    return plan_runs(study, 10**12)


def contents(root) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.iterdir() if path.is_file()}


def test_a_plan_is_read_back_as_it_was_written(tmp_path, study, runs):
    root = tmp_path / "new" / "sweep"
    write_plan(root, study, to_gin(study), runs)
    assert sorted(contents(root)) == ["plan.jsonl", "study.gin", "study.json"]
    assert read_study(root) == study
    assert load_study(str(root / "study.gin")).config == study
    assert [e["run_id"] for e in read_entries(root)] == [r.experiment.run_id for r in runs]
    assert read_entries(root) == [json.loads(json.dumps(run.to_json())) for run in runs]


def test_the_same_plan_again_changes_nothing(tmp_path, study, runs):
    write_plan(tmp_path / "s", study, to_gin(study), runs)
    before = contents(tmp_path / "s")
    (tmp_path / "s" / "runs").mkdir()
    write_plan(tmp_path / "s", study, "other text", runs)
    assert contents(tmp_path / "s") == before


@pytest.mark.parametrize("change", [lambda runs: runs[1:], lambda runs: runs[::-1]])
def test_a_folder_of_another_plan_is_refused_and_untouched(tmp_path, study, runs, change):
    write_plan(tmp_path / "s", study, to_gin(study), runs)
    before = contents(tmp_path / "s")
    with pytest.raises(UserError, match="belongs to another plan"):
        write_plan(tmp_path / "s", study, to_gin(study), change(runs))
    assert contents(tmp_path / "s") == before


def test_a_folder_of_something_else_is_refused_and_untouched(tmp_path, study, runs):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="is not empty and holds no plan"):
        write_plan(tmp_path, study, to_gin(study), runs)
    assert contents(tmp_path) == {"thesis.tex": b"years of work"}
    with pytest.raises(UserError, match="thesis.tex"):
        write_plan(tmp_path / "thesis.tex", study, to_gin(study), runs)
    with pytest.raises(UserError, match="thesis.tex"):
        write_plan(tmp_path / "thesis.tex" / "deeper", study, to_gin(study), runs)


def test_an_empty_folder_is_fine(tmp_path, study, runs):
    write_plan(tmp_path, study, to_gin(study), runs)
    assert (tmp_path / PLAN_FILE).exists()


@pytest.mark.parametrize("left", [["study.json"], ["study.json", "study.gin"], []])
def test_a_plan_whose_writing_was_killed_can_be_made_again(tmp_path, study, runs, left):
    """plan.jsonl comes last; whatever stands before it belongs to the same study."""
    write_plan(tmp_path / "whole", study, to_gin(study), runs)
    whole, root = contents(tmp_path / "whole"), tmp_path / "killed"
    root.mkdir()
    for name in left:
        (root / name).write_bytes(whole[name])
    (root / ".plan.jsonl.0123.tmp").write_text("{half a li")
    write_plan(root, study, to_gin(study), runs)
    assert {name: contents(root)[name] for name in whole} == whole


def test_the_rest_of_another_study_is_not_overwritten(tmp_path, study, runs):
    other = json.dumps(study.replace(name="other").to_json())
    (tmp_path / "study.json").write_text(other)
    with pytest.raises(UserError, match="is not empty and holds no plan"):
        write_plan(tmp_path, study, to_gin(study), runs)
    assert (tmp_path / "study.json").read_text() == other


def test_a_folder_without_a_study_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match="scaling plan"):
        read_study(tmp_path)
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        read_study(tmp_path)
    (tmp_path / "study.json").write_text('{"nam": "x"}')
    with pytest.raises(UserError, match="did you mean 'name'"):
        read_study(tmp_path)
