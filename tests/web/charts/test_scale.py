"""Scales and their marks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pingboard.model import WINDOWS
from pingboard.web.charts.scale import MIN_RATIO, Mark, Scale, choose_marks, mark_time

LATENCIES = st.lists(st.floats(0, 600_000), max_size=20)
END = datetime(2026, 10, 12, 3, 17, tzinfo=UTC)


@given(LATENCIES)
def test_every_latency_lies_on_its_scale_in_order(ms: list[float]) -> None:
    scale = Scale.over(ms)
    places = [scale.percent(latency_ms) for latency_ms in sorted(ms)]
    assert places == sorted(places)
    assert all(0 <= place <= 100 for place in places)


@given(LATENCIES)
def test_a_scale_has_a_few_marks_in_order(ms: list[float]) -> None:
    marks = Scale.over(ms).marks(6)
    assert 1 <= len(marks) <= 6
    places = [mark.at for mark in marks]
    assert places == sorted(set(places))


def test_equal_latencies_lie_in_the_middle_of_a_scale_with_length() -> None:
    scale = Scale.over([400, 400])
    assert scale.percent(400) == 50
    assert scale.high_ms / scale.low_ms == pytest.approx(MIN_RATIO)


@pytest.mark.parametrize(
    ("low", "high", "marks"),
    [
        (90, 3000, [100, 200, 500, 1000, 2000]),
        (190, 1150, [200, 500, 1000]),
        (230, 900, [300, 500, 700]),
        (380, 450, [380, 400, 420, 440]),
        (75, 225, [80, 100, 150, 200]),
        (1, 600_000, [1, 10, 100, 1000, 10_000, 100_000]),
    ],
)
def test_marks_are_round(low: float, high: float, marks: list[float]) -> None:
    assert [mark.ms for mark in Scale(low, high).marks(6)] == marks


def test_the_roundest_mark_stays_where_there_is_room_for_few() -> None:
    marks = [Mark(12, 70), Mark(30, 100), Mark(48, 150), Mark(66, 200)]
    assert [mark.ms for mark in choose_marks(marks, 20, 4)] == [100, 200]


@pytest.mark.parametrize("length", WINDOWS.values(), ids=WINDOWS)
def test_time_has_a_few_round_marks_away_from_the_ends(length: timedelta) -> None:
    marks = mark_time(END - length, END)
    assert 3 <= len(marks) <= 7
    assert all(4 <= mark.at <= 96 for mark in marks)
    assert all(mark.instant.minute % 10 == mark.instant.second == 0 for mark in marks)
    assert all(mark.is_time or mark.instant.hour == 0 for mark in marks)
    for mark in marks:
        assert mark.at == pytest.approx((mark.instant - END + length) / length * 100, abs=0.01)
