"""Answers to our own pings and what has not come -> loss and clock of each standing."""

from __future__ import annotations

from collections.abc import Sequence

from pingboard.columns.blocks import Block, answers_inside, count, losses_inside
from pingboard.model import PONG_TIMEOUT_MS, Standing, Window
from pingboard.ranking.clocks import Clock, estimate_clocks


def add_answers(
    ranked: Sequence[Standing],
    blocks: Sequence[Block],
    names: Sequence[str],
    window: Window,
    now_ts: int,
) -> list[Standing]:
    """The standings with loss and clock of each pong server.

    A pong is lost once `now_ts` is 10 minutes after its ping.
    """
    answers = answers_inside(blocks, window.start_ts, window.end_ts)
    given_up_ts = min(window.end_ts, now_ts - PONG_TIMEOUT_MS)
    losses = losses_inside(blocks, window.start_ts, given_up_ts)
    servers = len(names)
    answered = dict(zip(names, count(answers.pong_server, servers), strict=True))
    lost = dict(zip(names, count(losses.pong_server, servers), strict=True))
    clocks = {
        names[server]: clock
        for server, clock in estimate_clocks(
            answers.pong_server, answers.ms, answers.offset_x2_ms
        ).items()
    }
    return [
        add_answer(row, answered[name], lost[name], clocks.get(name))
        for row in ranked
        for name in [row.homeserver]
    ]


def add_answer(row: Standing, answered: int, lost: int, clock: Clock | None) -> Standing:
    """One standing with its loss and clock."""
    sent = answered + lost
    return row._replace(
        sent=sent,
        lost=lost,
        loss=lost / sent if sent else None,
        clock_offset_ms=clock.offset_ms if clock else None,
        clock_uncertainty_ms=clock.uncertainty_ms if clock else None,
    )
