"""What each row of a board draws: its bar, and its trend."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pingboard.model import Standing
from pingboard.web.charts.rows import (
    MAX_MARKS,
    TREND_HEIGHT,
    TREND_PARTS,
    TREND_STEP,
    draw_bar,
    draw_trend,
    find_scale,
    mark_scale,
)

_SORTED_MS = st.lists(st.floats(1, 600_000), min_size=5, max_size=5).map(sorted)


def _make_standing(ms: list[float], *, has_interval: bool = True) -> Standing:
    p5, low, median, high, p95 = ms
    ci95 = (low, high) if has_interval else None
    return Standing(1, "one.example", median, median, p5, low, high, p95, 1, ci95)


@given(st.lists(_SORTED_MS, max_size=5))
def test_a_bar_keeps_the_order_of_its_numbers_and_lies_on_the_axis(
    rows: list[list[float]],
) -> None:
    standings = [_make_standing(row) for row in rows]
    scale = find_scale(standings)
    for bar in (draw_bar(scale, row) for row in standings):
        places = [bar.p5, *([bar.median] if bar.median is not None else []), bar.p5 + bar.spread]
        assert places == pytest.approx(sorted(places), abs=0.2)
        assert 0 <= min(places) <= max(places) <= 100.2
        assert bar.is_beyond or bar.median is not None


@given(st.lists(_SORTED_MS, max_size=5))
def test_an_axis_has_a_few_marks_in_order(rows: list[list[float]]) -> None:
    marks = mark_scale(find_scale([_make_standing(row) for row in rows]))
    assert len(marks) <= MAX_MARKS
    assert marks == sorted(marks)
    assert all(0 <= mark.at < 90 for mark in marks)


def test_one_very_slow_row_does_not_press_the_others_and_has_an_arrow() -> None:
    usual = _make_standing([80, 95, 100, 105, 200])
    slow = _make_standing([50_000, 55_000, 60_000, 65_000, 90_000])
    scale = find_scale([*[usual] * 40, slow])
    assert scale.high_ms < 300
    assert not draw_bar(scale, usual).is_beyond
    assert draw_bar(scale, slow).is_beyond
    assert draw_bar(scale, slow).median is None


def test_an_interval_that_the_dot_would_hide_is_not_drawn() -> None:
    short, long = _make_standing([50, 99, 100, 101, 400]), _make_standing([50, 70, 100, 140, 400])
    unknown = _make_standing([50, 70, 100, 140, 400], has_interval=False)
    scale = find_scale([short, long, unknown])
    assert draw_bar(scale, short).interval is None
    assert draw_bar(scale, unknown).interval is None
    assert draw_bar(scale, long).interval is not None


_TREND = st.lists(st.none() | st.floats(0, 600_000), min_size=TREND_PARTS, max_size=TREND_PARTS)


def points(path: str) -> list[tuple[int, int]]:
    """Where a path's points are."""
    points: list[tuple[int, int]] = []
    for kind, x, y in re.findall(r"([Ml])(-?\d+) (-?\d+)", path):
        before = points[-1] if kind == "l" else (0, 0)
        points.append((before[0] + int(x), before[1] + int(y)))
    return points


@given(_TREND, st.floats(0, 600_000))
def test_each_part_with_samples_is_a_point_inside(
    trend: list[float | None], median_ms: float
) -> None:
    drawn = points(draw_trend(trend, median_ms))
    assert [x for x, _ in drawn] == [
        TREND_STEP * at for at, ms in enumerate(trend) if ms is not None
    ]
    assert all(2 <= y <= TREND_HEIGHT - 2 for _, y in drawn)


def test_slower_is_higher_and_the_median_is_the_middle() -> None:
    assert points(draw_trend([400, 800, 200, 90_000], 400)) == [(0, 12), (4, 2), (8, 22), (12, 2)]


def test_a_part_without_samples_is_bridged_a_lone_one_is_a_dot_and_nothing_no_line() -> None:
    assert draw_trend([400, None, 800], 400) == "M0 12l8 -10"
    assert draw_trend([None, 400, None], 400) == "M4 12h0"
    assert draw_trend([], 400) == ""
