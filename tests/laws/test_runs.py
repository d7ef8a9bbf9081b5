"""Tables of runs: refused with the row and column, and nothing dropped in silence."""

import numpy as np
import pytest

from scaling.errors import UserError
from scaling.laws import fit_chinchilla, read_runs, usable_runs

GOOD = "n_params,n_tokens,loss\n1e5,1e6,4.0\n2e5,1e6,3.9\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("n_params,n_tokens,loss\n", "no rows"),
        ("n_params,n_tokens,loss\n1e5,1e6,4.0\n", "one usable run"),
        (GOOD.replace("n_params", "nparams"), "no column n_params; did you mean 'nparams'"),
        (GOOD.replace("loss", "perplexity"), "no column loss; it has n_params"),
        (GOOD.replace("3.9", "oops"), "row 2, column loss: 'oops' is not a number"),
        (GOOD.replace("3.9", "-3.9"), "row 2, column loss: -3.9 is not a positive"),
        (GOOD.replace("2e5", "0"), "row 2, column n_params: 0.* is not a positive"),
        (GOOD.replace("4.0", "nan"), "row 1, column loss: nan is not a positive"),
        (GOOD.replace("4.0", ""), "row 1, column loss: nan is not a positive"),
        (GOOD.replace("4.0", "inf"), "row 1, column loss: inf is not a positive"),
        (GOOD + "1,2,3,4,5\n", "not a CSV"),
    ],
)
def test_bad_tables_are_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "runs.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_runs(path)
    assert "\n" not in str(caught.value)
    assert "runs.csv" in str(caught.value)


def test_binary_and_missing_files_are_refused(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00\xff\xfe")
    with pytest.raises(UserError, match="binary"):
        read_runs(path)
    with pytest.raises(UserError, match="cannot read"):
        read_runs(tmp_path / "none.csv")


def test_missing_flops_are_six_n_d_and_said_so(tmp_path):
    path = tmp_path / "runs.csv"
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
    runs.loc[len(runs)] = runs.loc[7]
    law = fit_chinchilla(runs, bootstrap=20)
    assert [(d["run_id"], d["reason"]) for d in law.to_json()["dropped"]] == [
        ("run-0-2", "diverged: loss is not finite"),
        ("run-0-5", "failed"),
        ("run-1-1", "equal to an earlier row in every column"),
    ]
    assert law.to_json()["n_points"] + len(law.to_json()["dropped"]) == len(runs)


def test_hash_sees_every_value_and_no_order(noisy):
    base = usable_runs(noisy).data_hash
    assert usable_runs(noisy[::-1]).data_hash == base
    for column in ("n_params", "n_tokens", "loss", "train_flops"):
        changed = noisy.copy()
        changed.loc[4, column] *= 1 + 1e-12
        assert usable_runs(changed).data_hash != base
