"""A histogram as columns, as high as their share of the highest."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from pingboard.ranking.histogram import Bin, Histogram
from pingboard.web.charts.scale import Mark, Scale, choose_marks

MAX_MARKS = 6
ROOM = 10.0
"""Per cent that a mark's text needs on either side of it, where the drawing is narrowest."""


@dataclass(frozen=True, slots=True)
class HistogramColumn:
    """One bin; positions are per cent of the drawing."""

    x: float
    width: float
    height: float
    bin: Bin


@dataclass(frozen=True, slots=True)
class HistogramChart:
    """A drawing of a histogram. All columns are of one width, also where the bins aren't: then the
    scale is logarithmic, and its marks say so."""

    columns: Sequence[HistogramColumn]
    marks: Sequence[Mark]
    median: float
    """where the median lies"""


def draw_histogram(histogram: Histogram, median_ms: float) -> HistogramChart:
    """The drawing of a histogram that has samples."""
    bins = histogram.bins
    width = 100 / len(bins)
    highest = max(bin_.samples for bin_ in bins)
    inner = [bin_ for bin_ in bins if not bin_.is_rest] or bins
    first = max(inner[0].low_ms, 1)
    marks = Scale(first, max(inner[-1].high_ms, first + 1)).marks(MAX_MARKS)
    placed = [Mark(_place(bins, mark.ms), mark.ms) for mark in marks]
    return HistogramChart(
        [
            HistogramColumn(
                round(number * width, 3), round(width, 3), bin_.samples / highest * 100, bin_
            )
            for number, bin_ in enumerate(bins)
        ],
        choose_marks(
            (mark for mark in placed if ROOM <= mark.at <= 100 - ROOM), 2 * ROOM, MAX_MARKS
        ),
        _place(bins, median_ms),
    )


def _place(bins: Sequence[Bin], ms: float) -> float:
    """Where a latency lies, per cent: within its bin as between the bin's edges."""
    number = max(bisect_right([bin_.low_ms for bin_ in bins], ms) - 1, 0)
    low, high = bins[number].low_ms, bins[number].high_ms
    within = min((ms - low) / (high - low), 1.0)
    return round((number + within) / len(bins) * 100, 2)
