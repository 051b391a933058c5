"""The boards that are asked for again and again: kept in order instead of ranked anew each time.

In: what the memory gains and loses, and questions. Out: standings in microseconds, for a window
that ends about now and was asked for a short while ago; for any other nothing, and it has to be
ranked. Bounded in samples; what nobody asks for is forgotten.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from pingboard.columns.blocks import Block
    from pingboard.columns.hours import Difference
    from pingboard.memory.samples import Memory
    from pingboard.model import BoardName
    from pingboard.ranking.following import Following
    from pingboard.ranking.sliding import Span

FORGET_S = 600.0
"""How long a board is kept in order without being asked for; also how soon a second question makes
it one that is asked for again and again."""

MOST_SAMPLES = 20_000_000
"""Of all boards together, at four bytes each."""

MOST_BOARDS = 64
MOST_WAITING = 50_000
"""Samples behind a board's window, which wait until it is asked for again."""


class Key(NamedTuple):
    """Which board, whenever its window ends."""

    rooms: tuple[int, ...]
    board: BoardName
    length: timedelta


@dataclass(slots=True)
class _Entry:
    asked_at: float
    following: Following | None = None
    """None while it is made"""
    backlog: list[Difference] = field(default_factory=list)
    """what came while it is made"""


class Running:
    """Follows one memory. All of it under the memory's lock."""

    def __init__(self) -> None:
        self._entries: dict[Key, _Entry] = {}
        self._asked: dict[Key, float] = {}

    def change(self, room: int, difference: Difference) -> None:
        """Tell every board of that room."""
        for key, entry in [*self._entries.items()]:
            if room in key.rooms:
                if entry.following is None:
                    entry.backlog.append(difference)
                    continue
                entry.following.change(difference)
                if entry.following.waiting > MOST_WAITING:
                    del self._entries[key]

    def rename(self, names: Sequence[str]) -> None:
        """Tell every board."""
        for entry in self._entries.values():
            if entry.following is not None:
                entry.following.ranking.rename(names)

    def reset(self) -> None:
        """Forget all boards."""
        self._entries.clear()

    def find(self, key: Key, span: Span, memory: Memory) -> Following | None:
        """The board, moved on to a span; None where it is not kept, or the span is before it."""
        entry = self._entries.get(key)
        following = entry.following if entry else None
        if entry is None or following is None or not _move(following, key, span, memory):
            return None
        entry.asked_at = time.monotonic()
        return following

    def drop(self, key: Key) -> None:
        """Forget a board."""
        self._entries.pop(key, None)

    def is_wanted(self, key: Key) -> bool:
        """Whether a board that is asked for now was so a short while ago, and is not kept yet."""
        now = time.monotonic()
        self._forget(now)
        before = self._asked.pop(key, None)
        self._asked[key] = now
        if len(self._asked) > MOST_BOARDS:
            del self._asked[next(iter(self._asked))]
        return before is not None and now - before < FORGET_S and key not in self._entries

    def begin(self, key: Key) -> _Entry:
        """From here on what changes is kept for a board that is going to be made."""
        entry = self._entries[key] = _Entry(time.monotonic())
        return entry

    def finish(self, key: Key, entry: _Entry, following: Following) -> None:
        """The board is made; let it catch up."""
        if self._entries.get(key) is not entry:
            return
        for difference in entry.backlog:
            following.change(difference)
        entry.following = following
        entry.backlog.clear()
        self._forget(time.monotonic())

    def _forget(self, now: float) -> None:
        """Drop what nobody asked for, and what was asked for longest ago where there is much."""
        for key, entry in [*self._entries.items()]:
            if now - entry.asked_at > FORGET_S:
                del self._entries[key]
        by_age = sorted(self._entries, key=lambda key: self._entries[key].asked_at)
        samples = {key: _count(self._entries[key]) for key in by_age}
        while sum(samples.values()) > MOST_SAMPLES or len(samples) > MOST_BOARDS:
            oldest = by_age.pop(0)
            del self._entries[oldest], samples[oldest]


def _move(following: Following, key: Key, span: Span, memory: Memory) -> bool:
    before = following.span
    if span == before:
        return True
    if not before.can_move_to(span):
        return False
    blocks: Sequence[Block] | None = ()
    if span.start_ts > before.start_ts:
        blocks = memory.find(key.rooms, before.start_ts, span.start_ts)
    if blocks is None:
        return False
    following.move(span, blocks)
    return True


def _count(entry: _Entry) -> int:
    return entry.following.samples if entry.following else 0
