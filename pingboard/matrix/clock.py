"""The clock of round trips: nobody sets it, and it goes on while the machine is suspended."""

from __future__ import annotations

import time

# Linux's monotonic clock stands still in a suspend: a pong from before would seem to come at once.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now_ns() -> int:
    """Nanoseconds since some moment in the past."""
    return time.clock_gettime_ns(_CLOCK)


_START_TS = (time.time_ns() - now_ns()) // 1_000_000


def now_ts() -> int:
    """Return the wall clock, ms since the epoch, as if it was never set back since the start.

    For what must not be dated too far ahead of us: our own clock alone would make it so.
    """
    return max(time.time_ns() // 1_000_000, _START_TS + now_ns() // 1_000_000)
