"""Boards that follow the store by single pongs against the plain computation of all samples."""

from __future__ import annotations

from collections import Counter
from statistics import median
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pingboard.columns.blocks import LOSS, SAMPLE, Block, build
from pingboard.columns.hours import Difference, Loss, Pong
from pingboard.model import PONG_TIMEOUT_MS, BoardName, Standing
from pingboard.ranking.clocks import UNKNOWN, Lowest
from pingboard.ranking.following import Following, follow
from pingboard.ranking.running import Ranking
from pingboard.ranking.sliding import Span
from tests.ranking.test_standings import rank_plainly

NAMES = ["delta.example", "alpha.example", "charlie.example:8448", "bravo.example"]
DAY_MS = 86_400_000
HOUR_MS = 3_600_000

servers = st.integers(0, len(NAMES) - 1)
pongs = st.builds(
    Pong,
    ping=st.integers(0, 40),
    seen_ts=st.integers(0, 4 * DAY_MS),
    ping_server=servers,
    pong_server=servers,
    one_way_ms=st.integers(-5, 40) | st.integers(599_990, 600_010),
    round_trip_ms=st.integers(-1, 30),
    offset_x2_ms=st.integers(-9, 9) | st.just(UNKNOWN),
    is_ours=st.booleans(),
)
losses = st.builds(Loss, st.integers(0, 9), st.integers(0, 4 * DAY_MS), servers)

Row = TypeVar("Row")


class Machine(RuleBasedStateMachine):
    """All three boards through samples and losses that come and go, and a window that moves on."""

    def __init__(self) -> None:
        super().__init__()
        self.pongs: list[Pong] = []
        self.losses: list[Loss] = []
        self.now_ts = DAY_MS
        self.boards = {name: self.begin(name) for name in BoardName}

    def begin(self, board: BoardName) -> Following:
        return follow(board, self.span(), self.blocks(), NAMES)

    def span(self) -> Span:
        now_ts = self.now_ts
        return Span(now_ts - DAY_MS, now_ts, now_ts - PONG_TIMEOUT_MS)

    def blocks(self) -> list[Block]:
        """Of two halves, as hours are several."""
        return [
            build(np.array(self.pongs[half::2], SAMPLE), np.array(self.losses[half::2], LOSS))
            for half in range(2)
        ]

    def tell(self, difference: Difference) -> None:
        for following in self.boards.values():
            following.change(difference)

    @rule(come=st.lists(pongs, max_size=20), losses_come=st.lists(losses, max_size=5))
    def something_comes(self, come: list[Pong], losses_come: list[Loss]) -> None:
        self.pongs += come
        self.losses += losses_come
        self.tell(Difference(come=come, losses_come=losses_come))

    @rule(data=st.data())
    def something_goes(self, data: st.DataObject) -> None:
        gone_pongs = _draw_some(data, self.pongs)
        gone_losses = _draw_some(data, self.losses)
        for pong in gone_pongs:
            self.pongs.remove(pong)
        for loss in gone_losses:
            self.losses.remove(loss)
        self.tell(Difference(gone=gone_pongs, losses_gone=gone_losses))

    @rule(by_ms=st.sampled_from([1, 1000, HOUR_MS, DAY_MS - PONG_TIMEOUT_MS]))
    def time_passes(self, by_ms: int) -> None:
        self.now_ts += by_ms
        for following in self.boards.values():
            assert following.span.can_move_to(self.span())
            following.move(self.span(), self.blocks())

    @rule(board=st.sampled_from(BoardName))
    def a_board_is_begun_anew(self, board: BoardName) -> None:
        self.boards[board] = self.begin(board)

    @invariant()
    def every_board_is_the_plain_one(self) -> None:
        for name, following in self.boards.items():
            for min_samples in (1, 3):
                expected = self.plainly(name, min_samples)
                for limit in (None, 1, 2):
                    found = following.standings(min_samples=min_samples, limit=limit)
                    assert found == expected[:limit]
            assert following.samples == sum(row.samples for row in self.plainly(name))

    def plainly(self, board: BoardName, min_samples: int = 1) -> list[Standing]:
        span = self.span()
        inside = [one for one in self.pongs if span.start_ts <= one.seen_ts < span.end_ts]
        if board is not BoardName.RESPONSE:
            rows = [
                (
                    one.ping_server if board is BoardName.DELIVERY else one.pong_server,
                    one.one_way_ms,
                )
                for one in inside
                if 10 <= one.one_way_ms <= 600_000
            ]
            return rank_plainly(_without_few(rows, min_samples), NAMES)
        ours = [one for one in inside if one.is_ours]
        rows = [(one.pong_server, one.round_trip_ms) for one in ours if one.round_trip_ms >= 0]
        ranked = rank_plainly(_without_few(rows, min_samples), NAMES)
        return [self.with_loss(row, ours, span) for row in ranked]

    def with_loss(self, row: Standing, ours: list[Pong], span: Span) -> Standing:
        server = NAMES.index(row.homeserver)
        came = [one for one in ours if one.pong_server == server]
        lost = sum(
            one.pong_server == server and span.start_ts <= one.seen_ts < span.given_up_ts
            for one in self.losses
        )
        told = [
            (one.round_trip_ms, one.offset_x2_ms)
            for one in came
            if one.round_trip_ms >= 0 and one.offset_x2_ms != UNKNOWN
        ]
        least = min(told, default=(None, 0))[0]
        clock = median(offset for ms, offset in told if ms == least) / 2 if told else None
        return row._replace(
            sent=len(came) + lost,
            lost=lost,
            loss=lost / (len(came) + lost),
            clock_offset_ms=clock,
            clock_uncertainty_ms=None if least is None else least / 2,
        )


