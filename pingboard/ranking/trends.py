"""How the median of each homeserver ran over a window: one sort for all of them at once.

As in `pairs`: a sample becomes one key, its homeserver and its part of the window in the high half
and its latency in the low half, so that each part's latencies lie in order in one run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pingboard.columns.blocks import WIDE, Block, answers_inside, claims_inside
from pingboard.columns.narrow import Column
from pingboard.model import BoardName, Window

_BIAS = 1 << 31
"""Added to a latency, so that a negative one sorts before a positive one."""

Trend = list[float | None]
"""A median in ms for each part of a window, in order; None where there was no sample."""


def find_trends(
    blocks: Sequence[Block],
    board: BoardName,
    window: Window,
    wanted: Mapping[int, str],
    parts: int,
) -> dict[str, Trend]:
    """The trend of each homeserver in `wanted` (row ID to name) that has samples.

    The window is cut into `parts` of the same length. Medians are exact, of an even count the mean
    of the middle two.
    """
    servers, seen_ts, ms = _columns(blocks, board, window)
    rows = np.full(max([-1, *wanted, *servers.max(initial=-1, keepdims=True).tolist()]) + 1, -1)
    rows[list(wanted)] = np.arange(len(wanted))
    row = rows[servers]
    length_ms = max(window.end_ts - window.start_ts, 1)
    part = (seen_ts - window.start_ts) * parts // length_ms
    is_wanted = row >= 0
    codes = (row * parts + part)[is_wanted]
    medians = _find_medians(codes, ms[is_wanted], len(wanted) * parts).reshape(-1, parts)
    return {
        name: [None if np.isnan(one) else one for one in medians[number].tolist()]
        for number, name in enumerate(wanted.values())
        if not np.isnan(medians[number]).all()
    }


def _columns(
    blocks: Sequence[Block], board: BoardName, window: Window
) -> tuple[Column, NDArray[np.int64], Column]:
    """Of each sample that a board takes: who is ranked by it, when it was seen, its ms."""
    if board is BoardName.RESPONSE:
        answers = answers_inside(blocks, window.start_ts, window.end_ts)
        taken = answers.ms >= 0
        return answers.pong_server[taken], answers.seen_ts[taken].wide(), answers.ms[taken]
    claims = claims_inside(blocks, window.start_ts, window.end_ts)
    by_ping = board is BoardName.DELIVERY
    columns = [
        (one.ping_server if by_ping else one.pong_server, one.seen_ts.wide(), one.ms)
        for one in [WIDE.claims, *claims]
    ]
    servers, seen_ts, ms = (np.concatenate(column) for column in zip(*columns, strict=True))
    return servers, seen_ts, ms


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
