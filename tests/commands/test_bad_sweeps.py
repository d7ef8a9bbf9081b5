"""Sweeps that cannot go on as they are: one clear line, and nothing that is there already is touched."""

import contextlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from scaling.cli import main
from scaling.results import write_record
from scaling.sweeps.status import read_entries
from scaling.sweeps.worker import failed_record


@pytest.fixture
def folder(planned, tmp_path) -> Path:
    """A copy of the toy study's plan, in which one run is done."""
    root = Path(shutil.copytree(planned, tmp_path / "sweep"))
    entry = read_entries(root)[0]
    write_record(root / "runs" / entry["run_id"], failed_record(entry, "out of luck", 1.0))
    return root


@pytest.fixture
def refused(capsys):
    def call(*arguments: object) -> str:
        capsys.readouterr()
        status = main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        assert (status, out) == (2, ""), err
        (line,) = err.splitlines()
        return line

    return call


def written(folder: Path) -> dict[Path, tuple[int, bytes | None]]:
    return {p: (p.stat().st_mtime_ns, p.read_bytes() if p.is_file() else None) for p in folder.rglob("*")}


def edit(root: Path, change) -> None:
    entries = read_entries(root)
    change(entries[2])
    (root / "plan.jsonl").write_text("".join(json.dumps(e) + "\n" for e in entries))


@pytest.mark.parametrize("change", [
    lambda e: e["experiment"].update(n_steps=1), lambda e: e["experiment"]["optimizer"].update(epsilon=1.0),
    lambda e: e["tags"].update(budget=1e30), lambda e: e["train_flops"].update(exact=1.0),
    lambda e: e.update(run_id="../../elsewhere"), lambda e: e["n_params"].update(mlp=1),
])
def test_a_plan_edited_by_hand(folder, refused, change):
    edit(folder, change)
    before = written(folder)
    assert "edited by hand" in refused("sweep", folder, "--workers", 1)
    assert written(folder) == before


@pytest.mark.parametrize("change", [
    lambda e: e.update(experiment="x"), lambda e: e.update(train_flops={}), lambda e: e.pop("tags"),
    lambda e: e.update(train_flops={"exact": "many"}), lambda e: e.update(run_id=7),
])
@pytest.mark.parametrize("command", ["sweep", "status"])
def test_a_plan_whose_lines_are_no_runs(folder, refused, change, command):
    edit(folder, change)
    before = written(folder)
    assert "entry 3 is no run of a plan" in refused(command, folder)
    assert written(folder) == before


@pytest.mark.parametrize("command", [
    ["sweep", "--workers", "1"], ["status"], ["fit", "--bootstrap", "10"], ["report"],
])
def test_a_record_of_a_newer_schema(folder, refused, command):
    (path,) = folder.glob("runs/*/record.json")
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "schema_version": record["schema_version"] + 1}))
    before = written(folder)
    line = refused(command[0], folder, *command[1:])
    assert "schema version" in line and "update the program" in line and str(path) in line
    after = written(folder)
    assert {p: after[p] for p in before if p.is_file()} == {p: before[p] for p in before if p.is_file()}
    assert not list(folder.glob("runs/*/claim.*"))


@contextlib.contextmanager
def powerless():
    """As a user who may not write what this one made."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(sys.platform != "linux", reason="needs seteuid and Linux's rules")
def test_a_folder_that_cannot_be_written(folder, refused, study_gin):
    with tempfile.TemporaryDirectory() as open_to_all:  # pytest's own folders let nobody else in
        root = Path(shutil.copytree(folder, Path(open_to_all) / "sweep"))
        os.chmod(open_to_all, 0o755)
        for path in (root, *root.rglob("*")):
            os.chmod(path, 0o555 if path.is_dir() else 0o444)
        before = written(root)
        with powerless():
            line = refused("sweep", root, "--workers", 1)
        assert "cannot write" in line and "permission denied" in line and str(root) in line
        assert written(root) == before
        for path in (root, *root.rglob("*")):
            os.chmod(path, 0o755)


@pytest.mark.parametrize("options, words", [
    (["--launcher", "slurm"], "no sbatch here"),
    (["--launcher", "tpu"], "missing --tpu-zone"),
    (["--launcher", "ray", "--ray-address", "127.0.0.1:x"], "host:port"),
    (["--slurm-gpus", "1"], "use --launcher slurm"),
    (["--launcher", "slurm", "--slurm-time", "soon"], "SlurmConfig.time"),
    (["--launcher", "tpu", "--workers", "3"], "--tpu-slices"),
    (["--launcher-config", "nowhere.gin"], "nowhere.gin"),
])
def test_an_engine_that_cannot_be_used(folder, refused, monkeypatch, tmp_path, options, words):
    monkeypatch.setenv("PATH", str(tmp_path))
    before = written(folder)
    assert words in refused("sweep", folder, *options)
    assert written(folder) == before


@pytest.mark.parametrize("command", [
    ["plan", "sweeps/demo.gin", "--out"], ["sweep", "sweeps/demo.gin", "--out"],
    ["sweep"], ["status"], ["report"],
])
def test_a_sweep_in_a_bucket(refused, monkeypatch, tmp_path, command):
    monkeypatch.chdir(tmp_path)
    assert "claim runs with hard links" in refused(*command, "gs://bucket/sweep")
    assert not list(tmp_path.iterdir())


def test_an_engines_gin_file(folder, refused, tmp_path):
    file = tmp_path / "engine.gin"
    file.write_text("SlurmConfig.partition = 'gpu'\nSlurmConfig.gpus = -1\n")
    line = refused("sweep", folder, "--launcher", "slurm", "--launcher-config", file)
    assert "SlurmConfig.gpus = -1" in line and "engine.gin:2" in line
    file.write_text("RayConfig.cpus = 1.0\n")
    line = refused("sweep", folder, "--launcher", "slurm", "--launcher-config", file)
    assert "configures nothing" in line