def _without_few(rows: list[tuple[int, int]], min_samples: int) -> list[tuple[int, int]]:
    """Without the servers that have fewer."""
    count = Counter(server for server, _ in rows)
    return [row for row in rows if count[row[0]] >= min_samples]


def _draw_some(data: st.DataObject, rows: list[Row]) -> list[Row]:
    return data.draw(st.lists(st.sampled_from(rows), max_size=3, unique=True)) if rows else []


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=60, stateful_step_count=12, deadline=None)


def test_a_span_that_goes_back_or_leaps_over_the_window_can_not_be_moved_to() -> None:
    span = Span(1000, 5000, 4000)
    assert span.can_move_to(span)
    assert span.can_move_to(Span(4000, 8000, 7000))
    for other in (Span(999, 5000, 4000), Span(1000, 4999, 4000), Span(1000, 5000, 3999)):
        assert not span.can_move_to(other)
    assert not span.can_move_to(Span(4001, 8001, 7001))


def test_a_sample_that_is_not_there_can_not_be_taken_away() -> None:
    ranking = Ranking([(np.array([0], np.int32), np.array([30], np.int32))], NAMES)
    with pytest.raises(KeyError):
        ranking.remove(0, 29)
    with pytest.raises(KeyError):
        ranking.remove(1, 30)


def test_standings_are_the_same_list_until_something_above_their_end_changes() -> None:
    servers = np.array([0, 1, 2, 3], np.int32)
    ranking = Ranking([(servers, np.array([10, 20, 30, 40], np.int32))], NAMES)
    first = ranking.standings(limit=2)
    ranking.add(3, 35)
    ranking.remove(2, 30)
    assert ranking.standings(limit=2) is first
    assert len(ranking.standings()) == 3
    ranking.add(3, 1)
    ranking.add(3, 1)
    assert [row.homeserver for row in first] == [NAMES[0], NAMES[1]]
    assert [row.homeserver for row in ranking.standings(limit=2)] == [NAMES[0], NAMES[3]]


def test_the_lowest_round_trips_say_when_they_have_forgotten_too_much() -> None:
    lowest = Lowest()
    for round_trip_ms in range(100, 100 + Lowest.KEEP + 1):
        lowest.add(round_trip_ms, round_trip_ms)
    for round_trip_ms in range(100, 100 + Lowest.KEEP):
        clock = lowest.clock()
        assert clock is not None
        assert clock.uncertainty_ms == round_trip_ms / 2
        lowest.remove(round_trip_ms, round_trip_ms)
    with pytest.raises(LookupError):
        lowest.clock()
