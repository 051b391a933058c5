"""A trend -> the line that is drawn of it, in few bytes.

All lines of a board are on one scale of ratios: the middle is the homeserver's own median of the
whole window, the top twice that or more, the bottom half or less. So a flat line is a steady
homeserver, however slow, and a spike is as high as it is bad.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

PARTS = 28
"""Of a window, a point each; of a week each has six hours."""

STEP, HEIGHT = 4, 24
"""Pixels from point to point, and of the whole."""


def draw_trend(trend: Sequence[float | None], median_ms: float) -> str:
    """Return the line as the `d` of an SVG path: joined over gaps, a dot where one part is all."""
    points = [
        (number * STEP, _height(ms, median_ms)) for number, ms in enumerate(trend) if ms is not None
    ]
    if not points:
        return ""
    # Relative steps repeat, and so compress better than positions.
    steps = [f"l{x - before_x} {y - before_y}" for (before_x, before_y), (x, y) in pairwise(points)]
    return f"M{points[0][0]} {points[0][1]}{''.join(steps) or 'h0'}"


def _height(ms: float, median_ms: float) -> int:
    """From 2 at twice the median to HEIGHT - 2 at half of it."""
    ratio = math.log2(max(ms, 1) / max(median_ms, 1))
    return round(HEIGHT / 2 - min(max(ratio, -1), 1) * (HEIGHT / 2 - 2))
