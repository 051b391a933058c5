"""Where each standing's percentiles lie on a scale that all rows of a board share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pingboard.model import Standing


@dataclass(frozen=True, slots=True)
class Bar:
    """Positions from 0 to 100 on the board's scale."""

    p5: float
    p25: float
    median: float
    p75: float
    p95: float


def draw_bars(standings: Sequence[Standing]) -> list[Bar]:
    """A bar for each standing.

    The scale is logarithmic: a board really holds 400 ms and 4 minutes side by side, and a linear
    one would make all but the slowest a dot.
    """
    if not standings:
        return []
    low = _log(min(row.p5_ms for row in standings))
    # A board whose numbers are all the same has a scale of no length.
    length = _log(max(row.p95_ms for row in standings)) - low or 1.0

    def place(ms: float) -> float:
        return round((_log(ms) - low) / length * 100, 2)

    return [
        Bar(
            place(row.p5_ms),
            place(row.p25_ms),
            place(row.median_ms),
            place(row.p75_ms),
            place(row.p95_ms),
        )
        for row in standings
    ]


def _log(ms: float) -> float:
    return math.log10(max(ms, 1))  # a round trip on one machine can be 0 ms
