"""A histogram as columns."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pingboard.ranking.histogram import count_bins
from pingboard.web.charts.histogram import ROOM, HistogramChart, draw_histogram


def columns_of(ms: list[int], median_ms: float) -> HistogramChart:
    histogram = count_bins(np.array(ms, np.int32))
    assert histogram is not None
    return draw_histogram(histogram, median_ms)


@given(st.lists(st.integers(0, 600_000), min_size=1, max_size=200))
def test_columns_fill_the_drawing_and_the_highest_is_full(ms: list[int]) -> None:
    drawn = columns_of(ms, float(np.median(ms)))
    assert max(column.height for column in drawn.columns) == 100
    assert drawn.columns[0].x == 0
    assert 99.9 < drawn.columns[-1].x + drawn.columns[-1].width <= 100.1
    assert 0 <= drawn.median <= 100
    ends = [-ROOM, *(mark.at for mark in drawn.marks), 100 + ROOM]
    assert all(right - left >= 2 * ROOM for left, right in pairwise(ends))


def test_the_median_lies_in_its_column() -> None:
    drawn = columns_of(list(range(300, 340)), 319.5)
    (column,) = [
        column for column in drawn.columns if column.x <= drawn.median < column.x + column.width
    ]
    assert column.bin.low_ms <= 319.5 < column.bin.high_ms
