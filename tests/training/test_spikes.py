"""Updates whose loss or gradient leaps: ignored, skipped in the compiled step, or the end of the run."""

import jax
import numpy as np
import pytest

from scaling.errors import UserError
from scaling.optim import SpikeConfig, SpikeWatch
from scaling.partitioning import MeshConfig
from scaling.training import Preempted, StopRequest, run, train
from scaling.training.program import program_for

WATCH = {"window": 8, "threshold": 6.0}
STRANGE = 43  # the update whose batch is noise


class StopAfter(StopRequest):
    def __init__(self, n_chunks: int) -> None:
        super().__init__()
        self._left = n_chunks

    def __bool__(self) -> bool:
        self._left -= 1
        return self._left < 0


class OneStrangeBatch(run.TrainStream):
    """Random bytes in place of one batch."""

    def next_batches(self, k: int) -> np.ndarray:
        first = self.get_state()["next_index"]
        rows = super().next_batches(k)
        if first <= STRANGE < first + k:
            noise = np.random.default_rng(0).integers(128, 256, rows.shape[1:])
            rows[STRANGE - first] = noise
        return rows


@pytest.fixture(autouse=True)
def strange_batch(monkeypatch):
    monkeypatch.setattr(run, "TrainStream", OneStrangeBatch)


@pytest.fixture(scope="module")
def config(experiment):
    """Evaluations, and so ends of chunks, every ten updates."""
    return lambda policy: experiment(
        n_steps=60, n_evaluations=6, learning_rate=0.003, spikes=SpikeConfig(policy=policy, **WATCH)
    )


@pytest.fixture(scope="module")
def skipped(config, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "TrainStream", OneStrangeBatch)
        return train(config("skip"), tmp_path_factory.mktemp("skip"))


def test_the_skipped_update_leaves_everything_but_the_step_as_it_was(config, data, skipped):
    experiment = config("skip")
    program, _ = program_for(experiment, MeshConfig(), data.bos_id)
    stream = OneStrangeBatch(data.train_rows, seed=experiment.seed, batch_size=experiment.batch_size)
    state, hp = program.init(experiment), program.hyperparameters(experiment)
    spikes = []
    for _ in range(60):
        before = jax.tree.map(np.asarray, state)
        state, metrics = program.train_chunk(state, stream.next_batches(1), hp)
        spikes.append(bool(metrics["spike"][0]))
        same = [
            np.array_equal(a, b)
            for a, b in zip(jax.tree.leaves(before[:2]), jax.tree.leaves(state[:2]), strict=True)
        ]
        assert all(same) if spikes[-1] else not all(same)
        assert int(state.step) == before.step + 1
    assert spikes[STRANGE] and sum(spikes) == skipped.skipped_steps < 4
    assert (skipped.status, skipped.n_steps) == ("ok", 60)


def test_skipping_is_kept_through_a_resume(config, skipped, tmp_path):
    """Stopped before the spike, and just after it."""
    for n_chunks in (4, 1):
        with pytest.raises(Preempted):
            train(config("skip"), tmp_path, stop=StopAfter(n_chunks))
    record = train(config("skip"), tmp_path)
    assert (record.evaluations, record.curve) == (skipped.evaluations, skipped.curve)
    assert record.skipped_steps == skipped.skipped_steps


def test_a_spike_may_stop_the_run(config, skipped, tmp_path):
    record = train(config("stop"), tmp_path, checkpoint_seconds=0.0)
    assert record.status == "diverged" and record.n_steps <= STRANGE
    assert record.reason.startswith(f"loss spike at step {record.n_steps}: loss ")
    assert len(record.curve) == record.n_steps
    saved = [int(p.name) for p in (tmp_path / "checkpoints").iterdir()]
    assert 0 < max(saved) <= record.n_steps


def test_a_spike_may_be_ignored(config, skipped, tmp_path):
    record = train(config("ignore"), tmp_path)
    assert record.skipped_steps == 0 and record.status == "ok"
    assert abs(record.final.loss - skipped.final.loss) > 1e-4  # the strange batch left its mark


def test_the_threshold_is_standard_deviations_above_the_mean():
    """Losses 1 and 3: mean 2, deviation 1; norms are equal."""
    config = SpikeConfig(policy="skip", threshold=4.0, window=4)
    watch = SpikeWatch.start(config)
    for loss in (1.0, 3.0, 1.0, 3.0):
        spike, watch = watch.judge(config, np.float32(loss), np.float32(1.0))
        assert not spike
    for loss, norm, expected in ((5.9, 1.0, False), (6.1, 1.0, True), (2.0, 1.1, True),
                                 (np.nan, 1.0, True), (2.0, np.inf, True)):
        spike, after = watch.judge(config, np.float32(loss), np.float32(norm))
        assert bool(spike) == expected
        assert np.isfinite(after.recent).all()


@pytest.mark.parametrize("change", [{"policy": "wait"}, {"threshold": 0.0}, {"window": 1}])
def test_what_is_no_policy_is_refused(change):
    with pytest.raises(UserError, match=f"SpikeConfig.{next(iter(change))} = "):
        SpikeConfig(**change)
