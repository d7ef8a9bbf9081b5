"""Cloud TPU: the exact commands, and their order when all goes well and when it does not."""

import dataclasses
import io
import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from scaling.errors import UserError
from scaling.sweeps.launchers import tpu
from scaling.sweeps.launchers.tpu import TpuConfig
from scaling.sweeps.launchers.tpu_commands import _LEFT_OUT, Commands
from scaling.sweeps.worker import failed_record

WHERE = ["--zone=us-central1-a", "--project=p"]


@pytest.fixture
def config(tmp_path: Path) -> TpuConfig:
    wheel = tmp_path / "scaling-1-py3-none-any.whl"
    wheel.touch()
    return TpuConfig(zone="us-central1-a", project="p", accelerator_type="v5litepod-8",
                     runtime_version="v2-alpha-tpuv5-lite", bucket="gs://b/s", wheel=str(wheel), name="q")


def test_commands_as_documented(config, job):
    commands = Commands(config.replace(spot=True, valid_until="6h", service_account="a@b"), job)
    queued = ["gcloud", "compute", "tpus", "queued-resources"]
    assert commands.create("q-0") == [
        *queued, "create", "q-0", "--node-id=q-0", *WHERE, "--accelerator-type=v5litepod-8",
        "--runtime-version=v2-alpha-tpuv5-lite", "--spot", "--valid-until-duration=6h",
        "--service-account=a@b", "--quiet"]
    assert commands.state("q-0") == [*queued, "describe", "q-0", *WHERE, "--format=value(state.state)"]
    assert commands.delete("q-0") == [*queued, "delete", "q-0", *WHERE, "--force", "--quiet"]
    run = commands.run("q-0", 1, 3, 8)
    assert run[:9] == ["gcloud", "compute", "tpus", "tpu-vm", "ssh", "q-0", *WHERE, "--worker=1"]
    assert "supervise scaling-sweep --workers 4 --devices tpu --name tpu-q-0-1 --shard 3/8" in run[-1]
    cp, up = commands.upload()
    assert cp == ["gcloud", "storage", "cp", config.wheel, "gs://b/s/wheel/scaling-1-py3-none-any.whl"]
    assert up[:4] == ["gcloud", "storage", "rsync", "--recursive"]
    assert up[-2:] == [str(job.root), "gs://b/s/sweep"] == commands.collect()[-2:][::-1]


def test_what_is_left_out_of_the_bucket():
    left_out = re.compile(_LEFT_OUT)
    for path in ("runs/r/claim.0", "runs/r/claim.1.released", "runs/r/.record.json.ab12.tmp",
                 "runs/r/checkpoints/5.orbax-checkpoint-tmp-1/x"):
        assert left_out.match(path), path
    for path in ("plan.jsonl", "runs/r/record.json", "runs/r/checkpoints/5/d/x", "runs/r/metrics.jsonl"):
        assert not left_out.match(path), path


def test_host_scripts_are_bash_and_quote_what_is_the_users(config, job):
    odd = config.replace(bucket="gs://b/$(touch pwned) 'x", wheel="/tmp/a; b.whl")
    commands = Commands(odd, job)
    for command in (commands.install("q-0"), commands.run("q-0", 0, 0, 1), commands.stop("q-0")):
        script = command[-1].removeprefix("--command=")
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
        words = shlex.split(script.replace("(", " ").replace(")", " "))
        assert "pwned" not in words and "pwned;" not in words


@pytest.fixture
def host(programs, tmp_path, monkeypatch):
    """Makes this machine a TPU host, whose Python runs a line of bash."""
    def make(line: str) -> None:
        programs.answer("gcloud")
        monkeypatch.setenv("HOME", str(tmp_path))
        python = tmp_path / "scaling-venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(f"#!/bin/bash\n{line}\n")
        python.chmod(0o755)

    return make


def test_a_host_keeps_its_bucket_up_to_date(config, job, programs, host):
    host("exit 143")
    script = Commands(config, job).run("q-0", 0, 0, 1)[-1].removeprefix("--command=")
    done = subprocess.run(["bash", "-c", script])
    assert done.returncode == 143
    assert [call[-2:] for call in programs.calls()] == [
        ["gs://b/s/sweep", "scaling-sweep"], ["scaling-sweep", "gs://b/s/sweep"]]


