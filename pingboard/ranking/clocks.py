"""Round trips and the four times of each -> how far every pong server's clock is ahead of ours.

As NTP does it (RFC 5905, section 8): with s and r our times of the send and the arrival, b1 and b2
the other side's in between, the offset is ((b1 - s) + (b2 - r)) / 2, right to within half the
round trip however the two ways differ. So the sample of the lowest round trip says most (the clock
filter, section 10).
"""

from __future__ import annotations

from statistics import median
from typing import NamedTuple

import numpy as np

from pingboard.sample_blocks import NO_OFFSET, Column


class Clock(NamedTuple):
    """A server's clock against ours, in ms."""

    offset_ms: float
    uncertainty_ms: float

    @property
    def is_wrong(self) -> bool:
        """Whether the offset is more than the measurement can explain."""
        return abs(self.offset_ms) > self.uncertainty_ms


def keep_fastest(
    servers: Column, round_trip_ms: Column, offset_x2_ms: Column
) -> tuple[Column, Column, Column]:
    """Return the samples with the lowest round trip of each server, of those that tell its clock.

    All are (n,). `offset_x2_ms` is (b1 - s) + (b2 - r), `NO_OFFSET` where it is not; a negative
    round trip is none. What is dropped here can't change `estimate_clocks`.
    """
    tells = (round_trip_ms >= 0) & (offset_x2_ms != NO_OFFSET)
    servers, round_trip_ms, offset_x2_ms = servers[tells], round_trip_ms[tells], offset_x2_ms[tells]
    lowest = np.full(int(servers.max(initial=0)) + 1, np.iinfo(np.int32).max, np.int32)
    np.minimum.at(lowest, servers, round_trip_ms.astype(np.int32))
    is_fastest = round_trip_ms == lowest[servers]
    return servers[is_fastest], round_trip_ms[is_fastest], offset_x2_ms[is_fastest]


def estimate_clocks(
    servers: Column, round_trip_ms: Column, offset_x2_ms: Column
) -> dict[int, Clock]:
    """Return the clock of each server that a sample tells of; the columns are as `keep_fastest`'s.

    Of several samples with the lowest round trip, the median offset is taken.
    """
    fastest = keep_fastest(servers, round_trip_ms, offset_x2_ms)
    offsets: dict[int, list[int]] = {}
    uncertainty_ms: dict[int, float] = {}
    for server, ms, offset_x2 in zip(*(column.tolist() for column in fastest), strict=True):
        offsets.setdefault(server, []).append(offset_x2)
        uncertainty_ms[server] = ms / 2
    return {
        server: Clock(median(each) / 2, uncertainty_ms[server])
        for server, each in sorted(offsets.items())
    }
