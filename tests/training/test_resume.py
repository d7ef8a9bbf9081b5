"""However often a run is stopped, its numbers are those of a run that was left alone."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from etils import epath

from scaling.optim import AdafactorConfig, MuonConfig
from scaling.partitioning import MeshConfig
from scaling.training import Preempted, StopRequest, train
from scaling.training.checkpoints import Checkpoints
from scaling.training.program import program_for

pytestmark = pytest.mark.usefixtures("chunks_of_32")

# Windows of three updates, and evaluations every 86 or so: chunks of updates, and so checkpoints,
# end inside of windows.
N_STEPS = 603

# What depends on when and how fast; everything else of a record must be the same.
CLOCKS = {"wall_seconds", "train_seconds", "compile_seconds", "flops_per_second", "finished_at",
          "commit"}  # an edit of the code while the tests run makes it dirty

DRIVER = """
import json, sys
from scaling.experiment import Experiment
from scaling.training import traced, train
from scaling.training.runtime import set_up_runtime

set_up_runtime()
traced.MAX_STEPS_PER_DISPATCH = 32
experiment = Experiment.from_json(json.load(open(sys.argv[1])))
train(experiment, sys.argv[2], checkpoint_seconds=0.0)
"""


class StopAfter(StopRequest):
    """Asks to stop when it is looked at after `n_chunks` chunks of updates."""

    def __init__(self, n_chunks: int) -> None:
        super().__init__()
        self._left = n_chunks

    def __bool__(self) -> bool:
        self._left -= 1
        return self._left < 0


def results(run_dir: Path) -> tuple[dict, str]:
    record = json.loads((run_dir / "record.json").read_text())
    kept = {name: value for name, value in record.items() if name not in CLOCKS}
    return kept, (run_dir / "metrics.jsonl").read_text()


def final_state(experiment, run_dir: Path, bos_id: int) -> list[np.ndarray]:
    """Parameters, optimizer and step of the last checkpoint."""
    program, _ = program_for(experiment, MeshConfig(), bos_id)
    checkpoints = Checkpoints(epath.Path(run_dir))
    assert checkpoints.latest_step() == experiment.n_steps
    state, _ = checkpoints.restore(experiment.n_steps, program.abstract_state)
    checkpoints.finish()
    return [np.asarray(leaf) for leaf in jax.tree.leaves(state)]


def check_same(experiment, run_dir: Path, undisturbed: Path, bos_id: int) -> None:
    assert results(run_dir) == results(undisturbed)
    ours, theirs = (final_state(experiment, d, bos_id) for d in (run_dir, undisturbed))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


def steps_saved(run_dir: Path) -> list[int]:
    return [int(p.name) for p in (run_dir / "checkpoints").glob("*") if p.name.isdigit()]


@pytest.fixture(scope="module")
def long_run(experiment):
    return experiment(n_steps=N_STEPS, n_evaluations=7, name="long")


@pytest.fixture(scope="module")
def undisturbed(long_run, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    train(long_run, folder)
    return folder


@pytest.mark.parametrize(
    "stops",
    [
        pytest.param([0], id="before the first step"),
        pytest.param([2, 0], id="again without a step between"),
        pytest.param([1, 2, 4], id="inside windows"),
        pytest.param([3, 15], id="right after an evaluation"),
    ],
)
def test_a_stopped_run_continues_to_the_same_bits(long_run, undisturbed, data, tmp_path, stops):
    for n_chunks in stops:
        with pytest.raises(Preempted) as stopped:
            train(long_run, tmp_path, stop=StopAfter(n_chunks))
        assert stopped.value.code == 128 + signal.SIGTERM
        assert not (tmp_path / "record.json").exists()
    train(long_run, tmp_path)
    check_same(long_run, tmp_path, undisturbed, data.bos_id)


@pytest.mark.parametrize(
    "optimizer",
    [MuonConfig(), AdafactorConfig(min_dim_size_to_factor=2, momentum=0.9)],
    ids=["muon", "adafactor"],
)
def test_the_state_of_every_optimizer_is_kept(experiment, data, tmp_path, optimizer):
    config = experiment(n_steps=70, n_evaluations=1, optimizer=optimizer)
    record = train(config, tmp_path / "undisturbed")
    assert record.curve[-1]["loss"] < record.curve[0]["loss"] - 0.3
    with pytest.raises(Preempted):
        train(config, tmp_path / "stopped", stop=StopAfter(1))
    train(config, tmp_path / "stopped")
    check_same(config, tmp_path / "stopped", tmp_path / "undisturbed", data.bos_id)


def test_frequent_checkpoints_change_nothing(long_run, undisturbed, data, tmp_path):
    train(long_run, tmp_path, checkpoint_seconds=0.0)
    check_same(long_run, tmp_path, undisturbed, data.bos_id)


def is_saving(run_dir: Path) -> bool:
    return any("tmp" in p.name for p in (run_dir / "checkpoints").glob("*"))


def test_a_killed_run_continues_to_the_same_bits(long_run, undisturbed, data, tmp_path):
    """SIGKILL at random moments of a run that saves as often as it can, twice inside of a save."""
    config, run_dir = tmp_path / "experiment.json", tmp_path / "run"
    config.write_text(json.dumps(long_run.to_json()))
    command = [sys.executable, "-c", DRIVER, str(config), str(run_dir)]
    draw = random.Random(0)
    for kill in range(4):
        reached = max(steps_saved(run_dir), default=-1)
        process = subprocess.Popen(command)
        while max(steps_saved(run_dir), default=-1) == reached and process.poll() is None:
            time.sleep(0.002)
        if kill % 2:
            time.sleep(draw.uniform(0.0, 0.4))
        else:
            while not is_saving(run_dir) and process.poll() is None:
                pass
        process.kill()
        assert process.wait() == -signal.SIGKILL, "it ended before it was killed: make it longer"
        assert not (run_dir / "record.json").exists()
    subprocess.run(command, check=True)
    check_same(long_run, run_dir, undisturbed, data.bos_id)


def test_sigterm_saves_and_exits_143(experiment, tmp_path):
    endless = experiment(n_steps=500_000, n_evaluations=1)
    config, run_dir = tmp_path / "experiment.json", tmp_path / "run"
    config.write_text(json.dumps(endless.to_json()))
    command = [sys.executable, "-m", "scaling", "train", str(config), "--run-dir", str(run_dir)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not (run_dir / "progress.json").exists() and process.poll() is None:
        time.sleep(0.02)
    process.terminate()
    last_line = process.communicate()[1].splitlines()[-1]
    assert process.returncode == 143, last_line
    (saved,) = steps_saved(run_dir)
    assert f"stopped after step {saved}, state saved" in last_line
    assert saved > 0 and not (run_dir / "record.json").exists()
