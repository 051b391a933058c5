"""Where each standing's numbers lie on a scale that all rows of a board share.

The scale is logarithmic: a board really holds 400 ms and 4 minutes side by side, and a linear one
would make all but the slowest a dot.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pingboard.model import Standing

MOST_TICKS = 5


@dataclass(frozen=True, slots=True)
class Bar:
    """Positions and lengths on the board's scale, from 0 to 100."""

    p5: float
    spread: float
    """from the 5th to the 95th percentile"""
    low: float | None
    """the lower end of the median's 95 % interval; None where it is not known"""
    interval: float | None
    """its length"""
    median: float


@dataclass(frozen=True, slots=True)
class Scale:
    """A logarithmic scale of milliseconds."""

    low: float
    """the logarithm of its start"""
    length: float

    @classmethod
    def of(cls, standings: Sequence[Standing]) -> Scale:
        """The scale that holds all of them; of no standings any."""
        low = _log(min((row.p5_ms for row in standings), default=1))
        high = _log(max((row.p95_ms for row in standings), default=10))
        # A board whose numbers are all the same has a scale of no length.
        return cls(low, high - low or 1.0)

    def place(self, ms: float) -> float:
        """Where a latency lies; inside for every latency of the board's percentiles."""
        return round(min(max((_log(ms) - self.low) / self.length, 0), 1) * 100, 1)

    def draw(self, row: Standing) -> Bar:
        """A standing's bar."""
        p5, p95 = self.place(row.p5_ms), self.place(row.p95_ms)
        spread = round(p95 - p5, 1)
        if row.ci95_ms is None:
            return Bar(p5, spread, None, None, self.place(row.median_ms))
        low, high = map(self.place, row.ci95_ms)
        return Bar(p5, spread, low, round(high - low, 1), self.place(row.median_ms))

    def ticks(self) -> list[tuple[int, float]]:
        """Round latencies in ms and where they lie: 1, 2 and 5 times powers of ten, or fewer."""
        for steps in ((1, 2, 5), (1, 3), (1,)):
            found = [
                (ms, self.place(ms))
                for power in range(7)
                for step in steps
                # Not at the very end, where its number would not fit beside it.
                if self.low < _log(ms := step * 10**power) < self.low + self.length * 0.93
            ]
            if len(found) <= MOST_TICKS:
                break
        return found


def _log(ms: float) -> float:
    return math.log10(max(ms, 1))  # a round trip on one machine can be 0 ms
