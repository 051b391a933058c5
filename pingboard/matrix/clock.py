"""The clock of round trips: nobody sets it, and it goes on while the machine is suspended."""

from __future__ import annotations

import time

# Linux's monotonic clock stands still in a suspend: a pong from before would seem to come at once.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now_ns() -> int:
    """Nanoseconds since some moment in the past."""
    return time.clock_gettime_ns(_CLOCK)
