"""Time of events that hold or overlap each other."""

import pytest

from scaling.profiling.trace import Span, _with_own_time, busy_seconds


def test_own_time_is_without_what_is_inside():
    inside = [(1, 4, "first"), (2, 3, "within"), (5, 9, "second")]
    spans = _with_own_time([(0, 10, "outer"), *inside, (12, 13, "later")])
    assert {span.instruction: span.own for span in spans} == {
        "outer": 10 - 3 - 4, "first": 3 - 1, "within": 1, "second": 4, "later": 1,
    }
    assert sum(span.own for span in spans) == busy_seconds(spans) == 11


def test_two_threads_are_busy_once():
    spans = [Span("a", 0, 4, 4), Span("b", 3, 6, 3), Span("c", 3.5, 5, 1.5), Span("d", 8, 9, 1)]
    assert busy_seconds(reversed(spans)) == pytest.approx(6 + 1)
