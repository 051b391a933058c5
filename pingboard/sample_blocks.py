"""The samples of one room whose pings were seen within one hour, as numpy columns: what the store
hands over and ranking reads.

A block never changes: a change makes a new one. So whoever holds some can rank them while the next
pongs arrive.

Columns are narrow: integers in as few bytes as hold them, and times as offsets from the earliest.
Without that a board with matrix of ten million samples takes more than a sixth of pingstat's memory
(peak memory in bench/report.md): 24 bytes a sample instead of 12.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

HOUR_MS = 3_600_000

NO_OFFSET = np.iinfo(np.int64).min
"""Stands for a clock offset that is not known."""

Column = NDArray[np.integer[Any]]
"""(n,) integers of any width: arithmetic has to widen them first, or it wraps around."""

Integers = NDArray[np.int64]

Unsigned = NDArray[np.unsignedinteger[Any]]

NO_INTEGERS: Column = np.empty(0, np.uint8)

_WIDTHS = [
    (int(np.iinfo(width).min), int(np.iinfo(width).max), np.dtype(width))
    for width in (np.uint8, np.uint16, np.int32, np.int64)
]


def find_width(lowest: int, highest: int) -> np.dtype[Any]:
    """Return the type of the fewest bytes that holds all integers from one to another."""
    return next(dtype for low, high, dtype in _WIDTHS if low <= lowest and highest <= high)


def narrow(values: Column) -> Column:
    """Return (n,) integers in as few bytes as hold all of them; a copy."""
    if not len(values):
        return NO_INTEGERS
    return values.astype(find_width(int(values.min()), int(values.max())))


def unsigned(column: Column) -> Unsigned:
    """Return the same bits: what is not negative is as it is, all else is larger than that."""
    return column.view(f"u{column.itemsize}")


class Offsets:
    """(n,) integers as a base and how far each is from it, in as few bytes as hold that."""

    def __init__(self, base: int, low: Column) -> None:
        self.base = base
        self._low = low

    @classmethod
    def of(cls, values: Integers) -> Offsets:
        """Return these integers, with the least as their base."""
        base = int(values.min()) if len(values) else 0
        return cls(base, narrow(values - base))

    @property
    def low(self) -> Column:
        """How far each is from the base."""
        return self._low

    @property
    def first(self) -> int:
        return self.base + int(self.low[0])

    @property
    def last(self) -> int:
        return self.base + int(self.low[-1])

    def __len__(self) -> int:
        return len(self.low)

    def __getitem__(self, places: Any) -> Offsets:
        """Return those that a slice, a mask or an array of positions takes."""
        return Offsets(self.base, self.low[places])

    def wide(self) -> Integers:
        """Return the integers themselves."""
        return self.low.astype(np.int64) + self.base

    def tolist(self) -> list[int]:
        """Return the integers themselves."""
        integers: list[int] = self.wide().tolist()
        return integers


class Ascending(Offsets):
    """Integers from the first to the last; those between are read once they are asked for.

    Of most hours of a window it is enough to know that the first and the last lie in it.
    """

    def __init__(self, first: int, last: int, read_steps: Callable[[], Column]) -> None:
        self.base = first
        self._last = last
        self._read_steps = read_steps

    @cached_property
    def low(self) -> Column:
        """How far each is from the first."""
        steps = self._read_steps()
        low = np.zeros(len(steps) + 1, np.int32)
        np.add.accumulate(steps, dtype=np.int32, out=low[1:])
        return low

    @property
    def first(self) -> int:
        return self.base

    @property
    def last(self) -> int:
        return self._last


class Claims(NamedTuple):
    """Every sample whose one-way latency a board takes; all (n,)."""

    seen_ts: Offsets
    """when we saw the pong, ms since the epoch"""
    ping_server: Column
    pong_server: Column
    """row IDs of the servers"""
    ms: Column


class Answers(NamedTuple):
    """Every pong to our own pings; all (n,)."""

    ping_seen_ts: Offsets
    """when we saw the ping"""
    seen_ts: Offsets
    pong_server: Column
    ms: Column
    """the round trip; -1 where there is none"""
    offset_x2_ms: Column
    """see ranking.clocks; NO_OFFSET where it is not known when the ping was sent"""

    def find_counted(self, start_ts: int, end_ts: int) -> Answers:
        """Return those that count against losses: of pings in [start, end) that are not void."""
        pinged_ts = self.ping_seen_ts.wide()
        is_inside = (pinged_ts >= start_ts) & (pinged_ts < end_ts)
        is_counted = is_inside & (self.offset_x2_ms != NO_OFFSET)
        return _map(self, lambda column: column[is_counted])


class Losses(NamedTuple):
    """Every pong to our own pings that has not come; all (n,). Not of pings that are void."""

    seen_ts: Offsets
    """when we saw the ping"""
    pong_server: Column


class Block:
    """What one hour of pings led to, all in order of time; what is of our own, once asked for."""

    def __init__(self, claims: Claims, read_own: Callable[[], tuple[Answers, Losses]]) -> None:
        self.claims = claims
        self._read_own = read_own

    @cached_property
    def _own(self) -> tuple[Answers, Losses]:
        return self._read_own()

    @property
    def answers(self) -> Answers:
        return self._own[0]

    @property
    def losses(self) -> Losses:
        return self._own[1]

    def detach(self) -> Block:
        """Return the same, whose claims don't keep all bytes of their hour in memory."""
        seen_ts, *columns = self.claims
        return Block(Claims(seen_ts, *(column.copy() for column in columns)), self._read_own)


Rows = TypeVar("Rows", Claims, Answers, Losses)

NO_TIMES = Offsets(0, NO_INTEGERS)
EMPTY = Block(
    Claims(NO_TIMES, NO_INTEGERS, NO_INTEGERS, NO_INTEGERS),
    lambda: (
        Answers(NO_TIMES, NO_TIMES, NO_INTEGERS, NO_INTEGERS, NO_INTEGERS),
        Losses(NO_TIMES, NO_INTEGERS),
    ),
)


def cut(rows: Rows, start_ts: int, end_ts: int) -> Rows:
    """Return the rows in [start, end); they are a slice, because rows are in order of time."""
    times = rows.seen_ts
    if not len(rows.pong_server) or (start_ts <= times.first and times.last < end_ts):
        return rows
    bounds = (start_ts - times.base, end_ts - times.base)
    first, after = np.searchsorted(times.low, bounds).tolist()
    return _map(rows, lambda column: column[first:after])


def sort(rows: Rows) -> Rows:
    """Return the rows in order of time."""
    order = np.argsort(rows.seen_ts.low, kind="stable")
    return _map(rows, lambda column: column[order])


def join(parts: Sequence[Rows]) -> Rows:
    """Return all rows as one, in the order in which they are given."""
    return type(parts[0])(*map(_join_columns, zip(*parts, strict=True)))


def _join_columns(columns: Sequence[Any]) -> Any:
    if isinstance(columns[0], Offsets):
        return Offsets.of(np.concatenate([column.wide() for column in columns]))
    return np.concatenate(columns)


def _map(rows: Rows, change: Callable[[Any], Any]) -> Rows:
    return type(rows)(*map(change, rows))
