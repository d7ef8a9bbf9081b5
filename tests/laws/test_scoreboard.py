"""The running score over seals: each counted once, whatever happens to its file later."""

import json

import pytest

from scaling.errors import UserError
from scaling.laws.scoreboard import keep_score, read_scoreboard
from scaling.laws.seals import Score, TargetScore


def score(name, error, inside, level=0.9):
    actual = None if error is None else 3.0
    target = TargetScore(name, "ok" if actual else "diverged", 3.0, (2.9, 3.1), actual,
                         None if error is None else 3.0 * error / 100, error, inside)
    return Score(f"{name}.json", "2026-01-01T00:00:00+00:00", name * 8, level, (target,))


def test_errors_and_hits_add_up_over_seals(tmp_path):
    for name, error, inside in (("a", 1.0, True), ("b", -3.0, False), ("c", None, False)):
        assert keep_score(tmp_path, score(name, error, inside))
    board = read_scoreboard(tmp_path)
    assert (board.seals, board.targets, board.inside, board.failed, board.level) == (3, 3, 1, 1, 0.9)
    assert board.mean_percent == pytest.approx(-1.0)
    assert board.rms_percent == pytest.approx(5**0.5)
    assert "3 seals, 1 of 3 runs" in board.line()


def test_a_seal_is_scored_once(tmp_path):
    assert keep_score(tmp_path, score("a", 1.0, True))
    assert not keep_score(tmp_path, score("a", 0.0, True))
    assert read_scoreboard(tmp_path).mean_percent == pytest.approx(1.0)


def test_levels_that_differ_are_not_averaged(tmp_path):
    keep_score(tmp_path, score("a", 1.0, True))
    keep_score(tmp_path, score("b", 1.0, True, level=0.5))
    assert read_scoreboard(tmp_path).level is None


def test_no_scores_is_no_error(tmp_path):
    assert read_scoreboard(tmp_path / "none").seals == 0


@pytest.mark.parametrize("text", ["", "[]", json.dumps({"level": 0.9}), "{"])
def test_a_damaged_score_is_named(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UserError, match="x.json: not a score"):
        read_scoreboard(tmp_path)
