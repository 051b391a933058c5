"""What each board takes of the samples in a window, and the standings that come of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pingboard.blocks import Block, answers_inside, claims_inside
from pingboard.model import BoardName, Standing, Window
from pingboard.ranking.standings import Column, rank


def board_columns(
    blocks: Sequence[Block], board: BoardName, window: Window
) -> tuple[Column, Column]:
    """The servers that a board ranks and their latencies: (n,) and (n,) int32."""
    if board is BoardName.RESPONSE:
        answers = answers_inside(blocks, window.start_ts, window.end_ts)
        taken = answers.ms >= 0
        return answers.pong_server[taken], answers.ms[taken]
    claims = claims_inside(blocks, window.start_ts, window.end_ts)
    by_ping = board is BoardName.DELIVERY
    servers = [one.ping_server if by_ping else one.pong_server for one in claims]
    return _join(servers), _join([one.ms for one in claims])


def pair_columns(blocks: Sequence[Block], window: Window) -> tuple[Column, Column, Column]:
    """Ping servers, pong servers and one-way latencies, each (n,) int32."""
    claims = claims_inside(blocks, window.start_ts, window.end_ts)
    return (
        _join([one.ping_server for one in claims]),
        _join([one.pong_server for one in claims]),
        _join([one.ms for one in claims]),
    )


def standings(
    blocks: Sequence[Block],
    names: Sequence[str],
    board: BoardName,
    window: Window,
    *,
    min_samples: int = 1,
    limit: int | None = None,
) -> tuple[list[Standing], int]:
    """The board's standings, as `rank` gives them, and how many samples it takes in all.

    The count is before `min_samples` and `limit`; without samples ([], 0).
    """
    servers, ms = board_columns(blocks, board, window)
    return rank(servers, ms, names, min_samples=min_samples, limit=limit), len(ms)


def _join(columns: Sequence[Column]) -> Column:
    return np.concatenate(columns) if columns else np.empty(0, np.int32)