# Answers like gcloud; records of the hosts' shares appear in the sweep when it is collected.
GCLOUD = """
import pathlib, shutil
words, text = sys.argv[1:], " ".join(sys.argv[1:])
here = pathlib.Path({here!r})
failing = (here / "failing").read_text().split("\\n") if (here / "failing").exists() else []
if any(f and f in text for f in failing):
    sys.exit("ERROR: (gcloud) " + "quota exceeded")
if "value(state.state)" in text:
    print((here / "state").read_text() if (here / "state").exists() else "ACTIVE")
elif "networkEndpoints" in text:
    print(2)
elif "supervise" in text:
    shard = text.partition("--shard ")[2].split()[0]
    (here / "finished").open("a").write(shard.split("/")[0] + "\\n")
elif words[:2] == ["storage", "rsync"] and words[-1] == {root!r} and (here / "finished").exists():
    for host in (here / "finished").read_text().split():
        for record in sorted((here / "records").iterdir())[int(host)::2]:
            (pathlib.Path({root!r}) / "runs" / record.stem).mkdir(parents=True, exist_ok=True)
            shutil.copy(record, pathlib.Path({root!r}) / "runs" / record.stem / "record.json")
"""


@pytest.fixture
def cloud(job, programs, tmp_path, monkeypatch):
    """A folder that steers a `gcloud` of two hosts: files `failing` and `state`."""
    here = tmp_path / "cloud"
    (here / "records").mkdir(parents=True)
    for entry in job.entries:
        record = dataclasses.replace(failed_record(entry, "", 0.1), status="ok", reason=None)
        (here / "records" / f"{entry['run_id']}.json").write_text(json.dumps(record.to_json()))
    programs.answer("gcloud", GCLOUD.format(here=str(here), root=str(job.root)))
    monkeypatch.setattr(tpu, "_WAIT_SECONDS", 0.05)
    monkeypatch.setattr("scaling.sweeps.launchers.watch._SETTLE_SECONDS", 0.0)
    return here


def launched(config, job) -> tuple[int, str]:
    output = io.StringIO()
    return config.launch(job, Console(file=output, width=200)), output.getvalue()


def verbs(programs) -> list[str]:
    """What gcloud was called for, in order, a `describe` as often as it came as one."""
    words = ("cp", "create", "describe", "ssh", "delete", "rsync")
    calls = [next(word for word in words if word in call) for call in programs.calls()]
    return [verb for i, verb in enumerate(calls) if i == 0 or verb != calls[i - 1]]


def test_all_goes_well(config, job, programs, cloud):
    config = config.replace(execute=True)
    config.check()
    assert launched(config, job)[0] == 0
    assert job.is_done()
    assert verbs(programs) == ["cp", "rsync", "create", "describe", "ssh", "rsync", "delete"]
    runs = [call[-1] for call in programs.calls() if "supervise" in call[-1]]
    shards = [run.partition("--shard ")[2].split()[0] for run in runs]
    assert sorted(shards) == ["0/2", "1/2"]


def test_by_default_nothing_is_run(config, job, programs, cloud):
    config.check()
    status, output = launched(config, job)
    assert status == 0 and programs.calls() == []
    assert "queued-resources create q-0" in output and "queued-resources delete q-0" in output


@pytest.mark.parametrize("failing", ["queued-resources create", "count", "value(state.state)", "uv venv"])
def test_whatever_fails_what_was_asked_for_is_deleted(config, job, programs, cloud, failing):
    (cloud / "failing").write_text({"count": "networkEndpoints"}.get(failing, failing))
    with pytest.raises(UserError, match="quota exceeded"):
        launched(config.replace(execute=True), job)
    assert Commands(config, job).delete("q-0") in programs.calls()


