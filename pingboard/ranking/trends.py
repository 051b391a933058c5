"""How the median of each homeserver ran over a window, and when it was heard: all at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from pingboard.model import BoardName, Window
from pingboard.ranking.boards import Ranked, get_rule, select_samples
from pingboard.ranking.pairs import find_medians
from pingboard.sample_blocks import Block, Offsets

Trend = list[float | None]
"""A median in ms for each part of a window, in order; None where there was no sample."""


def find_heard(
    blocks: Iterable[Block], window: Window, servers: int, parts: int
) -> NDArray[np.bool_]:
    """Return in which parts of a window any pong of each homeserver came, (servers, parts)."""
    heard = np.zeros((servers, parts), np.bool_)
    boards = [board for board in BoardName if get_rule(board).ranked is Ranked.PONG_SERVERS]
    for block in blocks:
        for board in boards:
            for pong_servers, _, seen_ts in select_samples([block], board, window):
                heard[pong_servers, _find_parts(seen_ts, window, parts)] = True
    return heard


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
    groups: list[NDArray[np.int64]] = []
    latencies: list[NDArray[np.int32]] = []
    for servers, ms, seen_ts in select_samples(blocks, board, window):
        is_drawn = np.isin(servers, list(homeservers))
        part = _find_parts(seen_ts[is_drawn], window, parts)
        groups.append(rows[servers[is_drawn]] * parts + part)
        latencies.append(ms[is_drawn].astype(np.int32))
    medians = np.full(len(homeservers) * parts, np.nan)
    if any(map(len, groups)):
        runs = find_medians(np.concatenate(groups).astype(np.uint64), np.concatenate(latencies))
        medians[runs.groups] = runs.median_x2_ms / 2
    by_row = medians.reshape(-1, parts)
    return {
        name: [None if np.isnan(median) else median for median in by_row[row].tolist()]
        for row, name in enumerate(homeservers.values())
        if not np.isnan(by_row[row]).all()
    }


def _find_parts(seen_ts: Offsets, window: Window, parts: int) -> NDArray[np.int64]:
    """Return in which part of a window, of so many of the same length, each moment is; (n,)."""
    return (seen_ts.wide() - window.start_ts) * parts // max(window.end_ts - window.start_ts, 1)
