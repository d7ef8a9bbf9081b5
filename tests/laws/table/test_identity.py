"""Which rows are checkpoints of one run, by name or by their looks."""

import os
import pathlib

import numpy as np
import pandas as pd
import pytest

from scaling.errors import UserError
from scaling.laws import read_runs, usable_runs
from scaling.laws.table.selection import last_checkpoints

_BESIDE = pathlib.Path(__file__).resolve().parents[4] / "shared" / "published"
PUBLISHED = pathlib.Path(os.environ.get("SCALING_PUBLISHED_DATA", _BESIDE))
published = pytest.mark.skipif(
    not PUBLISHED.is_dir(), reason="no published runs; set SCALING_PUBLISHED_DATA"
)


def test_names_of_runs_stay_as_written(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("run_id,n_params,n_tokens,loss\n007,1e5,1e6,4.0\n7,2e5,1e6,3.9\nNone,3e5,1e6,3.8\n")
    assert usable_runs(read_runs(path)).run_ids == ("007", "7", "None")


def checkpoints(**columns) -> pd.DataFrame:
    """Three sizes, six evenly spaced checkpoints each."""
    n = np.repeat([1e7, 2e7, 4e7], 6)
    d = np.tile(np.arange(1, 7) * 1e9, 3)
    frame = pd.DataFrame({"n_params": n, "n_tokens": d, "loss": 2 + 400 / n**0.34 + 410 / d**0.28})
    return frame.assign(**{name: np.asarray(values) for name, values in columns.items()})


@pytest.mark.parametrize("name", ["run_id", "run", "run_name", "Name", "RUN_ID"])
def test_rows_that_share_a_name_are_one_run(name):
    runs = usable_runs(checkpoints(**{name: np.repeat(["a", "b", "c"], 6)}))
    assert runs.run_ids == tuple("aaaaaabbbbbbcccccc") and not runs.checkpoints_unnamed
    last = last_checkpoints(runs)
    assert last.n_tokens.tolist() == [6e9] * 3 and last.run_ids == ("a", "b", "c")
    assert len(last.dropped) == 15 and last.rows.tolist() == [6, 12, 18]


def test_a_name_of_something_else_is_not_a_runs_name():
    everywhere = usable_runs(checkpoints(name=["sweep"] * 18))
    assert everywhere.run_ids[0] == "row 1" and any("one value" in note for note in everywhere.notes)
    seeds = usable_runs(checkpoints(run=[0, 1] * 9))
    assert seeds.run_ids[0] == "row 1" and any("n_params vary" in note for note in seeds.notes)
    said = usable_runs(checkpoints(run_id=["x", "y"] * 9))
    assert said.run_ids[0] == "x" and any("n_params vary" in note for note in said.notes)


def test_rows_without_a_name_are_runs_of_their_own():
    runs = usable_runs(checkpoints(run_id=["a"] * 6 + [None] * 6 + ["c"] * 5 + [""]))
    assert len(set(runs.run_ids)) == 2 + 7 and runs.run_ids[-1] == "row 18"
    assert any("7 rows have no run_id (the first: row 7)" in note for note in runs.notes)


@pytest.mark.parametrize(
    "columns", [{}, {"lr": np.repeat([1e-3, 2e-3, 3e-3], 6)}, {"step": np.tile(np.arange(6), 3)},
                {"model": np.repeat(["s", "m", "l"], 6), "current_steps": np.tile(np.arange(6), 3)}],
)
def test_checkpoints_without_a_run_column_are_pointed_out(columns):
    runs = usable_runs(checkpoints(**columns))
    assert runs.checkpoints_unnamed and any("several checkpoints" in note for note in runs.notes)
    with pytest.raises(UserError, match="expected run_id"):
        last_checkpoints(runs)


def test_a_sweep_is_not_taken_for_checkpoints(noisy):
    sweep = noisy.drop(columns="run_id")
    assert not usable_runs(sweep).checkpoints_unnamed
    assert not usable_runs(sweep.assign(step=np.arange(len(sweep)))).checkpoints_unnamed
    grid = pd.DataFrame([(n, d, 3.0 + i) for i, n in enumerate([1e7, 2e7, 4e7])
                         for d in 1e9 * 2.0 ** np.arange(6)], columns=["n_params", "n_tokens", "loss"])
    assert not usable_runs(grid).checkpoints_unnamed


@published
@pytest.mark.parametrize(
    ("name", "n_runs", "unnamed"),
    [
        ("chinchilla_epoch", 245, False),
        ("datablations_fit182", 182, False),
        ("gemstones_hot", 22, False),  # checkpoints, by run_name
        ("misfitting_final", None, False),  # the last checkpoint of each run only
        ("misfitting_ckpts", None, True),
        ("porian_isoflop", 1745, False),
        ("steplaw_dense", 1911, False),
    ],
)
def test_published_tables_are_read_for_what_they_are(name, n_runs, unnamed):
    runs = usable_runs(read_runs(PUBLISHED / f"{name}.csv"))
    assert runs.checkpoints_unnamed is unnamed
    assert n_runs is None or len(set(runs.run_ids)) == n_runs
