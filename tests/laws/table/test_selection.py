"""Rows kept and left out by conditions: each is listed, by its number in the file."""

import pandas as pd
import pytest

from scaling.errors import UserError
from scaling.laws.table.selection import select


@pytest.fixture
def frame():
    return pd.DataFrame({"loss": [1.0, 6.0, None, 2.0], "split": ["val", "val", "val", "train"]})


def test_selected_rows_and_the_others_with_reasons(frame):
    left, dropped = select(frame, where=["split == 'val'", "row < 3"], drop="loss > 5")
    assert left.index.tolist() == [0]
    assert dropped == [
        {"row": 2, "run_id": "row 2", "reason": "--drop loss > 5"},
        {"row": 3, "run_id": "row 3", "reason": "not where row < 3"},
        {"row": 4, "run_id": "row 4", "reason": "not where split == 'val'"},
    ]
    assert select(frame)[0] is not None and select(frame)[1] == []


def test_a_second_selection_still_names_the_rows_of_the_file(frame):
    first, _ = select(frame, drop="row == 1")
    second, dropped = select(first, drop="row == 2")
    assert second.index.tolist() == [2, 3]
    assert [d["row"] for d in dropped] == [2]


def test_a_selection_that_leaves_nothing_says_how_many_each_condition_took(frame):
    with pytest.raises(UserError, match="no row of 4 is left: 1 out by --drop row == 1, 3 out by not"):
        select(frame, where="row < 2", drop="row == 1")
