"""Tables of runs: nothing dropped or assumed in silence, and only the columns a law needs are needed."""

import numpy as np
import pandas as pd
import pytest

from scaling.errors import UserError
from scaling.laws import read_runs, usable_runs
from scaling.laws.table.csv_table import read_table
from scaling.laws.table.selection import select

GOOD = "n_params,n_tokens,loss\n1e5,1e6,4.0\n2e5,1e6,3.9\n"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.csv"


def test_missing_flops_are_six_n_d_and_said_so(path):
    path.write_text(GOOD)
    runs = usable_runs(read_runs(path))
    np.testing.assert_allclose(runs.flops, [6e11, 1.2e12])
    assert runs.notes == ("no column train_flops: C = 6 N D",)


def test_diverged_failed_and_repeated_runs_are_listed(noisy):
    runs = noisy.copy()
    runs["reason"] = None
    runs.loc[2, ["status", "reason"]] = ["diverged", "loss is not finite"]
    runs.loc[2, "loss"] = np.nan
    runs.loc[5, "status"] = "failed"
    runs.loc[6, "status"] = None
    runs.loc[len(runs)] = runs.loc[7]
    taken = usable_runs(runs)
    assert [(d["row"], d["run_id"], d["reason"]) for d in taken.dropped] == [
        (3, "run-0-2", "diverged: loss is not finite"),
        (6, "run-0-5", "failed"),
        (7, "run-1-0", "no status"),
        (25, "run-1-1", "equal to an earlier row in every column"),
    ]
    assert len(taken) + len(taken.dropped) == len(runs)


def test_repeats_of_one_n_and_d_are_kept(noisy):
    again = noisy.assign(loss=noisy.loss * 1.001, run_id=noisy.run_id + "-again")
    assert len(usable_runs(pd.concat([noisy, again]))) == 2 * len(noisy)


def test_bad_rows_can_be_left_out_and_are_listed_as_they_stand_in_the_file(path):
    path.write_text(GOOD.replace("\n1e5", "\n1e5,1e6,oops\n-3,1e6,3.0\n1e5") + "4e5,,3.5\n5e5,1e6,3.4\n")
    drop = ["isnan(loss)", "isnull(n_tokens)"]
    left, excluded = select(read_table(path), where="n_params > 0", drop=drop)
    runs = usable_runs(left, str(path), excluded=excluded)
    assert runs.rows.tolist() == [3, 4, 6] and runs.run_ids == ("row 3", "row 4", "row 6")
    assert [(d["row"], d["reason"]) for d in runs.dropped] == [
        (1, "--drop isnan(loss)"), (2, "not where n_params > 0"), (5, "--drop isnull(n_tokens)"),
    ]
    left, _ = select(read_table(path), drop="row == 1")
    with pytest.raises(UserError, match="row 2, column n_params: -3"):
        usable_runs(left, str(path))


def test_a_law_of_other_columns_needs_no_n_and_d():
    frame = pd.DataFrame({"n_params": [None, None, None], "x": [1.0, 2.0, 4.0],
                          "task_error": [0.5, 0.4, 0.3], "loss": [3.0, 2.9, 2.8]})
    runs = usable_runs(frame, columns=("x", "loss"), target="task_error")
    assert runs.n_params is None and runs.n_tokens is None and runs.flops is None
    assert runs.loss.tolist() == [0.5, 0.4, 0.3] == runs.column("task_error").tolist()
    assert runs.column("loss").tolist() == [3.0, 2.9, 2.8]
    assert runs.take(np.array([0, 2])).column("x").tolist() == [1.0, 4.0]
    with pytest.raises(UserError, match="no column n_params"):
        usable_runs(frame.drop(columns="n_params"))
    with pytest.raises(UserError, match="row 1, column n_params: nan"):
        usable_runs(frame.assign(n_tokens=1e9))


def test_a_law_of_c_takes_flops_by_either_name():
    frame = pd.DataFrame({"C": [1.0, 2.0], "loss": [3.0, 2.0]})
    for name in ("flops", "train_flops"):
        runs = usable_runs(frame.rename(columns={"C": name}), columns=("flops",))
        assert runs.column("flops").tolist() == runs.column("train_flops").tolist() == [1.0, 2.0]
    with pytest.raises(UserError, match="no column train_flops"):
        usable_runs(frame, columns=("flops",))
    with pytest.raises(UserError, match="row 2, column flops: -2"):
        usable_runs(pd.DataFrame({"flops": [1, -2], "loss": [3.0, 2.0]}), columns=("flops",))


def test_columns_are_checked_when_they_are_asked_for(noisy):
    widths = np.full(len(noisy), 64.0)
    widths[4] = 0
    runs = usable_runs(noisy.assign(width=widths, unique_tokens=1e9))
    assert (runs.column("n_unique_tokens") == 1e9).all()
    with pytest.raises(UserError, match="row 5, column width: 0.0 is not a positive number"):
        runs.column("width")
    with pytest.raises(UserError, match="no column widht; did you mean 'width'"):
        runs.column("widht")
    with pytest.raises(UserError, match="sweep.csv: row 5, column width"):
        usable_runs(noisy.assign(width=widths), "sweep.csv", columns=("n_params", "n_tokens", "width"))


def test_standard_errors_and_weights_are_read_and_checked(noisy):
    assert usable_runs(noisy).weight is None and usable_runs(noisy).standard_error is None
    n = len(noisy)
    runs = usable_runs(noisy.assign(loss_se=np.full(n, 0.01), weight=[0.0] + [2.0] * (n - 1)))
    assert runs.standard_error.tolist() == [0.01] * n and runs.weight[:2].tolist() == [0, 2]
    assert runs.take(np.arange(3)).weight.tolist() == [0, 2, 2]
    with pytest.raises(UserError, match="row 1, column loss_stderr: 0.0 is not a positive"):
        usable_runs(noisy.assign(loss_stderr=0.0))
    with pytest.raises(UserError, match="row 1, column weight: -1.0 is not 0 or a positive"):
        usable_runs(noisy.assign(weight=-1.0))
    with pytest.raises(UserError, match="every weight is 0"):
        usable_runs(noisy.assign(weight=0.0))


def test_hash_sees_every_value_and_no_order(noisy):
    base = usable_runs(noisy).data_hash
    assert usable_runs(noisy[::-1]).data_hash == base
    for column in ("n_params", "n_tokens", "loss", "train_flops"):
        changed = noisy.copy()
        changed.loc[4, column] *= 1 + 1e-12
        assert usable_runs(changed).data_hash != base


def test_hash_sees_what_the_law_uses_and_nothing_else(noisy):
    columns = ("n_params", "n_tokens", "width")
    wide = noisy.assign(width=64.0, wall_seconds=3.0)
    base = usable_runs(wide, columns=columns).data_hash
    assert usable_runs(wide).data_hash == usable_runs(noisy).data_hash
    assert usable_runs(wide.assign(wall_seconds=4.0), columns=columns).data_hash == base
    for changed in (wide.assign(width=65.0), wide.assign(weight=2.0), wide.assign(loss_se=0.1)):
        assert usable_runs(changed, columns=columns).data_hash != base
