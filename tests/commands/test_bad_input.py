"""Mistakes of the user: exit status 2, one clear line, nothing written."""

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from scaling.cli import main

QUICK = ["--bootstrap", "10"]
WITH_C = "n_params,n_tokens,loss,train_flops\n1e6,2e7,4,6e13\n2e6,2e7,3.7,2.4e14\n4e6,8e7,3.5,1.92e15\n"
CSV = "n_params,n_tokens,loss\n1e6,2e7,4.0\n2e6,4e7,3.7\n4e6,8e7,3.5\n8e6,1.6e8,3.3\n"


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys) -> Callable[..., str]:
    """Calls the command in an empty folder; returns its complaint. The folder must stay empty."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def call(*arguments: object) -> str:
        capsys.readouterr()
        status = main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        lines = err.splitlines()
        assert status == 2, err
        assert "Traceback" not in err and out == ""
        assert [line for line in lines if line.startswith("scaling: ")] == lines[-1:], err
        assert list(here.iterdir()) == []
        return lines[-1]

    return call


def written(folder: Path) -> dict[Path, tuple[int, bytes | None]]:
    """Everything below a folder: times and contents."""
    return {
        p: (p.stat().st_mtime_ns, p.read_bytes() if p.is_file() else None)
        for p in folder.rglob("*")
    }


@pytest.mark.parametrize(
    "binding, words",
    [
        ("AdamWConfig.learning_rat = 0.1", "learning_rate"),
        ("AdamConfig.learning_rate = 0.1", "AdamWConfig"),
        ("Experiment.n_step = 3", "n_steps"),
        ("DecoderConfig.vocab_size = %VOCAB", "VOCAB"),
        ("VOCAB_SIZE = 300", "configures nothing"),
        ("vocab_size = 300", "UPPER_CASE"),
        ("proxy/DecoderConfig.d_model = 64", "configures nothing"),
        ("Ladder.head_size = 4", "configures nothing"),
        ("Experiment.n_steps = 'many'", "an integer"),
        ("Experiment.n_steps = 3.5", "an integer"),
        ("Experiment.n_steps = True", "an integer"),
        ("Experiment.n_steps = 0", "at least 1"),
        ("Experiment.seed = -1", "seed"),
        ("Experiment.name = 'a/b'", "name"),
        ("Experiment.model = None", "model"),
        ("Experiment.model = 7", "model"),
        ("Experiment.model = @TokenizerConfig()", "model"),
        ("Experiment.model = @DecoderConfg()", "DecoderConfig"),
        ("AdamWConfig.learning_rate = '0.1'", "number"),
        ("AdamWConfig.learning_rate = -0.1", "above 0"),
        ("ScheduleConfig.shape = 'cosin'", "cosine"),
        ("DecoderConfig.n_heads = 3", "divisor of d_model"),
        ("DecoderConfig.n_heads = 8", "even head size"),
        ("DecoderConfig.n_heads = 0", "at least 1"),
        ("DecoderConfig.vocab_size = 300", "257"),
        ("TokenizerConfig.vocab_size = 300", "257"),
        ("CorpusConfig.validation_fraction = 1.5", "validation_fraction"),
        ("CorpusConfig.name = 'sotuu'", "sotu"),
        ("DataConfig.sequence_length = 0", "sequence_length"),
        ("Experiment.n_steps", "="),
        ("Experiment.n_steps = ", "binding 1"),
        ("Experiment.n_steps = (3", "binding 1"),
        ("import os", "Class.field=value"),
        ("include 'nowhere.gin'", "="),
        ("", "expected"),
    ],
)
@pytest.mark.parametrize("command", ["train", "explain"])
def test_bindings(refused, experiment_gin, command, binding, words):
    assert words in refused(command, experiment_gin, "-b", binding)


def variant(experiment_gin: str, tmp_path: Path, text: str) -> Path:
    path = tmp_path / "variant.gin"
    path.write_text(Path(experiment_gin).read_text() + text)
    return path


@pytest.mark.parametrize(
    "content, words",
    [
        (None, "no config file"),
        (b"", "without a default"),
        (b"\xff\xfe\x00binary", "text"),
        (b"Experiment.n_steps = = 3", "variant.gin"),
        (b"include 'models/decodr.gin'", "decoder.gin"),
        (b"import os", "imports nothing"),
        (b"{\"name\": \"run\"}", "variant.gin"),
    ],
)
@pytest.mark.parametrize("command", ["train", "explain", "plan"])
def test_gin_files(refused, tmp_path, monkeypatch, command, content, words):
    if content is not None:
        (tmp_path / "variant.gin").write_bytes(content)
    elsewhere = ["--out", "out"] if command == "plan" else []
    assert words in refused(command, tmp_path / "variant.gin", *elsewhere)


def test_a_file_that_includes_itself(refused, tmp_path):
    path = tmp_path / "variant.gin"
    path.write_text(f"include '{path}'\n")
    assert "includes itself" in refused("train", path)


def test_a_folder_is_no_config(refused, tmp_path):
    for command in (["train"], ["explain"], ["plan", "--out", "out"]):
        refused(*command, tmp_path)


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"7", b'{"name": "x"}', b"\xff\x00"])
def test_experiments_as_json(refused, tmp_path, content):
    path = tmp_path / "experiment.json"
    if content is not None:
        path.write_bytes(content)
    assert "experiment.json" in refused("train", path)


def test_a_json_experiment_takes_no_bindings(refused, experiment_gin, tmp_path):
    assert "-b" in refused("train", tmp_path / "experiment.json", "-b", "Experiment.n_steps = 3")


def corpus_of(tmp_path: Path, **files: bytes) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    "files, words",
    [
        ({}, "corpus"),
        ({"a": b"\0\1\2" * 100, "b": b"\xff\xfe\xfd" * 100}, "not usable as text"),
        ({"a": b"", "b": b"  \n"}, "not usable as text"),
        ({"a": b"the only document"}, "at least 2 documents"),
        ({"a": b"twice", "b": b"twice"}, "at least 2 documents"),
        ({"a": b"tiny", "b": b"text"}, "validation_rows"),
    ],
    ids=["empty", "binary", "blank", "one", "duplicates", "tiny"],
)
@pytest.mark.parametrize("command", ["train", "plan"])
def test_text_folders(refused, experiment_gin, study_gin, tmp_path, command, files, words):
    folder = corpus_of(tmp_path, **files)
    gin = experiment_gin if command == "train" else study_gin
    out = ["--out", "out"] if command == "plan" else []
    assert words in refused(command, gin, *out, "-b", f"CorpusConfig.path = '{folder}'")


def test_a_missing_text_folder(refused, experiment_gin, tmp_path):
    missing = tmp_path / "missing"
    assert str(missing) in refused("train", experiment_gin, "-b", f"CorpusConfig.path = '{missing}'")


def test_a_vocabulary_larger_than_the_corpus_supports(refused, experiment_gin):
    large = ["-b", "TokenizerConfig.kind = 'bpe'", "-b", "TokenizerConfig.vocab_size = 32000",
             "-b", "DecoderConfig.vocab_size = 32000"]
    assert "at most" in refused("train", experiment_gin, *large)


@pytest.mark.parametrize("mesh", ["nonsense", "data", "data=", "data=x", "data=0", "data=-2",
                                  "dta=2", "data=2,,fsdp=x", "data=1.5", "data=1000", "data=²"])
def test_meshes(refused, experiment_gin, mesh):
    assert "mesh" in refused("train", experiment_gin, "--mesh", mesh).lower()


def test_run_folders(refused, experiment_gin, tmp_path):
    file = tmp_path / "file"
    file.write_text("mine\n")
    for folder in (file, file / "below", file / "below" / "deep"):
        assert "cannot write" in refused("train", experiment_gin, "--run-dir", folder)
    assert file.read_text() == "mine\n"
    nowhere = tmp_path / "link"
    nowhere.symlink_to("/proc/nowhere")  # where not even root makes folders
    assert "cannot be made" in refused("train", experiment_gin, "--run-dir", nowhere / "run")


def test_a_folder_of_another_experiment(refused, experiment_gin, tmp_path):
    run_dir = tmp_path / "run"
    assert main(["train", experiment_gin, "--run-dir", str(run_dir)]) == 0
    before = written(run_dir)
    other = ["-b", "Experiment.seed = 1"]
    assert "holds the run small-" in refused("train", experiment_gin, *other, "--run-dir", run_dir)
    assert written(run_dir) == before
    (run_dir / "experiment.json").write_text("{")
    assert "not JSON" in refused("train", experiment_gin, "--run-dir", run_dir)


@pytest.mark.parametrize(
    "binding, words",
    [
        ("IsoFlop.budgets = (1e6,)", "a profile needs 3"),
        ("IsoFlop.budgets = ()", "at least one budget"),
        ("IsoFlop.budgets = (0.0, 1e9)", "above 0"),
        ("IsoFlop.budgets = (1e9, 1e9)", "apart"),
        ("IsoFlop.budgets = 1e9", "a list"),
        ("IsoFlop.budgets = ('1e9',)", "number"),
        ("IsoFlop.d_models = (8, 13, 16)", "even"),
        ("IsoFlop.d_models = (8, 12)", "a profile needs 3"),
        ("IsoFlop.max_epochs = 0.01", "max_epochs"),
        ("IsoFlop.min_tokens_per_param = 5000.0", "min_tokens_per_param"),
        ("IsoFlop.seeds = 0", "seeds"),
        ("Ladder.head_sze = 4", "head_size"),
        ("Experiment.n_steps = 3", "configures nothing in a study"),
        ("AdamWConfig.learning_rate = 0.1", "configures nothing in a study"),
        ("Study.name = 'a b'", "name"),
    ],
)
def test_studies(refused, study_gin, binding, words):
    plan = ("plan", study_gin, "--out", "out", "--no-calibration", "-b", binding)
    assert words in refused(*plan)


def test_a_budget_too_small_for_its_smallest_model(refused, study_gin):
    bindings = ["-b", "IsoFlop.budgets = (1.3e6,)", "-b", "IsoFlop.min_tokens_per_param = 0.0"]
    line = refused("plan", study_gin, "--out", "out", *bindings)
    assert "too small for width 4" in line and "least budget" in line


def test_an_experiment_is_no_study_and_a_study_no_experiment(refused, experiment_gin, study_gin):
    refused("plan", experiment_gin, "--out", "out")
    for command in ("train", "profile", "coord-check", "explain"):
        assert "is a study" in refused(command, study_gin)


@pytest.mark.parametrize(("words", "complaint"), [
    (("--seconds", "0"), "--seconds 0.0: expected a positive number"),
    (("--seconds", "nan"), "--seconds nan"),
    (("--mesh", "data=3"), "needs 3 devices"),
    (("--out", "/proc/there"), "no file can be made in it"),
])
def test_profile(refused, experiment_gin, words, complaint):
    assert complaint in refused("profile", experiment_gin, *words)


def test_a_step_too_large_for_any_machine(refused, experiment_gin):
    """Scores of 18 terabytes: the line names what would need less."""
    bindings = ("-b", "Experiment.batch_size=4", "-b", "DataConfig.sequence_length=1048576")
    line = refused("profile", experiment_gin, *bindings)
    assert "small does not fit: " in line and "DecoderConfig.remat='dots' |" in line
    assert line.endswith("-b DecoderConfig.remat='full' --mesh microbatches=2")


@pytest.mark.parametrize("workers", ["0", "-1"])
def test_a_sweep_needs_workers(refused, study_gin, planned, workers):
    before = written(planned)
    assert "--workers" in refused("plan", study_gin, "--out", "out", "--workers", workers)
    assert "--workers" in refused("sweep", study_gin, "--out", "out", "--workers", workers)
    assert "--workers" in refused("sweep", planned, "--workers", workers)
    assert written(planned) == before


def test_a_folder_of_another_plan(refused, study_gin, planned):
    before = written(planned)
    other = ["-b", "Ladder.learning_rate = 0.03", "--no-calibration"]
    assert "another plan" in refused("plan", study_gin, "--out", planned, *other)
    other = ["-b", "IsoFlop.budgets = (3e8,)"]
    assert "another plan" in refused("sweep", study_gin, "--out", planned, *other)
    assert written(planned) == before


def test_a_folder_of_something_else(refused, study_gin, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "holiday.jpg").write_bytes(b"\xff\xd8")
    before = written(folder)
    plan = ["plan", study_gin, "--no-calibration", "--out"]
    assert "choose another folder" in refused(*plan, folder)
    assert "choose another folder" in refused(*plan, folder / "holiday.jpg")
    assert "cannot write" in refused(*plan, folder / "holiday.jpg" / "below")
    assert written(folder) == before


@pytest.mark.parametrize("command", ["sweep", "status", "fit", "report"])
def test_folders_without_a_sweep(refused, tmp_path, command):
    empty, file = tmp_path / "empty", tmp_path / "file"
    empty.mkdir()
    file.write_bytes(b"\0")
    for where in (tmp_path / "missing", empty, file, file / "below"):
        assert str(where) in refused(command, where)
    assert list(empty.iterdir()) == []


def test_a_seal_of_a_table_names_no_run_for_a_sweep(refused, planned, runs_csv, tmp_path):
    seal = str(tmp_path / "table.json")
    assert main(["forecast", str(runs_csv), "--flops", "1e20", "--seal", seal, *QUICK]) == 0
    assert "no experiment to run" in refused("sweep", planned, "--sealed", seal)
    assert "within 1% of both" in refused("verify", seal, runs_csv)


def test_verify_needs_a_seal_and_a_sweep(refused, tmp_path, planned):
    for content in (None, "", "{", "[]", "{}", '{"sha256": "0"}', '{"sha256": 1, "sha256": 2}'):
        seal = tmp_path / "seal.json"
        if content is not None:
            seal.write_text(content)
        assert "seal" in refused("verify", seal, planned)
        assert "seal" in refused("sweep", planned, "--sealed", seal)
    assert "seal" in refused("verify", tmp_path, planned)
    assert "seal" in refused("verify", planned / "plan.jsonl" / "below", planned)


@pytest.mark.parametrize("command", [["fit"], ["forecast", "--flops", "1e20"]])
def test_a_sweep_without_records_cannot_be_fitted(refused, planned, command):
    before = written(planned)
    assert "no run has finished yet" in refused(*command, planned, *QUICK)
    assert written(planned) == before


def test_a_sealed_forecast_of_a_sweep_needs_records(refused, planned):
    assert "no run has finished yet" in refused(
        "forecast", planned, "--flops", "1e20", "--seal", "seal.json", *QUICK
    )


@pytest.mark.parametrize(
    "content, words",
    [
        (None, "cannot read"),
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"\0\1\2\xff" * 50, "binary"),
        (b"\x89PNG\r\n", "binary"),
        (b"n_params,n_tokens,loss\n", "no rows"),
        (b"n_params,n_tokens,loss\n1e6,2e7,4.0\n", "runs.csv"),
        (b"params,n_tokens,loss\n1e6,2e7,4.0\n", "n_params"),
        (b"n_params,n_tokens,los\n1e6,2e7,4.0\n", "loss"),
        (CSV.replace("3.7", "many").encode(), "row 2"),
        (CSV.replace("3.7", "nan").encode(), "row 2"),
        (CSV.replace("3.7", "").encode(), "row 2"),
        (CSV.replace("3.7", "-1").encode(), "row 2"),
        (CSV.replace("3.7", "inf").encode(), "row 2"),
        (CSV.replace("4e7", "0").encode(), "row 2"),
        (b'{"n_params": 1}', "JSON"),
        (CSV.replace("3.7", "1e400").encode(), "row 2, column loss"),
        (CSV.replace("2e6", '"2,000,000"').encode(), "row 2, column n_params"),
        (CSV.replace("2e6", "2M").encode(), "2e6"),
        (CSV.replace("3.7", "3.7,9").encode(), "row 2 has 4 fields"),
        (CSV.replace(",3.7", "").encode(), "row 2 has 2 fields"),
        (CSV.replace("3.7", '"3.7').encode(), "row 2"),
        (CSV.replace("n_tokens", "loss").encode(), "two columns are named loss"),
        (CSV.replace("n_tokens", "N_tokens").encode(), "did you mean 'N_tokens'"),
        (CSV.replace(",", ";").encode(), "semicolons"),
        (CSV.replace(",", "\t").encode(), "tabs"),
        (CSV.split("\n", 1)[1].encode(), "the first line holds numbers"),
        (WITH_C.replace("2e6", "2").encode(), "mixed conventions or units"),
        (WITH_C.replace("2.4e14", "-4e14").encode(), "row 2, column train_flops"),
        (gzip.compress(CSV.encode(), mtime=0), "gzip"),
        (CSV.encode("utf-16"), "UTF-16"),
        (b"PK\x03\x04", "Excel"),
    ],
)
@pytest.mark.parametrize("command", [["fit"], ["forecast", "--flops", "1e20"]])
def test_tables_of_runs(refused, tmp_path, command, content, words):
    path = tmp_path / "runs.csv"
    if content is not None:
        path.write_bytes(content)
    assert words in refused(*command, path, *QUICK)


@pytest.mark.parametrize(
    "options, words",
    [
        (["--bootstrap", "1"], "bootstrap"),
        (["--bootstrap", "-5"], "bootstrap"),
        (["--level", "2"], "level"),
        (["--level", "0"], "level"),
        (["--level", "nan"], "level"),
        (["--seed", "-1"], "seed"),
        (["--params-convention", "some"], "convention"),
        (["--delta", "0"], "delta"),
        (["--delta", "nan"], "delta"),
    ],
)
@pytest.mark.parametrize("command", [["fit"], ["forecast", "--flops", "1e20"]])
def test_options_of_fits(refused, runs_csv, command, options, words):
    assert words in refused(*command, runs_csv, *QUICK, *options)


@pytest.mark.parametrize("option", ["--where", "--drop"])
@pytest.mark.parametrize(
    "expression, words",
    [
        ("los > 5", "did you mean 'loss'"),
        ("loss >", "not an expression"),
        ("loss = 5", "write == to compare"),
        ("loss", "neither true nor false"),
        ("loss > 'high'", "only numbers are ordered"),
        ("__import__('os').getcwd() == ''", "no function"),
        ("", "empty expression"),
    ],
)
@pytest.mark.parametrize("command", [["fit"], ["forecast", "--flops", "1e20"]])
def test_conditions_on_rows(refused, runs_csv, command, option, expression, words):
    assert words in refused(*command, runs_csv, option, expression, *QUICK)


@pytest.mark.parametrize("condition", [["--where", "loss > 1e9"], ["--drop", "loss > 0"]])
def test_conditions_that_leave_no_row(refused, runs_csv, condition):
    assert "no row of 15 is left" in refused("fit", runs_csv, *condition, *QUICK)


@pytest.mark.parametrize(
    "options, words",
    [
        ([], "flops"),
        (["--flops=-1e20"], "positive"),
        (["--flops", "0"], "positive"),
        (["--flops", "nan"], "positive"),
        (["--flops", "inf"], "positive"),
        (["--params", "1e9"], "n_tokens"),
        (["--tokens", "1e9"], "n_params"),
        (["--params", "nan", "--tokens", "1e9"], "positive"),
    ],
)
def test_what_to_forecast(refused, runs_csv, options, words):
    assert words in refused("forecast", runs_csv, *QUICK, *options, "--seal", "seal.json")


def edited(planned: Path, folder: Path, change: Callable[[list[str]], list[str]]) -> Path:
    """A copy of a planned folder whose plan.jsonl was changed by hand."""
    folder.mkdir()
    for file in planned.iterdir():
        if file.is_file():
            (folder / file.name).write_bytes(file.read_bytes())
    lines = (folder / "plan.jsonl").read_text().splitlines()
    (folder / "plan.jsonl").write_text("\n".join(change(lines)) + "\n")
    return folder


def with_entry(line: str, *path: str, value) -> str:
    entry = json.loads(line)
    inner = entry
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return json.dumps(entry)


EDITS = {
    "another learning rate": lambda lines: [
        with_entry(lines[0], "experiment", "optimizer", "learning_rate", value=1.0), *lines[1:]
    ],
    "an impossible shape": lambda lines: [
        *lines[:-1], with_entry(lines[-1], "experiment", "model", "n_heads", value=3)
    ],
    "another run id": lambda lines: [with_entry(lines[0], "run_id", value="mine"), *lines[1:]],
    "a lost field": lambda lines: [json.dumps({"run_id": "r"}), *lines[1:]],
    "a number": lambda lines: ["7", *lines],
    "half a line": lambda lines: [*lines[:-1], lines[-1][:100]],
    "nothing": lambda lines: [],
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_plan_edited_by_hand_trains_nothing(refused, planned, tmp_path, edit):
    folder = edited(planned, tmp_path / "sweep", EDITS[edit])
    before = written(folder)
    refused("sweep", folder)
    assert written(folder) == before


def test_a_sweep_of_a_folder_takes_no_other_folder(refused, planned, tmp_path):
    """It would be ignored, or worse, used instead."""
    assert "--out" in refused("sweep", planned, "--out", tmp_path / "other")
    assert "-b" in refused("sweep", planned, "-b", "Ladder.learning_rate = 0.1")
    assert "--out" in refused("sweep", "toy.gin")


def test_a_report_goes_where_it_can(refused, planned, tmp_path):
    file = tmp_path / "file"
    file.write_text("mine\n")
    assert "cannot write" in refused("report", planned, "--out", file / "report.html")
    assert "cannot write" in refused("report", planned, "--out", tmp_path)
    assert not (planned / "report.html").exists()


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["train", "missing.gin"], "no config file"),
        (["plan", "missing.gin", "--out", "out"], "no config file"),
        (["status", "missing"], "no sweep here"),
        (["fit", "missing.csv"], "cannot read"),
        (["report", "missing"], "no sweep here"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_as_a_process(scaling_process, tmp_path, arguments, words):
    done = scaling_process(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("scaling: ") and words in line
    assert os.listdir(tmp_path) == []


def test_fit_without_runs_says_what_to_give(refused):
    assert "--list" in refused("fit")
