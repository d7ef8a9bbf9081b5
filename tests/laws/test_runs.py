"""Tables of runs: refused with the row and column, and nothing dropped or assumed in silence."""

import os
import pathlib

import numpy as np
import pandas as pd
import pytest

from scaling.errors import UserError
from scaling.laws import read_runs, usable_runs
from scaling.laws.csv_table import read_table
from scaling.laws.selection import last_checkpoints, select

GOOD = "n_params,n_tokens,loss\n1e5,1e6,4.0\n2e5,1e6,3.9\n"
_BESIDE = pathlib.Path(__file__).resolve().parents[3] / "shared" / "published"
PUBLISHED = pathlib.Path(os.environ.get("SCALING_PUBLISHED_DATA", _BESIDE))
published = pytest.mark.skipif(
    not PUBLISHED.is_dir(), reason="no published runs; set SCALING_PUBLISHED_DATA"
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.csv"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("n_params,n_tokens,loss\n", "no rows"),
        ("n_params,n_tokens,loss\n1e5,1e6,4.0\n", "one usable run"),
        (GOOD.replace("n_params", "nparams"), "no column n_params; did you mean 'nparams'"),
        (GOOD.replace("n_params", "N_Params"), "no column n_params; did you mean 'N_Params'"),
        (GOOD.replace("loss", "perplexity"), "no column loss; it has n_params"),
        (GOOD.replace("3.9", "oops"), "row 2, column loss: 'oops' is not a number"),
        (GOOD.replace("3.9", "-3.9"), "row 2, column loss: -3.9 is not a positive"),
        (GOOD.replace("2e5", "0"), "row 2, column n_params: 0.* is not a positive"),
        (GOOD.replace("4.0", "nan"), "row 1, column loss: nan is not a positive"),
        (GOOD.replace("4.0", ""), "row 1, column loss: nan is not a positive .*empty"),
        (GOOD.replace("4.0", "inf"), "row 1, column loss: inf is not a positive"),
        (GOOD.replace("4.0", "1e400"), "row 1, column loss: inf is not a positive"),
        (GOOD.replace("4.0", "1e-400"), "row 1, column loss: 0.0 is not a positive"),
        (GOOD.replace("1e5", '"100,000"'), "row 1, column n_params: .* without thousands separators"),
        (GOOD.replace("4.0", '"4,0"'), "row 1, column loss: .* with a decimal point"),
        (GOOD.replace("1e5", "7B"), "row 1, column n_params: .* write it as 7e9"),
        (GOOD.replace("4.0", "4%"), "row 1, column loss: .* without the percent sign"),
        (GOOD.replace("4.0", "True").replace("3.9", "False"), "column loss is of True and False"),
        (GOOD.replace("4.0", "x").replace("3.9", "y"),
         r"row 1, column loss: 'x'.*\(2 rows have no valid loss\)"),
        (GOOD + "1,2,3,4,5\n", "not a CSV: row 3 has 5 fields, and the header 3"),
        (GOOD.replace("1e5,1e6,4.0", "1e5,1e6,4.0,7"), "row 1 has 4 fields, and the header 3"),
        (GOOD + "\n\n1e5,1e6\n", "row 3 has 2 fields"),
        (GOOD + '1e5,"1e6,3\n', "row 3: a quote that is not closed"),
        (GOOD + '"1e5"x,1e6,3\n', "row 3: .*expected after"),
        (GOOD.replace("n_tokens", "loss"), r"two columns are named loss \(columns 2 and 3\)"),
        (GOOD.replace("loss", '"per\nplexity"'), "no column loss; it has n_params, n_tokens, per plexity"),
        (GOOD.replace(",", ";"), "semicolons; expected commas"),
        (GOOD.replace(",", "\t"), "tabs; expected commas"),
        (GOOD.split("\n", 1)[1], "the first line holds numbers; expected a header with n_params"),
        ('[{"n_params": 1}]', "looks like JSON; expected a CSV with a header"),
        ("<html></html>", "looks like HTML"),
    ],
)
def test_bad_tables_are_refused_in_one_line(path, text, message):
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_runs(path)
    assert "\n" not in str(caught.value)
    assert "runs.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00\xff\xfe", "binary"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"PK\x03\x04", "Excel"),
        (b"PAR1\x15\x04", "Parquet"),
        (GOOD.encode("utf-16"), "UTF-16"),
        (GOOD.replace("loss", "größe").encode("latin-1"), "not UTF-8"),
        (GOOD.encode() + b"\0", "binary"),
    ],
)
def test_other_files_are_refused_by_what_they_are(path, content, words):
    path.write_bytes(content)
    with pytest.raises(UserError, match=words):
        read_runs(path)


def test_missing_and_unreadable_files_are_refused(tmp_path, path):
    with pytest.raises(UserError, match="cannot read .*No such file"):
        read_runs(tmp_path / "none.csv")
    with pytest.raises(UserError, match="cannot read .*directory"):
        read_runs(tmp_path)
    path.write_text(GOOD)
    path.chmod(0)
    if not os.access(path, os.R_OK):  # the superuser reads everything
        with pytest.raises(UserError, match="cannot read .*Permission"):
            read_runs(path)


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        "\ufeff" + GOOD,
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("\n", "\r"),
        GOOD.rstrip("\n"),
        "\n" + GOOD.replace("\n", "\n\n"),
        GOOD.replace(",", " , "),
        GOOD.replace("n_params", '"n_params"').replace("1e6", '"1e6"'),
        ",n_params,n_tokens,loss\n0,1e5,1e6,4.0\n1,2e5,1e6,3.9\n",  # as pandas writes its index
        'n_params,n_tokens,loss,note\n1e5,1e6,4.0,"two\nlines, and a ""word"""\n2e5,1e6,3.9,\n',
    ],
)
def test_every_way_of_writing_a_csv_is_read_alike(path, text):
    path.write_bytes(text.encode())
    runs = usable_runs(read_runs(path))
    assert runs.n_params.tolist() == [1e5, 2e5] and runs.loss.tolist() == [4.0, 3.9]


