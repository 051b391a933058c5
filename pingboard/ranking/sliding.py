"""A window that moves on: what enters it and what leaves it.

In: items as the store gains and loses them, and where the window is now. Out: a call for each item
that is inside from now on, or not any more.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable
from typing import NamedTuple

from pingboard.model import PONG_TIMEOUT_MS, Window

Item = tuple[int, ...]
"""A time, ms since the epoch; the rest is whatever is counted."""


class Span(NamedTuple):
    """A window as of a time, all in ms since the epoch."""

    start_ts: int
    end_ts: int
    given_up_ts: int
    """pings before it are lost where no answer has come"""

    @classmethod
    def of(cls, window: Window, now_ts: int) -> Span:
        """A pong is lost 10 minutes after its ping."""
        end_ts = window.end_ts
        return cls(window.start_ts, end_ts, min(end_ts, now_ts - PONG_TIMEOUT_MS))

    @classmethod
    def ending(cls, now_ts: int, start_ts: int) -> Span:
        """That of a window that ends now."""
        return cls(start_ts, now_ts, now_ts - PONG_TIMEOUT_MS)

    def can_move_to(self, other: Span) -> bool:
        """Whether no end goes back, and the windows overlap."""
        return (
            self.start_ts <= other.start_ts <= self.given_up_ts <= other.given_up_ts
            and self.end_ts <= other.end_ts
        )


class Sliding:
    """The items in [start, end); those from the end on wait for it."""

    def __init__(
        self,
        start_ts: int,
        end_ts: int,
        enter: Callable[[Item], None],
        leave: Callable[[Item], None],
    ) -> None:
        self._start_ts = start_ts
        self._end_ts = end_ts
        self._enter = enter
        self._leave = leave
        self.waiting: list[Item] = []

    def come(self, items: Iterable[Item]) -> None:
        """The store gained these."""
        for item in items:
            if item[0] >= self._end_ts:
                insort(self.waiting, item)
            elif item[0] >= self._start_ts:
                self._enter(item)

    def go(self, items: Iterable[Item]) -> None:
        """The store lost these."""
        for item in items:
            if item[0] >= self._end_ts:
                del self.waiting[bisect_left(self.waiting, item)]
            elif item[0] >= self._start_ts:
                self._leave(item)

    def move(self, start_ts: int, end_ts: int, passed: Iterable[Item]) -> None:
        """Move on, the start to no later than the old end.

        `passed` are the items from the old start until before the new one.
        """
        for item in passed:
            self._leave(item)
        ready = bisect_left(self.waiting, (end_ts,))
        for item in self.waiting[:ready]:
            self._enter(item)
        del self.waiting[:ready]
        self._start_ts, self._end_ts = start_ts, end_ts
