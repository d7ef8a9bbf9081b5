"""What a run leaves behind: one record, true to what it achieved."""

import json
import threading

import jax
import numpy as np
import pytest

from scaling.accounting import train_flops
from scaling.data import TrainStream
from scaling.errors import UserError
from scaling.models import DecoderConfig
from scaling.objectives import Lengths
from scaling.partitioning import MeshConfig
from scaling.results import read_record
from scaling.sweeps.calibration import flops_per_step
from scaling.training import program as program_module
from scaling.training import traced, train
from scaling.training.metrics import MAX_WINDOWS
from scaling.training.program import Program, program_for


def refuse_constant(name: str):
    raise AssertionError(f"{name} is not JSON")


def strict(text: str):
    return json.loads(text, parse_constant=refuse_constant)


@pytest.fixture(scope="module")
def finished(experiment, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    config = experiment(n_steps=50, n_evaluations=4)
    return config, folder, train(config, folder, tags={"role": "sweep", "budget": 1.5})


def test_the_record_says_what_was_achieved(finished, data):
    config, folder, record = finished
    assert read_record(folder) == record
    assert (record.status, record.reason, record.n_steps) == ("ok", None, 50)
    assert record.run_id == config.run_id and record.seed == config.seed
    assert record.n_tokens == config.n_tokens == 50 * 4 * 16
    assert record.tags == {"role": "sweep", "budget": 1.5}
    assert record.experiment == config.to_json()
    # every row of an epoch is 16 targets
    assert record.n_epochs == pytest.approx(record.n_tokens / data.n_train_tokens)
    assert record.train_flops == train_flops(config.model, Lengths(0, 16), 50 * 4)
    assert record.train_flops["exact"] == pytest.approx(
        record.flops_per_second * record.train_seconds
    )
    assert record.train_seconds + record.compile_seconds < record.wall_seconds
    assert record.versions["jax"] == jax.__version__
    assert record.data["content_hash"] == data.manifest["content_hash"]
    assert record.mfu is None  # a CPU has no known peak


def test_n_params_are_those_of_the_model(finished, data):
    config, _, record = finished
    program, _ = program_for(config, MeshConfig(), data.bos_id)
    params = program.init(config).params
    assert sum(record.n_params.values()) == sum(leaf.size for leaf in jax.tree.leaves(params))


def test_evaluations_come_evenly_and_the_last_at_the_end(finished):
    _, _, record = finished
    assert [e.step for e in record.evaluations] == [12, 25, 38, 50]
    assert [e.n_tokens_seen for e in record.evaluations] == [e.step * 64 for e in record.evaluations]
    assert record.final == record.evaluations[-1]
    assert record.best.loss == min(e.loss for e in record.evaluations)


def test_more_evaluations_than_steps_come_once_a_step(experiment, tmp_path):
    record = train(experiment(n_steps=3, n_evaluations=100), tmp_path)
    assert [e.step for e in record.evaluations] == [1, 2, 3]


def test_one_step_is_a_run(experiment, tmp_path):
    record = train(experiment(n_steps=1, n_evaluations=1), tmp_path)
    assert record.n_steps == 1 and len(record.curve) == 1


def test_a_finished_run_is_returned_untouched(finished):
    config, folder, record = finished
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    assert train(config, folder, tags={"other": 1}) == record
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before


@pytest.mark.parametrize("state", ["finished", "begun"])
def test_a_folder_of_another_experiment_is_refused(experiment, tmp_path, state):
    mine, other = experiment(n_steps=3), experiment(n_steps=3, seed=1)
    train(mine, tmp_path)
    if state == "begun":
        (tmp_path / "record.json").unlink()
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    with pytest.raises(UserError, match=f"{mine.run_id}, not {other.run_id}"):
        train(other, tmp_path)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


def test_a_mistake_in_the_data_leaves_no_folder(experiment, data_config, tmp_path):
    too_many = experiment(data=data_config.replace(validation_rows=10_000_000))
    with pytest.raises(UserError, match="validation_rows"):
        train(too_many, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_mesh_larger_than_the_machine_is_refused(experiment, tmp_path):
    with pytest.raises(UserError, match="1000 x 1 x 1 x 1 needs 1000 devices"):
        train(experiment(), tmp_path / "run", mesh=MeshConfig(data=1000))
    assert not (tmp_path / "run").exists()


def test_an_absurd_rate_ends_as_diverged(experiment, tmp_path):
    config = experiment(n_steps=300, learning_rate=1e30)
    record = train(config, tmp_path)
    assert record.status == "diverged" and f"step {record.n_steps}" in record.reason
    assert record.n_steps < 300 and record.n_tokens == record.n_steps * config.tokens_per_step
    assert record.final is None
    for line in strict((tmp_path / "record.json").read_text())["curve"]:
        assert all(value is None or np.isfinite(value) for value in line.values())
    before = (tmp_path / "record.json").stat().st_mtime_ns
    assert train(config, tmp_path) == record
    assert (tmp_path / "record.json").stat().st_mtime_ns == before


def test_a_run_that_diverges_late_reports_what_came_before(experiment, data, tmp_path):
    """The rate rises over the whole run, past what float32 can hold."""
    config = experiment(n_steps=300, n_evaluations=100, learning_rate=3e6)
    rising = config.schedule.replace(warmup_fraction=1.0, max_warmup_steps=300)
    record = train(config.replace(schedule=rising), tmp_path)
    assert record.status == "diverged" and 3 < record.n_steps < 300
    assert record.evaluations and record.best in record.evaluations and record.final is None
    assert record.n_epochs == pytest.approx(record.n_tokens / data.n_train_tokens)
    assert strict((tmp_path / "record.json").read_text())["curve"] == record.curve
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [strict(line) for line in lines] == record.curve
    assert all(line["step"] <= record.n_steps for line in record.curve)


def test_results_do_not_depend_on_the_size_of_a_chunk(experiment, tmp_path, monkeypatch):
    """A program for at most 2 updates a dispatch gives the bits of one for 128.

    XLA drops the loop of a program for single updates and fuses it otherwise: the last bits differ.
    """
    config = experiment(n_steps=45)
    results = []
    for n in (1, 2, 128):
        monkeypatch.setattr(program_module, "_programs", {})
        monkeypatch.setattr(traced, "MAX_STEPS_PER_DISPATCH", n)
        record = train(config, tmp_path / str(n))
        results.append((record.evaluations, record.curve))
    assert results[1] == results[2]
    single, many = ([e.loss for e in evaluations] for evaluations, _ in results[:2])
    np.testing.assert_allclose(single, many, rtol=1e-5)


def test_flops_bound_a_chunk(experiment, monkeypatch):
    monkeypatch.setattr(traced, "FLOPS_PER_DISPATCH", 3.5 * flops_per_step(experiment()))
    assert Program(experiment(), MeshConfig(), 256).max_chunk == 3
    monkeypatch.setattr(traced, "FLOPS_PER_DISPATCH", 0.0)
    assert Program(experiment(), MeshConfig(), 256).max_chunk == 1


def test_only_tiny_updates_go_in_chunks(experiment, monkeypatch):
    assert Program(experiment(), MeshConfig(), 256).max_chunk > 1
    monkeypatch.setattr(traced, "TINY_UPDATE_FLOPS", 0.0)
    assert Program(experiment(), MeshConfig(), 256).max_chunk == 1


def test_lines_of_metrics_are_means_over_their_windows(experiment, data, tmp_path):
    """Against the losses of single updates, computed one by one."""
    n_steps = 3 * MAX_WINDOWS + 10
    config = experiment(n_steps=n_steps, n_evaluations=1)
    record = train(config, tmp_path)
    program, _ = program_for(config, MeshConfig(), data.bos_id)
    stream = TrainStream(data.train_rows, seed=config.seed, batch_size=config.batch_size)
    state, hp = program.init(config), program.hyperparameters(config)
    single = []
    for _ in range(n_steps):
        state, metrics = program.train_chunk(state, stream.next_batches(1), hp)
        single.append({name: float(values[0]) for name, values in metrics.items()})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == record.curve
    assert [line["step"] for line in lines] == [*range(3, n_steps, 3), n_steps]
    start = 0
    for line in lines:
        window = single[start : line["step"]]
        start = line["step"]
        assert line["n_tokens"] == start * config.tokens_per_step
        for name in ("loss", "gradient_norm"):
            assert line[name] == pytest.approx(np.mean([m[name] for m in window]), rel=1e-12)
        assert line["learning_rate"] == window[-1]["learning_rate"]


def unigram_entropy(data) -> float:
    counts = np.bincount(np.concatenate([data.train_rows[i] for i in range(len(data.train_rows))]))
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum())


@pytest.mark.parametrize("compute_dtype", ["float32", "bfloat16"])
def test_training_learns_more_than_frequencies(experiment, data, tmp_path, compute_dtype):
    model = DecoderConfig(vocab_size=257, d_model=16, n_layers=1, n_heads=1, d_ff=64,
                          compute_dtype=compute_dtype)
    record = train(experiment(model=model, n_steps=400, n_evaluations=1), tmp_path)
    assert record.final.loss < unigram_entropy(data) / 2
    program, _ = program_for(experiment(model=model), MeshConfig(), data.bos_id)
    leaves = jax.tree.leaves(program.abstract_state.params)
    assert {leaf.dtype.name for leaf in leaves} == {"float32"}


def test_runs_of_one_shape_share_a_program(experiment, data, tmp_path, monkeypatch):
    """Everything but the shape is an argument: no second compilation, and the same results."""
    base = experiment(n_steps=30)
    variants = [
        base,
        experiment(n_steps=23, learning_rate=0.003, seed=5, name="other", n_evaluations=2),
        base.replace(
            optimizer=base.optimizer.replace(weight_decay=0.01, b1=0.8, b2=0.9, clip_norm=0.5),
            schedule=base.schedule.replace(warmup_fraction=0.5, final_fraction=0.3),
            parametrization=base.parametrization.replace(
                embedding_std=0.3, hidden_std=0.7, embedding_lr=3.0, vector_lr=2.0
            ),
        ),
    ]
    shared = {}
    monkeypatch.setattr(program_module, "_programs", shared)
    together = [train(config, tmp_path / f"shared{i}") for i, config in enumerate(variants)]
    assert len(shared) == 1
    assert [r.compile_seconds > 0 for r in together] == [True, False, False]
    losses = [record.final.loss for record in together]
    assert len(set(losses)) == len(losses)
    for i, config in enumerate(variants[1:]):
        monkeypatch.setattr(program_module, "_programs", {})
        alone = train(config, tmp_path / f"alone{i}")
        assert (alone.evaluations, alone.curve) == (together[i + 1].evaluations,
                                                    together[i + 1].curve)


def test_the_next_shape_is_compiled_beside_this_ones_training(experiment, tmp_path, monkeypatch):
    wide = DecoderConfig(vocab_size=257, d_model=16, n_layers=1, n_heads=1, d_ff=64)
    base, other = experiment(n_steps=30), experiment(n_steps=30, model=wide)
    alone = [train(config, tmp_path / f"alone{i}") for i, config in enumerate((base, other))]
    made = []

    class Noted(program_module.Program):
        def __init__(self, config, *rest):
            made.append((config.model.d_model, threading.current_thread() is threading.main_thread()))
            super().__init__(config, *rest)

    monkeypatch.setattr(program_module, "_programs", {})
    monkeypatch.setattr(program_module, "Program", Noted)
    first = train(base, tmp_path / "first", upcoming=other)
    second = train(other, tmp_path / "second")
    assert made == [(8, True), (16, False)]
    assert [r.curve for r in (first, second)] == [r.curve for r in alone]


def test_what_cannot_be_compiled_ahead_is_told_when_its_turn_comes(experiment, tmp_path, monkeypatch):
    monkeypatch.setattr(program_module, "_programs", {})
    odd = experiment(model=DecoderConfig(vocab_size=257, d_model=8, n_layers=1, n_heads=1, d_ff=32,
                                         attention="cudnn"))
    assert train(experiment(), tmp_path / "good", upcoming=odd).status == "ok"
    with pytest.raises(UserError, match="cuDNN"):
        train(odd, tmp_path / "odd")


def test_another_shape_needs_another_program(experiment, data):
    base, _ = program_for(experiment(), MeshConfig(), data.bos_id)
    wide = DecoderConfig(vocab_size=257, d_model=16, n_layers=1, n_heads=1, d_ff=64)
    for change in ({"batch_size": 2}, {"model": wide}):
        assert program_for(experiment(**change), MeshConfig(), data.bos_id)[0] is not base