@pytest.mark.parametrize("state", ["FAILED", "SUSPENDED"])
def test_a_slice_that_never_comes_is_deleted(config, job, programs, cloud, state):
    (cloud / "state").write_text(state)
    with pytest.raises(UserError, match=f"q-0 is {state}"):
        launched(config.replace(execute=True), job)
    assert verbs(programs)[-1] == "delete"


def test_a_host_that_dies_costs_its_own_share_only(config, job, programs, cloud):
    (cloud / "failing").write_text("--shard 1/2")
    with pytest.raises(UserError, match=r"2 of 3 runs done; lost: q-0-1"):
        launched(config.replace(execute=True), job)
    assert verbs(programs)[-1] == "delete"
    assert sorted(path.parent.name for path in job.root.glob("runs/*/record.json")) == ["r0", "r2"]
    (cloud / "failing").unlink()
    assert launched(config.replace(execute=True), job)[0] == 0


def test_a_deletion_that_fails_is_tried_again_and_told(config, job, programs, cloud):
    (cloud / "failing").write_text("queued-resources delete")
    status, output = launched(config.replace(execute=True), job)
    assert status == 0 and programs.calls().count(Commands(config, job).delete("q-0")) == 3
    assert "could not delete q-0, which may cost money" in output and "--force --quiet" in output


def test_missing_things_are_one_line(config, monkeypatch, tmp_path):
    with pytest.raises(UserError, match="missing --tpu-zone, --tpu-accelerator-type"):
        TpuConfig().check()
    monkeypatch.setenv("PATH", str(tmp_path))
    config.check()  # to be shown it needs no gcloud
    with pytest.raises(UserError, match="no gcloud here"):
        config.replace(execute=True).check()


@pytest.mark.parametrize("field, value", [
    ("zone", "a\nb"), ("zone", "--project=x"), ("bucket", "/folder"), ("name", "Q"), ("slices", 0),
    ("valid_until", "soon"),
])
def test_options_that_gcloud_could_misread(config, field, value):
    with pytest.raises(UserError, match=field):
        config.replace(**{field: value})


@pytest.mark.parametrize("data", [
    {"corpus": {"path": "/my/texts"}}, {"corpus": {"data_dir": "/my/texts"}},
    {"corpus": {"parts": [{"corpus": {"path": "gs://b/c"}}, {"corpus": {"path": "/my/texts"}}]}},
])
def test_data_of_this_machine_is_refused_at_once(config, job, programs, cloud, data):
    job.entries[0]["experiment"]["data"] = data
    with pytest.raises(UserError, match="/my/texts"):
        launched(config.replace(execute=True), job)
    assert programs.calls() == []


def test_a_skypilot_task_runs_each_host_s_share(config, job, tmp_path, host):
    """As SkyPilot starts it: its two environment variables, a shell, the task's `run`."""
    yaml = pytest.importorskip("yaml")
    file = tmp_path / "sweep.yaml"
    status, shown = launched(config.replace(sky_task=str(file), spot=True, slices=2), job)
    assert status == 0 and f"sky jobs launch {file}" in shown
    task = yaml.safe_load(file.read_text())
    assert task["num_nodes"] == 2 and task["resources"] == {
        "infra": "gcp/us-central1/us-central1-a", "accelerators": "tpu-v5litepod-8",
        "accelerator_args": {"runtime_version": "v2-alpha-tpuv5-lite"}, "use_spot": True}
    subprocess.run(["bash", "-n"], input=task["setup"], text=True, check=True)

    host('echo "$@" > "$HOME/asked"')
    hosts = {"SKYPILOT_NODE_RANK": "3", "SKYPILOT_NUM_NODES": "4"}
    subprocess.run(["bash", "-c", task["run"]], env={**os.environ, **hosts}, check=True)
    asked = (tmp_path / "asked").read_text().split()
    assert asked[asked.index("--shard") + 1] == "3/4" and asked[asked.index("--name") + 1] == "tpu-q-3"


def test_a_skypilot_task_is_a_yaml_file_that_we_do_not_start(config):
    with pytest.raises(UserError, match="sky_task"):
        config.replace(sky_task="a.yaml", execute=True)
    with pytest.raises(UserError, match="sky_task"):
        config.replace(sky_task="task.json")
