"""Files of runs: every way of writing a CSV is read, and every other file refused in one line."""

import os

import numpy as np
import pytest

from scaling.errors import UserError
from scaling.laws import read_runs, usable_runs
from scaling.laws.table.csv_table import read_table

GOOD = "n_params,n_tokens,loss\n1e5,1e6,4.0\n2e5,1e6,3.9\n"


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
        (GOOD.replace("1e5", "100_000"), "row 1, column n_params: .* without thousands separators"),
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
