"""What each board takes of the samples in a window, and the standings that come of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pingboard.columns.blocks import Block, answers_inside, claims_inside
from pingboard.columns.narrow import Column, Integers
from pingboard.model import BoardName, Standing, Window
from pingboard.ranking.standings import Part, rank_parts


def board_parts(blocks: Sequence[Block], board: BoardName, window: Window) -> list[Part]:
    """The servers that a board ranks and their latencies, block by block: most are not copied."""
    if board is BoardName.RESPONSE:
        return [board_columns(blocks, board, window)]
    claims = claims_inside(blocks, window.start_ts, window.end_ts)
    by_ping = board is BoardName.DELIVERY
    return [(one.ping_server if by_ping else one.pong_server, one.ms) for one in claims]


def board_columns(
    blocks: Sequence[Block], board: BoardName, window: Window
) -> tuple[Column, Column]:
    """The servers that a board ranks and their latencies, (n,) both and wide."""
    if board is BoardName.RESPONSE:
        answers = answers_inside(blocks, window.start_ts, window.end_ts)
        taken = answers.ms >= 0
        return answers.pong_server[taken], answers.ms[taken]
    parts = board_parts(blocks, board, window)
    return _join([servers for servers, _ in parts]), _join([ms for _, ms in parts])


def server_columns(
    blocks: Sequence[Block], board: BoardName, window: Window, server: int
) -> tuple[Integers, Column]:
    """The samples that a board takes of one server: when each was seen, and its ms; both (n,)."""
    if board is BoardName.RESPONSE:
        answers = answers_inside(blocks, window.start_ts, window.end_ts)
        taken = (answers.pong_server == server) & (answers.ms >= 0)
        return answers.seen_ts[taken].wide(), answers.ms[taken]
    claims = claims_inside(blocks, window.start_ts, window.end_ts)
    by_ping = board is BoardName.DELIVERY
    seen_ts, ms = [np.empty(0, np.int64)], [np.empty(0, np.int32)]
    for one in claims:
        taken = (one.ping_server if by_ping else one.pong_server) == server
        seen_ts.append(one.seen_ts[taken].wide())
        ms.append(one.ms[taken])
    return np.concatenate(seen_ts), np.concatenate(ms)


def pair_parts(blocks: Sequence[Block], window: Window) -> list[tuple[Column, Column, Column]]:
    """Ping servers, pong servers and one-way latencies, each (n,), block by block."""
    claims = claims_inside(blocks, window.start_ts, window.end_ts)
    return [(one.ping_server, one.pong_server, one.ms) for one in claims]


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
    parts = board_parts(blocks, board, window)
    ranked = rank_parts(parts, names, min_samples=min_samples, limit=limit)
    return ranked, sum(len(ms) for _, ms in parts)


def _join(columns: Sequence[Column]) -> Column:
    return np.concatenate([np.empty(0, np.int32), *columns])
