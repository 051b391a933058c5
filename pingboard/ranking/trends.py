"""How the median of each homeserver ran over a window: one sort for all of them at once.

As in `pairs`: a sample becomes one key, its homeserver and its part of the window in the high half
and its latency in the low half, so that each part's latencies lie in order in one run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from pingboard.columns import Block, Column
from pingboard.model import BoardName, Window
from pingboard.ranking.boards import select_samples

_BIAS = 1 << 31
"""Added to a latency, so that a negative one sorts before a positive one."""

Trend = list[float | None]
"""A median in ms for each part of a window, in order; None where there was no sample."""


def find_trends(
    blocks: Iterable[Block],
    board: BoardName,
    window: Window,
    homeservers: Mapping[int, str],
    parts: int,
) -> dict[str, Trend]:
    """Return the trend of each homeserver (row ID to name) that has samples.

    The window is cut into `parts` of the same length. Medians are exact, of an even count the mean
    of the middle two.
    """
    if not homeservers:
        return {}
    rows = np.full(max(homeservers) + 1, -1)
    rows[list(homeservers)] = np.arange(len(homeservers))
    length_ms = max(window.end_ts - window.start_ts, 1)
    codes, latencies = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for servers, ms, seen_ts in select_samples(blocks, board, window):
        is_drawn = np.isin(servers, list(homeservers))
        part = (seen_ts[is_drawn].wide() - window.start_ts) * parts // length_ms
        codes.append(rows[servers[is_drawn]] * parts + part)
        latencies.append(ms[is_drawn].astype(np.int64))
    count = len(homeservers) * parts
    medians = _find_medians(np.concatenate(codes), np.concatenate(latencies), count)
    by_row = medians.reshape(-1, parts)
    return {
        name: [None if np.isnan(median) else median for median in by_row[row].tolist()]
        for row, name in enumerate(homeservers.values())
        if not np.isnan(by_row[row]).all()
    }


def _find_medians(codes: NDArray[np.int64], ms: Column, length: int) -> NDArray[np.float64]:
    """The median ms of each code below `length`; NaN where it has none."""
    medians = np.full(length, np.nan)
    if not len(codes):
        return medians
    keys = (codes << 32) + (ms.astype(np.int64) + _BIAS)
    keys.sort()
    sorted_codes = keys >> 32
    starts = np.flatnonzero(np.diff(sorted_codes, prepend=-1))
    counts = np.diff(starts, append=len(keys))
    low, high = (
        (keys[at] & 0xFFFF_FFFF) for at in (starts + (counts - 1) // 2, starts + counts // 2)
    )
    medians[sorted_codes[starts]] = (low + high) / 2 - _BIAS
    return medians
