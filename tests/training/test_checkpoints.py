"""Damaged checkpoints are found, told of and passed over; the best stay; all numbers in them are finite."""

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from scaling.errors import UserError
from scaling.partitioning import MeshConfig
from scaling.training import Preempted, StopRequest, train
from scaling.training.checkpoints import Checkpoints
from scaling.training.fingerprint import Fingerprint, _checks, fingerprint
from scaling.training.program import program_for


class StopAfter(StopRequest):
    def __init__(self, n_chunks: int) -> None:
        super().__init__()
        self._left = n_chunks

    def __bool__(self) -> bool:
        self._left -= 1
        return self._left < 0


@pytest.fixture(scope="module")
def config(experiment):
    """Chunks of ten updates; each checkpoint of these runs falls inside of no window."""
    return experiment(n_steps=60, n_evaluations=6, name="saved")


@pytest.fixture(scope="module")
def undisturbed(config, tmp_path_factory):
    return train(config, tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture(scope="module")
def stopped(config, tmp_path_factory) -> Path:
    """A run with checkpoints at 30 and 40."""
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.raises(Preempted):
        train(config, folder, checkpoint_seconds=0.0, stop=StopAfter(4))
    assert steps(folder) == [30, 40]
    return folder


def steps(run_dir: Path) -> list[int]:
    return sorted(int(p.name) for p in (run_dir / "checkpoints").iterdir() if p.name.isdigit())


def data_files(folder: Path) -> list[Path]:
    """Which of them an array is read from depends on how orbax merged what its threads wrote."""
    return [p for p in folder.rglob("*") if p.is_file() and p.parent.name == "d"]


def flip_a_bit(folder: Path) -> None:
    for file in data_files(folder / "state"):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)


def cut_short(folder: Path) -> None:
    for file in data_files(folder / "state"):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def lose_the_data(folder: Path) -> None:
    for file in data_files(folder / "state"):
        file.unlink()


def lose_the_state(folder: Path) -> None:
    shutil.rmtree(folder / "state")


def edit_the_data_order(folder: Path) -> None:
    path = folder / "host" / "metadata"
    path.write_text(path.read_text().replace('"next_index": 40', '"next_index": 41'))


@pytest.mark.parametrize(
    "damage", [flip_a_bit, cut_short, lose_the_data, lose_the_state, edit_the_data_order]
)
def test_a_damaged_checkpoint_is_told_of_and_the_one_before_continues(
    config, undisturbed, stopped, tmp_path, capsys, damage
):
    run_dir = tmp_path / "run"
    shutil.copytree(stopped, run_dir)
    before = {p: p.read_bytes() for p in (run_dir / "checkpoints" / "40").rglob("*") if p.is_file()}
    damage(run_dir / "checkpoints" / "40")
    after = {p: p.read_bytes() for p in (run_dir / "checkpoints" / "40").rglob("*") if p.is_file()}
    assert before != after
    record = train(config, run_dir)
    assert (record.evaluations, record.curve) == (undisturbed.evaluations, undisturbed.curve)
    told = capsys.readouterr().err
    assert f"{run_dir}/checkpoints/40" in told and "continuing from step 30" in told
    assert steps(run_dir)[-1] == 60
    assert [p.name for p in (run_dir / "damaged_checkpoints").iterdir()] == ["40-0"]


def test_with_no_whole_checkpoint_left_nothing_starts_again(config, stopped, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(stopped, run_dir)
    for step in steps(run_dir):
        cut_short(run_dir / "checkpoints" / str(step))
    with pytest.raises(UserError, match="no checkpoint of .* can be read"):
        train(config, run_dir)
    assert steps(run_dir) == [30, 40]


def test_the_last_and_the_best_are_kept(experiment, tmp_path):
    """A rate that is far too large after a good start: the best evaluation is an early one."""
    config = experiment(n_steps=60, n_evaluations=12, learning_rate=2.0)
    rising = config.schedule.replace(warmup_fraction=1.0, max_warmup_steps=60)
    config = config.replace(schedule=rising, optimizer=config.optimizer.replace(clip_norm=1e9))
    record = train(config, tmp_path, keep_last=1, keep_best=2)
    ranked = sorted(record.evaluations, key=lambda e: e.loss)
    best = {e.step for e in ranked[:2]}
    assert record.status == "ok" and 60 not in best
    assert set(steps(tmp_path)) == best | {60}


def test_what_is_not_finite_is_never_saved(experiment, data, tmp_path):
    """The run diverges, and its newest checkpoint holds numbers."""
    config = experiment(n_steps=300, n_evaluations=30, learning_rate=3e6)
    rising = config.schedule.replace(warmup_fraction=1.0, max_warmup_steps=300)
    config = config.replace(schedule=rising)
    record = train(config, tmp_path, checkpoint_seconds=0.0)
    assert record.status == "diverged" and steps(tmp_path)
    program, _ = program_for(config, MeshConfig(), data.bos_id)
    checkpoints = Checkpoints(epath.Path(tmp_path), read_only=True)
    step, state, _ = checkpoints.restore_latest(program.abstract_state)
    assert 0 < step <= record.n_steps
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


def test_a_state_with_a_number_missing_is_refused(experiment, data, tmp_path):
    config = experiment()
    program, _ = program_for(config, MeshConfig(), data.bos_id)
    state = program.init(config)
    checkpoints = Checkpoints(epath.Path(tmp_path))
    assert checkpoints.save(1, state, {})
    path, leaf = jax.tree_util.tree_leaves_with_path(state.params)[0]
    broken = jax.tree.map(lambda x: x.at[(0,) * x.ndim].set(np.nan) if x is leaf else x, state)
    assert not checkpoints.save(2, broken, {})
    checkpoints.finish()
    assert steps(tmp_path) == [1], path


def test_a_fingerprint_sees_one_bit_and_an_exchange(experiment, data):
    config = experiment()
    program, _ = program_for(config, MeshConfig(), data.bos_id)
    state = program.init(config)
    whole = fingerprint(state)
    assert whole.finite and json.loads(json.dumps(whole.sums)) == whole.sums
    leaves, structure = jax.tree.flatten(state)
    number = max(range(len(leaves)), key=lambda i: leaves[i].size)
    bits = np.asarray(leaves[number]).copy()
    bits.view(np.uint32).flat[7] ^= 1
    swapped = np.asarray(leaves[number]).copy()
    swapped.flat[[3, 9]] = swapped.flat[[9, 3]]
    for changed in (bits, swapped):
        other = fingerprint(structure.unflatten([*leaves[:number], changed, *leaves[number + 1 :]])).sums
        wrong = [i for i, (a, b) in enumerate(zip(whole.sums, other, strict=True)) if a != b]
        assert wrong and {i // 2 for i in wrong} == {number}


def test_a_fingerprint_is_the_same_on_the_host_and_on_devices(experiment, data):
    """Of floats of two widths, integers, bools and scalars; one not finite."""
    program, _ = program_for(experiment(), MeshConfig(), data.bos_id)
    state = program.init(experiment())
    odd = {
        "half": jnp.linspace(-1, 1, 15, dtype=jnp.bfloat16).reshape(3, 5), "count": jnp.int32(-7),
        "on": jnp.array([True, False]), "wide": jnp.arange(2**17, dtype=jnp.float32),
    }
    for params in (state.params, {**state.params, **odd}, {"nan": jnp.array([1.0, jnp.nan])}):
        changed = state._replace(params=params)
        finite, sums = _checks(changed)
        assert fingerprint(changed) == Fingerprint(bool(finite), np.asarray(sums).ravel().tolist())
    assert not finite
