"""Blocks of samples -> the standings of one board, with all that the board shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pingboard.columns import Block
from pingboard.model import BoardName, Standing, Window
from pingboard.ranking.boards import get_rule, select_samples
from pingboard.ranking.loss import AnswerTally
from pingboard.ranking.rank import rank_parts


def rank_board(
    blocks: Iterable[Block],
    names: Sequence[str],
    board: BoardName,
    window: Window,
    *,
    now_ts: int,
    min_samples: int = 1,
    limit: int | None = None,
) -> tuple[list[Standing], int]:
    """Return the standings, as `rank` gives them, and how many samples the board takes in all.

    The blocks are gone through once, so they may be a stream. The count is before `min_samples`
    and `limit`; without samples ([], 0). A board of our own pings has loss and clocks, as of
    `now_ts`.
    """
    tally = None
    if get_rule(board).is_of_own_pings:
        tally = AnswerTally(len(names), window, now_ts)
        blocks = tally.count(blocks)
    parts = [(servers, ms) for servers, ms, _ in select_samples(blocks, board, window)]
    sample_count = sum(len(ms) for _, ms in parts)
    standings = rank_parts(parts, names, min_samples=min_samples, limit=limit)
    if tally is not None:
        standings = tally.add_to(standings, names)
    return standings, sample_count
