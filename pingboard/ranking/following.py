"""Boards that follow the store and the clock by single pongs, as long as they are asked for.

In: the blocks of a window once, then what the store gains and loses, and where the window is now.
Out: the standings that the plain computation gives for the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from pingboard.columns.blocks import Block, cut
from pingboard.columns.hours import Difference, Loss, Pong
from pingboard.columns.narrow import Column, Offsets
from pingboard.model import ONE_WAY_MIN_MS, PONG_TIMEOUT_MS, BoardName, Standing, Window, from_ts
from pingboard.ranking.answers import add_answer
from pingboard.ranking.clocks import UNKNOWN, Lowest
from pingboard.ranking.running import Ranking
from pingboard.ranking.samples import board_parts
from pingboard.ranking.sliding import Item, Sliding, Span

_END_OF_TIME = 1 << 62


class Following(ABC):
    """What both kinds of boards have in common."""

    def __init__(
        self, board: BoardName, span: Span, blocks: Sequence[Block], names: Sequence[str]
    ) -> None:
        """`blocks` hold all that the window holds, and all that is later."""
        self.span = span
        window = Window(from_ts(span.start_ts), from_ts(span.end_ts))
        self.ranking = Ranking(board_parts(blocks, board, window), names)

    @property
    def samples(self) -> int:
        """How many are in the window."""
        return self.ranking.samples

    @property
    @abstractmethod
    def waiting(self) -> int:
        """How many items are later than the window."""

    @abstractmethod
    def change(self, difference: Difference) -> None:
        """Follow the store."""

    @abstractmethod
    def move(self, span: Span, blocks: Sequence[Block]) -> None:
        """Go on to a span that `can_move_to`; `blocks` hold all between the two starts."""

    @abstractmethod
    def standings(self, *, min_samples: int, limit: int | None) -> list[Standing]:
        """What `samples.standings` gives, on `response` with `answers.add_answers`."""


class FollowingClaims(Following):
    """`delivery` or `reception`."""

    def __init__(
        self, board: BoardName, span: Span, blocks: Sequence[Block], names: Sequence[str]
    ) -> None:
        super().__init__(board, span, blocks, names)
        self._by_ping = board is BoardName.DELIVERY
        self._claims = Sliding(span.start_ts, span.end_ts, self._enter, self._leave)
        self._claims.come(self._of_blocks(blocks, span.end_ts, _END_OF_TIME))

    @property
    def waiting(self) -> int:
        return len(self._claims.waiting)

    def change(self, difference: Difference) -> None:
        if difference.gone:
            self._claims.go(self._of(difference.gone))
        self._claims.come(self._of(difference.come))

    def move(self, span: Span, blocks: Sequence[Block]) -> None:
        passed = self._of_blocks(blocks, self.span.start_ts, span.start_ts)
        self._claims.move(span.start_ts, span.end_ts, passed)
        self.span = span

    def standings(self, *, min_samples: int, limit: int | None) -> list[Standing]:
        return self.ranking.standings(min_samples=min_samples, limit=limit)

    def _enter(self, item: Item) -> None:
        self.ranking.add(item[1], item[2])

    def _leave(self, item: Item) -> None:
        self.ranking.remove(item[1], item[2])

    def _of(self, pongs: Iterable[Pong]) -> Iterator[Item]:
        for one in pongs:
            if ONE_WAY_MIN_MS <= one.one_way_ms <= PONG_TIMEOUT_MS:
                server = one.ping_server if self._by_ping else one.pong_server
                yield one.seen_ts, server, one.one_way_ms

    def _of_blocks(self, blocks: Sequence[Block], start_ts: int, end_ts: int) -> Iterator[Item]:
        for block in blocks:
            claims = cut(block.claims, start_ts, end_ts)
            server = claims.ping_server if self._by_ping else claims.pong_server
            yield from _items(claims.seen_ts, server, claims.ms)


class FollowingAnswers(Following):
    """`response`, with loss and clocks."""

    def __init__(self, span: Span, blocks: Sequence[Block], names: Sequence[str]) -> None:
        super().__init__(BoardName.RESPONSE, span, blocks, names)
        self._came: Counter[int] = Counter()
        self._lost: Counter[int] = Counter()
        self._lowest: dict[int, Lowest] = {}
        for item in _answers(blocks, span.start_ts, span.end_ts):
            self._count(item)
        for item in _losses(blocks, span.start_ts, span.given_up_ts):
            self._lost[item[1]] += 1
        self._answers = Sliding(span.start_ts, span.end_ts, self._enter, self._leave)
        self._answers.come(_answers(blocks, span.end_ts, _END_OF_TIME))
        self._losses = Sliding(span.start_ts, span.given_up_ts, self._lose, self._unlose)
        self._losses.come(_losses(blocks, span.given_up_ts, _END_OF_TIME))

    @property
    def waiting(self) -> int:
        return len(self._answers.waiting) + len(self._losses.waiting)

    def change(self, difference: Difference) -> None:
        self._answers.go(_of_pongs(difference.gone))
        self._answers.come(_of_pongs(difference.come))
        self._losses.go(_of_losses(difference.losses_gone))
        self._losses.come(_of_losses(difference.losses_come))

    def move(self, span: Span, blocks: Sequence[Block]) -> None:
        start_ts = self.span.start_ts
        answers = _answers(blocks, start_ts, span.start_ts)
        self._answers.move(span.start_ts, span.end_ts, answers)
        losses = _losses(blocks, start_ts, span.start_ts)
        self._losses.move(span.start_ts, span.given_up_ts, losses)
        self.span = span

    def standings(self, *, min_samples: int, limit: int | None) -> list[Standing]:
        rows = []
        for row in self.ranking.standings(min_samples=min_samples, limit=limit):
            server = self.ranking.find(row.homeserver)
            lowest = self._lowest.get(server)
            clock = lowest.clock() if lowest else None
            rows.append(add_answer(row, self._came[server], self._lost[server], clock))
        return rows

    def _enter(self, item: Item) -> None:
        self._count(item)
        if item[2] >= 0:
            self.ranking.add(item[1], item[2])

    def _count(self, item: Item) -> None:
        _, server, ms, offset_x2_ms = item
        self._came[server] += 1
        if ms >= 0 and offset_x2_ms != UNKNOWN:
            lowest = self._lowest.get(server)
            if lowest is None:
                lowest = self._lowest[server] = Lowest()
            lowest.add(ms, offset_x2_ms)

    def _leave(self, item: Item) -> None:
        _, server, ms, offset_x2_ms = item
        self._came[server] -= 1
        if ms >= 0:
            self.ranking.remove(server, ms)
            if offset_x2_ms != UNKNOWN:
                self._lowest[server].remove(ms, offset_x2_ms)

    def _lose(self, item: Item) -> None:
        self._lost[item[1]] += 1

    def _unlose(self, item: Item) -> None:
        self._lost[item[1]] -= 1


def follow(
    board: BoardName, span: Span, blocks: Sequence[Block], names: Sequence[str]
) -> Following:
    """A board that follows from now on."""
    if board is BoardName.RESPONSE:
        return FollowingAnswers(span, blocks, names)
    return FollowingClaims(board, span, blocks, names)


def _of_pongs(pongs: Iterable[Pong]) -> Iterator[Item]:
    for one in pongs:
        if one.is_ours:
            yield one.seen_ts, one.pong_server, one.round_trip_ms, one.offset_x2_ms


def _of_losses(losses: Iterable[Loss]) -> Iterator[Item]:
    for one in losses:
        yield one.seen_ts, one.pong_server


def _answers(blocks: Sequence[Block], start_ts: int, end_ts: int) -> Iterator[Item]:
    for block in blocks:
        rows = cut(block.answers, start_ts, end_ts)
        yield from _items(rows.seen_ts, rows.pong_server, rows.ms, rows.offset_x2_ms)


def _losses(blocks: Sequence[Block], start_ts: int, end_ts: int) -> Iterator[Item]:
    for block in blocks:
        rows = cut(block.losses, start_ts, end_ts)
        yield from _items(rows.seen_ts, rows.pong_server)


def _items(*columns: Offsets | Column) -> Iterator[Item]:
    return zip(*(column.tolist() for column in columns), strict=True)