def test_numbers_are_read_to_the_last_bit(path):
    values = np.random.default_rng(0).lognormal(0, 30, 2000)
    path.write_text("n_params,n_tokens,loss\n" + "".join(f"{float(v)!r},1,1\n" for v in values))
    np.testing.assert_array_equal(read_table(path).n_params, values)


def test_integers_beyond_64_bits_are_numbers(path):
    path.write_text(GOOD.replace("1e6,4.0", "123456789012345678901234567890,4.0"))
    assert usable_runs(read_runs(path)).n_tokens[0] == 123456789012345678901234567890.0


def test_names_of_runs_stay_as_written(path):
    path.write_text("run_id,n_params,n_tokens,loss\n007,1e5,1e6,4.0\n7,2e5,1e6,3.9\nNone,3e5,1e6,3.8\n")
    assert usable_runs(read_runs(path)).run_ids == ("007", "7", "None")


# training FLOPs


def test_missing_flops_are_six_n_d_and_said_so(path):
    path.write_text(GOOD)
    runs = usable_runs(read_runs(path))
    np.testing.assert_allclose(runs.flops, [6e11, 1.2e12])
    assert runs.notes == ("no column train_flops: C = 6 N D",)


def test_flops_stand_in_for_train_flops_and_are_said_to(noisy):
    flops = 1.3 * noisy.train_flops
    runs = usable_runs(noisy.drop(columns="train_flops").assign(flops=flops))
    np.testing.assert_array_equal(runs.flops, flops)
    assert runs.notes == ("C is read from column flops",)
    np.testing.assert_array_equal(usable_runs(noisy.assign(flops=flops)).flops, noisy.train_flops)


def test_flops_that_overflowed_are_not_used(noisy):
    """6 N D of large runs in 64-bit integers is wrapped around 2^63: negative, or positive and wrong."""
    runs = noisy.drop(columns="train_flops")
    runs[["n_params", "n_tokens"]] = (runs[["n_params", "n_tokens"]] * 3000).round().astype("int64")
    with np.errstate(over="ignore"):
        runs["flops"] = 6 * runs.n_params * runs.n_tokens
    true = 6.0 * runs.n_params * runs.n_tokens
    assert (runs.flops < 0).any() and ((runs.flops > 0) & (runs.flops < true / 2)).any()
    taken = usable_runs(runs)
    np.testing.assert_allclose(taken.flops, true)
    (note,) = taken.notes
    row = int(np.flatnonzero(runs.flops < 0)[0]) + 1
    assert "column flops is not used, C = 6 N D" in note and f"row {row}: -" in note
    runs["train_flops"] = runs["flops"]
    with pytest.raises(UserError, match=f"row {row}, column train_flops: -.* is not a positive"):
        usable_runs(runs)


def test_c_of_a_mixture_of_experts_counts_what_a_token_passes_through(noisy):
    runs = noisy.drop(columns="train_flops").assign(n_active=noisy.n_params / 8)
    taken = usable_runs(runs)
    np.testing.assert_allclose(taken.flops, 6 * runs.n_active * runs.n_tokens)
    assert taken.notes == ("no column train_flops: C = 6 n_active D",)


def test_one_convention_of_c_is_not_called_mixed(noisy):
    """Attention and embeddings: C / (6 N D) from 1 to 3 across sizes, smoothly."""
    size = noisy.n_params / noisy.n_params.min()
    runs = noisy.assign(train_flops=noisy.train_flops * (1 + 2 / size**0.5))
    ratio = runs.train_flops / noisy.train_flops
    assert ratio.max() / ratio.min() > 1.5
    assert usable_runs(runs).notes == ()


def test_two_conventions_are_pointed_out_with_rows(noisy):
    c = noisy.train_flops.copy()
    c[7::2] *= 3  # forward and backward in some rows, forward alone in others
    (note,) = usable_runs(noisy.assign(train_flops=c)).notes
    assert "mixed conventions?" in note and "row 1 " in note and "row 8" in note


def test_units_that_differ_between_rows_are_refused_with_rows(noisy):
    n = noisy.n_params.copy()
    n[[3, 9]] /= 1e6  # in millions
    with pytest.raises(UserError, match=r"mixed conventions or units.*2 of 24 rows stand apart: 4, 10\)"):
        usable_runs(noisy.assign(n_params=n))


def test_likely_mistakes_of_unit_are_notes(noisy):
    millions = usable_runs(noisy.assign(n_params=noisy.n_params / 1e6)).notes
    assert any("are n_params or n_tokens in thousands, millions" in note for note in millions)
    assert any("n_params are at most" in note for note in millions)
    (percent,) = usable_runs(noisy.assign(loss=noisy.loss * 10)).notes
    assert "a percentage or a perplexity" in percent and f"row {noisy.loss.argmax() + 1}:" in percent


# what is left out


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


# which rows are one run


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


@published
@pytest.mark.parametrize("name", ["gemstones_hot", "gemstones_cool_end", "steplaw_dense"])
def test_published_flops_that_overflowed_are_six_n_d(name):
    runs = usable_runs(read_runs(PUBLISHED / f"{name}.csv"))
    np.testing.assert_allclose(runs.flops, 6 * runs.n_params * runs.n_tokens)
    assert any("column flops is not used" in note for note in runs.notes)


# other columns, other targets


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
