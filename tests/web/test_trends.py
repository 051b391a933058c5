"""The line that is drawn of a trend."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from pingboard.web.pages.trends import HEIGHT, PARTS, STEP, draw_trend

_TREND = st.lists(st.none() | st.floats(0, 600_000), min_size=PARTS, max_size=PARTS)


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
    assert [x for x, _ in drawn] == [STEP * at for at, ms in enumerate(trend) if ms is not None]
    assert all(2 <= y <= HEIGHT - 2 for _, y in drawn)


def test_slower_is_higher_and_the_median_is_the_middle() -> None:
    assert points(draw_trend([400, 800, 200, 90_000], 400)) == [(0, 12), (4, 2), (8, 22), (12, 2)]


def test_a_part_without_samples_is_bridged_a_lone_one_is_a_dot_and_nothing_no_line() -> None:
    assert draw_trend([400, None, 800], 400) == "M0 12l8 -10"
    assert draw_trend([None, 400, None], 400) == "M4 12h0"
    assert draw_trend([], 400) == ""
