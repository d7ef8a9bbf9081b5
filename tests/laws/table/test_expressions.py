"""Conditions on rows: Python's own answers, nothing executed, one line for each mistake."""

import random
import re

import numpy as np
import pandas as pd
import pytest

from scaling.errors import UserError
from scaling.laws.table.expressions import condition, point


@pytest.fixture(scope="module")
def frame():
    return pd.DataFrame({
        "loss": [1.0, 6.0, np.nan, 2.0],
        "n_params": [1e6, 2e6, 3e6, 4e6],
        "dataset": ["rw", "owt2", "rw", None],
        "split": ["val", "val", "val", "train"],
        "dropped_by_epoch": [True, False, True, False],
        "learning rate": [1, 2, 3, 4],
        "lambda": [1, 2, 3, 4],
        "mixed": ["1", "oops", "3", None],
    })


@pytest.mark.parametrize(
    ("expression", "rows"),
    [
        ("loss > 5", [2]),
        ("loss != 6", [1, 3, 4]),
        ("not loss > 5", [1, 3, 4]),
        ("dropped_by_epoch", [1, 3]),
        ("not dropped_by_epoch", [2, 4]),
        ("dropped_by_epoch == False", [2, 4]),
        ("~dropped_by_epoch & (loss < 5)", [4]),
        ("dropped_by_epoch | (loss > 5)", [1, 2, 3]),
        ('dataset == "rw" and split == "val"', [1, 3]),
        ("dataset != 'rw'", [2, 4]),
        ("dataset in ['rw', 'c4']", [1, 3]),
        ("dataset not in ('rw',)", [2, 4]),
        ("row in [1, 2]", [1, 2]),
        ("1 < row <= 3", [2, 3]),
        ("`learning rate` >= 3", [3, 4]),
        ("`learning rate` == `lambda` and `lambda` == 2", [2]),
        ("loss*2 - 1 == 3", [4]),
        ("n_params ** 0.5 > 1500", [3, 4]),
        ("-n_params < -2e6", [3, 4]),
        ("log(n_params) > 14.5", [2, 3, 4]),
        ("abs(loss - 1.5) <= 0.5", [1, 4]),
        ("min(loss, 3, 4) == 3", [2]),
        ("max(loss, 2) == 2", [1, 4]),
        ("isnan(loss)", [3]),
        ("isnull(dataset)", [4]),
        ("isnan(mixed)", [2, 4]),
        ("isnull(mixed)", [4]),
        ("mixed == 'oops'", [2]),
        ("mixed > 2", [3]),
        ("loss < inf", [1, 2, 4]),
        ("dataset == '`rw`'", []),
        ("9 ** 9 ** 9 ** 9 > loss", [1, 2, 4]),
        ("True", [1, 2, 3, 4]),
        ("  loss\n> 5 ", [2]),
    ],
)
def test_which_rows(frame, expression, rows):
    assert (np.flatnonzero(condition(expression, frame)) + 1).tolist() == rows


def test_a_column_called_row_is_itself():
    assert condition("row == 7", pd.DataFrame({"row": [7, 8]})).tolist() == [True, False]


def _random(draw: random.Random, depth: int, kind: str) -> str:
    """An expression of numbers or truth, fully parenthesised: Python's own rules of truth for arrays
    are those of & | ~ ."""
    inner = lambda k: _random(draw, depth - 1, k)  # noqa: E731
    if kind == "number":
        if depth == 0:
            return draw.choice(["a", "b", "c", "2.5", "1", "0.25"])
        return draw.choice([
            lambda: f"({inner('number')} {draw.choice('+-*/')} {inner('number')})",
            lambda: f"abs({inner('number')})",
            lambda: f"(-{inner('number')})",
        ])()
    if depth <= 1:
        return f"({inner('number')} {draw.choice(['<', '<=', '>', '>=', '==', '!='])} {inner('number')})"
    return draw.choice([
        lambda: f"({inner('truth')} {draw.choice('&|')} {inner('truth')})",
        lambda: f"(~{inner('truth')})",
        lambda: f"({inner('number')} < {inner('number')})",
    ])()


