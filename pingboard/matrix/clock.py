"""The clock of round trips, which nobody sets and no suspend stops; and the wall clock."""

from __future__ import annotations

import asyncio
import time

# Linux's monotonic clock stands still in a suspend: a pong from before would seem to come at once.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now_ns() -> int:
    """Return nanoseconds since some moment in the past."""
    return time.clock_gettime_ns(_CLOCK)


_START_TS = (time.time_ns() - now_ns()) // 1_000_000


def now_ts() -> int:
    """Return the wall clock, ms since the epoch."""
    return time.time_ns() // 1_000_000


def latest_ts() -> int:
    """Return the wall clock as if it was never set back since the start.

    For what must not be dated too far ahead of us: our own clock alone would make it so.
    """
    return max(now_ts(), _START_TS + now_ns() // 1_000_000)


TICK_S = 0.1
"""Between two looks at how late the event loop is."""


class LoopLateness:
    """How late the event loop does what is due: by so much the stamp of an arrival can be late."""

    def __init__(self) -> None:
        self._worst_ns = 0

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            due_ns = now_ns() + round(TICK_S * 1e9)
            await asyncio.sleep(TICK_S)
            self._worst_ns = max(self._worst_ns, now_ns() - due_ns)

    def take_ms(self) -> int:
        """Return the longest lateness since this was last asked."""
        worst_ns, self._worst_ns = self._worst_ns, 0
        return round(worst_ns / 1e6)
