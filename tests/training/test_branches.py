"""Branches of a trunk are the runs that were never interrupted, bit for bit."""

import json

import jax
import numpy as np
import pytest
from etils import epath

from scaling.errors import UserError
from scaling.optim import ScheduleConfig
from scaling.partitioning import MeshConfig
from scaling.training import last_shared_step, train, trunk_of
from scaling.training.checkpoints import Checkpoints
from scaling.training.program import program_for

SCHEDULE = ScheduleConfig(shape="wsd", warmup_fraction=1.0, max_warmup_steps=5, decay_fraction=0.25)


def parameters(run_dir, experiment, data, step):
    program, _ = program_for(experiment, MeshConfig(), data.bos_id)
    checkpoints = Checkpoints(epath.Path(run_dir), read_only=True)
    state, _ = checkpoints.restore(step, program.abstract_state)
    return [np.asarray(leaf) for leaf in jax.tree.leaves(state)]


@pytest.fixture(scope="module")
def branches(experiment):
    """24, 40 and 60 updates, of which 18, 30 and 45 are the trunk's (and one more, still at the peak)."""
    return [
        experiment(n_steps=n, schedule=SCHEDULE, n_evaluations=1, name=f"branch{n}")
        for n in (24, 40, 60)
    ]


@pytest.fixture(scope="module")
def trunk_dir(branches, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trunk")
    train(trunk_of(branches), folder, keep_steps=[last_shared_step(b) for b in branches])
    return folder


def test_a_branch_is_the_uninterrupted_run_bit_for_bit(branches, trunk_dir, data, tmp_path):
    assert [last_shared_step(b) for b in branches] == [19, 31, 46]
    for branch in branches:
        whole, short = tmp_path / f"{branch.name}-whole", tmp_path / branch.name
        shared = last_shared_step(branch)
        undisturbed = train(branch, whole, keep_steps=[shared])
        record = train(branch, short, trunk=trunk_dir)
        for step, folder in ((shared, trunk_dir), (branch.n_steps, short)):
            for a, b in zip(
                parameters(folder, branch, data, step), parameters(whole, branch, data, step), strict=True
            ):
                np.testing.assert_array_equal(a, b)
        assert record.final == undisturbed.final and record.run_id == undisturbed.run_id
        assert record.tags["branch"] == {"trunk": trunk_of(branches).run_id, "step": shared}
        assert record.curve == undisturbed.curve


def test_a_branch_whose_checkpoint_is_missing_starts_from_an_earlier_one(
    branches, trunk_dir, experiment, tmp_path
):
    between = experiment(n_steps=52, schedule=SCHEDULE, n_evaluations=1)
    record = train(between, tmp_path / "short", trunk=trunk_dir)
    assert record.tags["branch"]["step"] == 31 < last_shared_step(between) == 40
    assert record.final == train(between, tmp_path / "whole").final


def test_the_trunk_never_decays(branches, trunk_dir):
    rates = [json.loads(line)["learning_rate"] for line in
             (trunk_dir / "metrics.jsonl").read_text().splitlines()]
    assert len(rates) == 46 and set(rates[5:]) == {max(rates)}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, "they differ in seed"),
        ({"learning_rate": 0.02}, "they differ in optimizer"),
        ({"schedule": SCHEDULE.replace(shape="cosine")}, "ScheduleConfig.shape = 'cosine': expected 'wsd'"),
        ({"schedule": SCHEDULE.replace(max_warmup_steps=7)}, "warms up over 7 updates, the trunk over 5"),
        ({"n_steps": 8}, "no checkpoint at update 7 or before"),
    ],
)
def test_what_is_no_branch_is_refused(experiment, trunk_dir, tmp_path, change, named):
    other = experiment(**{"n_steps": 40, "schedule": SCHEDULE, "n_evaluations": 1} | change)
    with pytest.raises(UserError, match=named):
        train(other, tmp_path / "run", trunk=trunk_dir)
    assert not (tmp_path / "run").exists()


def test_a_folder_without_a_run_is_no_trunk(branches, tmp_path):
    with pytest.raises(UserError, match="holds no run to branch from"):
        train(branches[0], tmp_path / "run", trunk=tmp_path)
