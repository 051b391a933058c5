"""What each row of a board draws: a bar on the scale that all rows share, and its trend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from pingboard.model import Standing
from pingboard.web.charts.scale import Mark, Scale

END_PERCENTILE = 98
"""Of the rows' 95th percentiles: there the axis ends, so that one row does not press all others."""

MAX_MARKS = 4
MIN_INTERVAL = 3.0
"""Per cent of the axis: a shorter interval would be hidden by the dot of the median."""

TREND_PARTS = 28
"""Of a window, a point each; of a week each has six hours."""

TREND_STEP, TREND_HEIGHT = 4, 24
"""Pixels from point to point, and of the whole."""


@dataclass(frozen=True, slots=True)
class Bar:
    """Positions and lengths in per cent of the axis."""

    p5: float
    spread: float
    """from the 5th to the 95th percentile, as far as the axis goes"""
    interval: tuple[float, float] | None
    """start and length of the median's 95 % interval; None where it is too short to be seen"""
    median: float | None
    """None where it lies beyond the axis"""
    is_beyond: bool
    """some of it lies beyond the end of the axis"""


def find_scale(standings: Sequence[Standing]) -> Scale:
    """The axis of a board: from its lowest 5th percentile to nearly its highest 95th."""
    ends = sorted(row.p95_ms for row in standings)
    last = ends[(len(ends) - 1) * END_PERCENTILE // 100 :][:1]
    return Scale.over([*(row.p5_ms for row in standings if row.p5_ms <= last[0]), *last])


def draw_bar(scale: Scale, row: Standing) -> Bar:
    p5, p95, median = map(scale.percent, (row.p5_ms, row.p95_ms, row.median_ms))
    interval = None
    if row.ci95_ms is not None:
        low, high = map(scale.percent, row.ci95_ms)
        interval = (low, round(high - low, 1)) if high - low >= MIN_INTERVAL else None
    return Bar(
        round(p5, 1),
        round(p95 - p5, 1),
        interval,
        round(median, 1) if row.median_ms <= scale.high_ms else None,
        row.p95_ms > scale.high_ms,
    )


def mark_scale(scale: Scale) -> list[Mark]:
    """Round latencies on the axis; none so near its end that its number had no room."""
    return [mark for mark in scale.marks(MAX_MARKS) if mark.at < 90]


def draw_trend(trend: Sequence[float | None], median_ms: float) -> str:
    """Return the line as the `d` of an SVG path: joined over gaps, a dot where one part is all.

    All lines of a board are on one scale of ratios: the middle is the homeserver's own median of
    the whole window, the top twice that or more, the bottom half or less. So a flat line is a
    steady homeserver, however slow, and a spike is as high as it is bad.
    """
    points = [
        (number * TREND_STEP, _height(ms, median_ms))
        for number, ms in enumerate(trend)
        if ms is not None
    ]
    if not points:
        return ""
    # Relative steps repeat, and so compress better than positions.
    steps = [f"l{x - before_x} {y - before_y}" for (before_x, before_y), (x, y) in pairwise(points)]
    return f"M{points[0][0]} {points[0][1]}{''.join(steps) or 'h0'}"


def _height(ms: float, median_ms: float) -> int:
    """From 2 at twice the median to TREND_HEIGHT - 2 at half of it."""
    ratio = math.log2(max(ms, 1) / max(median_ms, 1))
    return round(TREND_HEIGHT / 2 - min(max(ratio, -1), 1) * (TREND_HEIGHT / 2 - 2))
