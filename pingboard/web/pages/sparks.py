"""A trend -> the line that is drawn of it, in few bytes.

All lines of a board are on one scale of ratios: the middle is the homeserver's own median of the
whole window, the top twice that or more, the bottom half or less. So a flat line is a steady
homeserver, however slow, and a spike is as high as it is bad.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

PARTS = 28
"""Of a window, a point each; of a week each has six hours."""

STEP, HEIGHT = 4, 24
"""Pixels from point to point, and of the whole."""


def draw_spark(trend: Sequence[float | None], median_ms: float) -> str:
    """The line as the `d` of an SVG path; a part without samples is a gap, a lone one a dot."""
    drawn: list[str] = []
    at: int | None = None
    for number, ms in enumerate(trend):
        if ms is None:
            at = None
            continue
        y = _height(ms, median_ms)
        # Relative steps repeat, and so compress better than positions.
        drawn.append(f"M{number * STEP} {y}h0" if at is None else f"l{STEP} {y - at}")
        at = y
    return "".join(drawn)


def _height(ms: float, median_ms: float) -> int:
    """From 2 at twice the median to HEIGHT - 2 at half of it."""
    ratio = math.log2(max(ms, 1) / max(median_ms, 1))
    return round(HEIGHT / 2 - min(max(ratio, -1), 1) * (HEIGHT / 2 - 2))
