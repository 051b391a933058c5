"""Round trips and the four times of each -> how far every pong server's clock is ahead of ours.

As NTP does it (RFC 5905, section 8): with s and r our times of the send and the arrival, b1 and b2
the other side's in between, the offset is ((b1 - s) + (b2 - r)) / 2, right to within half the
round trip however the two ways differ. So the sample of the lowest round trip says most (the clock
filter, section 10).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from statistics import median
from typing import NamedTuple

import numpy as np

from pingboard.columns.narrow import Column

UNKNOWN = np.iinfo(np.int64).min
"""A doubled offset that is not known: the process that sent the ping did not see it through."""


class Clock(NamedTuple):
    """A server's clock against ours, in ms."""

    offset_ms: float
    uncertainty_ms: float

    @property
    def is_wrong(self) -> bool:
        """Whether the offset is more than the measurement can explain."""
        return abs(self.offset_ms) > self.uncertainty_ms


def estimate_clocks(
    servers: Column, round_trip_ms: Column, offset_x2_ms: Column
) -> dict[int, Clock]:
    """The clock of each server that a sample tells of; all three are (n,).

    `offset_x2_ms` is (b1 - s) + (b2 - r), `UNKNOWN` where it is not; a negative round trip is none.
    Of several samples with the lowest round trip, the median offset is taken.
    """
    tells = (round_trip_ms >= 0) & (offset_x2_ms != UNKNOWN)
    servers, round_trip_ms, offset_x2_ms = servers[tells], round_trip_ms[tells], offset_x2_ms[tells]
    if not len(servers):
        return {}
    lowest = np.full(int(servers.max()) + 1, np.iinfo(np.int32).max, np.int32)
    np.minimum.at(lowest, servers, round_trip_ms)
    best = round_trip_ms == lowest[servers]
    offsets: dict[int, list[int]] = {}
    for server, offset_x2 in zip(servers[best].tolist(), offset_x2_ms[best].tolist(), strict=True):
        offsets.setdefault(server, []).append(offset_x2)
    return {
        server: Clock(median(each) / 2, int(lowest[server]) / 2)
        for server, each in sorted(offsets.items())
    }


class Lowest:
    """The samples of the lowest round trips of one server, as they come and go.

    Of others than the lowest `KEEP` round trips it knows only that there are some; where the
    lowest have all gone it says so, and has to be made anew.
    """

    KEEP = 16

    def __init__(self) -> None:
        self._round_trips: list[int] = []
        self._offsets: dict[int, list[int]] = {}
        self._has_forgotten = False

    def add(self, round_trip_ms: int, offset_x2_ms: int) -> None:
        """A sample that came; its offset is known."""
        offsets = self._offsets.get(round_trip_ms)
        if offsets is not None:
            insort(offsets, offset_x2_ms)
        elif self._is_kept(round_trip_ms):
            insort(self._round_trips, round_trip_ms)
            self._offsets[round_trip_ms] = [offset_x2_ms]
            if len(self._round_trips) > self.KEEP:
                del self._offsets[self._round_trips.pop()]
                self._has_forgotten = True

    def remove(self, round_trip_ms: int, offset_x2_ms: int) -> None:
        """A sample that went."""
        offsets = self._offsets.get(round_trip_ms)
        if offsets is None:
            return
        del offsets[bisect_left(offsets, offset_x2_ms)]
        if not offsets:
            del self._offsets[round_trip_ms]
            del self._round_trips[bisect_left(self._round_trips, round_trip_ms)]

    def clock(self) -> Clock | None:
        """As `estimate_clocks`; None where no sample tells, LookupError where it has forgotten."""
        if not self._round_trips:
            if self._has_forgotten:
                raise LookupError("all of the lowest round trips have gone")
            return None
        lowest = self._round_trips[0]
        return Clock(median(self._offsets[lowest]) / 2, lowest / 2)

    def _is_kept(self, round_trip_ms: int) -> bool:
        """Whether nothing lower or equal was forgotten: then it belongs to the lowest."""
        if not self._has_forgotten:
            return True
        return bool(self._round_trips) and round_trip_ms < self._round_trips[-1]
