"""Where each standing's numbers lie on the scale that all rows of a board share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pingboard.model import Standing
from pingboard.web.charts.scale import Mark, Scale

END_PERCENTILE = 98
"""Of the rows' 95th percentiles: there the axis ends, so that one row does not press all others."""

MAX_MARKS = 4
MIN_INTERVAL = 3.0
"""Per cent of the axis: a shorter interval would be hidden by the dot of the median."""


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
    """The bar of a standing."""
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
