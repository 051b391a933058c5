"""The one table of the boards, whom each ranks and by which latency; and blocks -> standings.

Nothing else decides by a board's name which samples it takes. A new board is a name in
`model/boards.py` with a few words, a rule here, and its texts in `web/pages/choices.py`: each that
is forgotten does not type-check.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, assert_never

import numpy as np

from pingboard.model import BoardName, Standing, Window
from pingboard.ranking.loss import AnswerCount
from pingboard.ranking.pairs import PairLatencies
from pingboard.ranking.rank import rank
from pingboard.sample_blocks import Block, Column, Integers, Offsets, cut, narrow


class Ranked(StrEnum):
    """Whom a board ranks."""

    PING_SERVERS = "ping_servers"
    PONG_SERVERS = "pong_servers"


class Latency(StrEnum):
    """The number that a board ranks by."""

    ONE_WAY = "one_way"
    """what the bots claim, made with two clocks"""
    ROUND_TRIP = "round_trip"
    """of our own pings, by our own clock"""


@dataclass(frozen=True, slots=True)
class Rule:
    """What makes a board."""

    ranked: Ranked
    latency: Latency

    @property
    def is_of_own_pings(self) -> bool:
        """Whether only our own pings count, of which it is known who should answer."""
        return self.latency is Latency.ROUND_TRIP

    @property
    def clock_sign(self) -> int:
        """Return what a server's clock that is ahead adds to its number: -1, 0 or 1 times that."""
        if self.latency is Latency.ROUND_TRIP:
            return 0
        return -1 if self.ranked is Ranked.PING_SERVERS else 1


def get_rule(board: BoardName) -> Rule:
    match board:
        case BoardName.RESPONSE:
            return Rule(Ranked.PONG_SERVERS, Latency.ROUND_TRIP)
        case BoardName.DELIVERY:
            return Rule(Ranked.PING_SERVERS, Latency.ONE_WAY)
        case BoardName.RECEPTION:
            return Rule(Ranked.PONG_SERVERS, Latency.ONE_WAY)
        case _:
            assert_never(board)


class Selection(NamedTuple):
    """What a board takes of one block; all (n,), as narrow as they are stored."""

    servers: Column
    """row ID of the server that is ranked by each sample"""
    ms: Column
    seen_ts: Offsets
    """when we saw the pong"""


def select_samples(
    blocks: Iterable[Block], board: BoardName, window: Window
) -> Iterator[Selection]:
    """Yield what a board takes of a window, block by block; most of it is not copied."""
    rule = get_rule(board)
    for block in blocks:
        if rule.latency is Latency.ROUND_TRIP:
            answers = cut(block.answers, window.start_ts, window.end_ts)
            is_measured = answers.ms >= 0
            yield Selection(
                answers.pong_server[is_measured],
                narrow(answers.ms[is_measured]),
                answers.seen_ts[is_measured],
            )
        else:
            claims = cut(block.claims, window.start_ts, window.end_ts)
            is_by_ping = rule.ranked is Ranked.PING_SERVERS
            servers = claims.ping_server if is_by_ping else claims.pong_server
            yield Selection(servers, claims.ms, claims.seen_ts)


def select_server(
    blocks: Iterable[Block], board: BoardName, window: Window, server: int
) -> tuple[Integers, Column]:
    """Return when each sample that a board takes of one server was seen, and its ms; both (n,)."""
    seen_ts, ms = [np.empty(0, np.int64)], [np.empty(0, np.int32)]
    for selection in select_samples(blocks, board, window):
        is_its = selection.servers == server
        seen_ts.append(selection.seen_ts[is_its].wide())
        ms.append(selection.ms[is_its].astype(np.int32))
    return np.concatenate(seen_ts), np.concatenate(ms)


def select_pairs(blocks: Iterable[Block], window: Window) -> Iterator[PairLatencies]:
    """Yield ping servers, pong servers and one-way latencies, each (n,), block by block."""
    for block in blocks:
        claims = cut(block.claims, window.start_ts, window.end_ts)
        yield claims.ping_server, claims.pong_server, claims.ms


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
    answers = None
    if get_rule(board).is_of_own_pings:
        answers = AnswerCount(len(names), window, now_ts)
        blocks = answers.count(blocks)
    parts = [(servers, ms) for servers, ms, _ in select_samples(blocks, board, window)]
    sample_count = sum(len(ms) for _, ms in parts)
    standings = rank(parts, names, min_samples=min_samples, limit=limit)
    if answers is not None:
        standings = answers.add_to(standings, names)
    return standings, sample_count
