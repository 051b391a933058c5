"""Answers to our own pings, and those that did not come -> loss and clock of each standing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from pingboard.model import PONG_TIMEOUT_MS, Standing, Window
from pingboard.ranking.clocks import Clock, estimate_clocks, keep_fastest
from pingboard.sample_blocks import Block, Column, cut

_MAX_KEPT = 1 << 20
"""Answers that are kept for the clocks before all but the fastest are dropped again."""


class AnswerCount:
    """Counts the answers of each pong server in a window, block by block.

    A pong is lost once `now_ts` is 10 minutes after its ping. Until then neither those count that
    have come nor those that have not; nor ever those to a ping that is void.
    """

    def __init__(self, servers: int, window: Window, now_ts: int) -> None:
        self._window = window
        self._given_up_ts = min(window.end_ts, now_ts - PONG_TIMEOUT_MS)
        self._answered = np.zeros(servers, np.int64)
        self._lost = np.zeros(servers, np.int64)
        self._fastest: list[tuple[Column, Column, Column]] = []
        self._kept = 0

    def count(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """Yield the same blocks, each counted on its way."""
        servers = len(self._answered)
        for block in blocks:
            answers = cut(block.answers, self._window.start_ts, self._window.end_ts)
            losses = cut(block.losses, self._window.start_ts, self._given_up_ts)
            counted = block.answers.find_counted(self._window.start_ts, self._given_up_ts)
            self._answered += np.bincount(counted.pong_server, minlength=servers)
            self._lost += np.bincount(losses.pong_server, minlength=servers)
            self._keep(answers.pong_server, answers.ms, answers.offset_x2_ms)
            yield block

    def add_to(self, standings: Sequence[Standing], names: Sequence[str]) -> list[Standing]:
        """Return the standings with loss and clock of each pong server."""
        servers = {name: server for server, name in enumerate(names)}
        clocks = self._estimate_clocks()
        return [
            _add(standing, int(self._answered[server]), int(self._lost[server]), clocks.get(server))
            for standing in standings
            for server in [servers[standing.homeserver]]
        ]

    def _keep(self, servers: Column, round_trip_ms: Column, offset_x2_ms: Column) -> None:
        self._fastest.append(keep_fastest(servers, round_trip_ms, offset_x2_ms))
        self._kept += len(self._fastest[-1][0])
        if self._kept > _MAX_KEPT:
            self._fastest = [keep_fastest(*self._join())]
            self._kept = len(self._fastest[0][0])

    def _estimate_clocks(self) -> dict[int, Clock]:
        return estimate_clocks(*self._join()) if self._fastest else {}

    def _join(self) -> tuple[Column, Column, Column]:
        servers, round_trip_ms, offset_x2_ms = zip(*self._fastest, strict=True)
        return np.concatenate(servers), np.concatenate(round_trip_ms), np.concatenate(offset_x2_ms)


def _add(standing: Standing, answered: int, lost: int, clock: Clock | None) -> Standing:
    sent = answered + lost
    return standing._replace(
        sent=sent,
        lost=lost,
        loss=lost / sent if sent else None,
        clock_offset_ms=clock.offset_ms if clock else None,
        clock_uncertainty_ms=clock.uncertainty_ms if clock else None,
    )