def test_random_expressions_are_what_python_makes_of_them():
    rng, draw = np.random.default_rng(0), random.Random(0)
    columns = {name: rng.integers(-3, 4, 200).astype(float) for name in "abc"}
    columns["a"][:20] = np.nan
    frame = pd.DataFrame(columns)
    shares = []
    for _ in range(300):
        expression = _random(draw, 4, "truth")
        with np.errstate(all="ignore"):
            typed = re.sub(r"[\d.]+", r"f(\g<0>)", expression)  # ~True is -2 to Python, not to NumPy
            expected = eval(typed, {"abs": abs, "f": np.float64, **columns})  # our own text, not a user's
        np.testing.assert_array_equal(condition(expression, frame), expected, expression)
        shares.append(expected.mean())
    assert 0.2 < np.mean(shares) < 0.8


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("", "empty expression"),
        ("los > 5", "no column los; did you mean 'loss'"),
        ("`learning rte` > 5", "did you mean 'learning rate'"),
        ("loss > ", "at its end"),
        ("loss = 5", "write == to compare"),
        ("(loss > 5", "never closed"),
        ("`loss > 5", "character 1"),
        ("lambda == 2", "backticks"),
        ("loss > 5; 1", "character 9"),
        ("loss", "neither true nor false"),
        ("loss + 1", "neither true nor false"),
        ("loss > 5 & dropped_by_epoch", "parentheses"),
        ("loss and dropped_by_epoch", "neither true nor false"),
        ("dataset", "column dataset is text"),
        ("loss > '5'", "column loss is numbers and '5' is text"),
        ("dataset == 3", "column dataset is text and 3 is a number"),
        ("dataset > 'a'", "only numbers are ordered"),
        ("dropped_by_epoch == 'True'", "text stands in quotes"),
        ("dataset + 1 > 2", "column dataset is text; expected numbers"),
        ("loss == nan", "isnan"),
        ("loss == None", "isnull"),
        ("loss is None", "None"),
        ("row in 3", "list in brackets"),
        ("row in range(3)", "list in brackets"),
        ("max(loss) > 1", "two or more"),
        ("log(loss, 2) > 1", "log of 2 values; expected one"),
        ("log > 1", "log is a function"),
        ("loss % 2 == 0", "mod is not understood"),
        ("5j > 1", "5j"),
    ],
)
def test_mistakes_are_told_in_one_line(frame, expression, words):
    with pytest.raises(UserError) as caught:
        condition(expression, frame)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('true')", "loss.mean() > 1", "loss.__class__ == 1", "().__class__",
        "open('file')", "eval('1')", "(lambda: 1)()", "[x for x in loss]", "loss[0] > 1",
        "f'{loss}' == '1'",
        "(loss := 3) > 1", "loss if True else 1", "{1: 2} == 3", "b'1' == 1", "... == 1", "log(x=1) > 1",
        "log(*[1]) > 1", "await loss", "yield loss", "loss @ loss > 1", "loss << 2 > 1",
        "'a' * 10 ** 9 == 'a'",
        "(" * 300 + "1" + ")" * 300, "-" * 900 + "1 > 0", "not " * 200 + "dropped_by_epoch", "x" * 1001,
        "loss > 1\0", "🎉 > 1", "import os", "loss > 0x", "1 < " * 240 + "1 +",
    ],
)
def test_nothing_but_conditions_is_understood(frame, expression):
    with pytest.raises(UserError) as caught:
        condition(expression, frame)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_points_are_read_in_order():
    at = point(" n_tokens = 2e10, n_params=1e9")
    assert list(at.items()) == [("n_tokens", 2e10), ("n_params", 1e9)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected columns and numbers"),
        ("n_params", "expected columns and numbers"),
        ("n_params=1e9;n_tokens=2e10", "expected a positive number"),
        ("n_params=1e9,", "expected columns and numbers"),
        ("=3", "expected columns and numbers"),
        ("n_params=", "expected a positive number"),
        ("n_params=many", "expected a positive number"),
        ("n_params=1,n\nd=x", "expected a positive number"),
        ("n_params=-1,n_tokens=1", "expected a positive number"),
        ("n_params=0,n_tokens=1", "expected a positive number"),
        ("n_params=nan,n_tokens=1", "expected a positive number"),
        ("n_params=1e400,n_tokens=1", "expected a positive number"),
        ("n_params=1,n_params=2", "twice"),
        ("n_params=1", "no n_tokens"),
        ("n_parms=1,n_tokens=2", "did you mean 'n_params'"),
        ("n_params=1,n_tokens=2,width=3", "no column 'width'"),
    ],
)
def test_points_that_are_none(text, words):
    with pytest.raises(UserError) as caught:
        point(text, ("n_params", "n_tokens"))
    assert words in str(caught.value) and "\n" not in str(caught.value)
