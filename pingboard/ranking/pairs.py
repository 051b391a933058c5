"""The ping x pong matrix: columns of samples -> median and count of each pair that has any.

One sort, as in `standings`: a sample becomes one key, its pair in the high half and its latency in
the low half, so that each pair's latencies lie in order in one run. Empty pairs cost nothing: of
the square of all servers most are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pingboard.ranking.standings import Column

_BIAS = np.uint64(1 << 31)
"""Added to a latency, so that a negative one sorts before a positive one."""


class Pair(NamedTuple):
    """All samples of one ping server and one pong server."""

    ping_server: str
    pong_server: str
    median_ms: float
    samples: int


def pair(
    ping_servers: Column, pong_servers: Column, ms: Column, names: Sequence[str]
) -> list[Pair]:
    """The pairs that have samples, by the names of ping and pong server; [] without samples.

    `ping_servers` and `pong_servers` (n,) int32 are indices into `names`, `ms` (n,) int32 are
    latencies in ms, which may be negative; none is changed. The median of an even count is the
    mean of the middle two, as everywhere.
    """
    if not len(ms):
        return []
    codes, present = _compact(ping_servers, pong_servers, len(names))
    width = len(present)
    keys = (codes[0] * np.uint64(width) + codes[1]) << np.uint64(32)
    keys |= (ms.astype(np.int64) + int(_BIAS)).view(np.uint64)
    keys.sort()
    pairs = keys >> np.uint64(32)
    starts = np.flatnonzero(np.diff(pairs, prepend=pairs[0] + np.uint64(1)))
    counts = np.diff(starts, append=len(keys))
    medians = _medians(keys, starts, counts).tolist()
    found = pairs[starts].astype(np.int64)
    of_ping = [names[code] for code in present[found // width].tolist()]
    of_pong = [names[code] for code in present[found % width].tolist()]
    return sorted(map(Pair, of_ping, of_pong, medians, counts.tolist()))


def _compact(
    ping_servers: Column, pong_servers: Column, names: int
) -> tuple[list[NDArray[np.uint64]], NDArray[np.intp]]:
    """Renumber the servers from 0 without gaps, so that a pair of any two fits into 32 bits."""
    is_present = np.zeros(names, np.bool_)
    is_present[ping_servers] = True
    is_present[pong_servers] = True
    numbers = np.cumsum(is_present, dtype=np.uint64) - np.uint64(1)
    return [numbers[ping_servers], numbers[pong_servers]], np.flatnonzero(is_present)


def _medians(
    keys: NDArray[np.uint64], starts: NDArray[np.intp], counts: NDArray[np.intp]
) -> NDArray[np.float64]:
    low = _read_ms(keys, starts + (counts - 1) // 2)
    high = _read_ms(keys, starts + counts // 2)
    medians: NDArray[np.float64] = (low + high) / 2
    return medians


def _read_ms(keys: NDArray[np.uint64], positions: NDArray[np.intp]) -> NDArray[np.int64]:
    return (keys[positions] & np.uint64(0xFFFF_FFFF)).astype(np.int64) - int(_BIAS)
