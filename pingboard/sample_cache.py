"""The store's samples in memory, in step with its journal: what the boards are ranked from.

In: rooms and a window. Out: the hours that hold it, as of one version of the store. An hour that
the journal names is forgotten, and read again, whole, when a window next needs it. So several
processes may each keep a cache of one database.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from pingboard.model import PONG_TIMEOUT_MS
from pingboard.model.cancellation import raise_if_abandoned
from pingboard.sample_blocks import EMPTY, HOUR_MS, Block
from pingboard.store.engine import Connection, Engine, read_snapshot
from pingboard.store.homeservers import read_server_names
from pingboard.store.hours import iterate_hours
from pingboard.store.journal import HourKey, read_changed_hours, read_version

MAX_CACHED_HOURS = 31 * 24 + 2
"""Of a window whose hours are kept in memory; a longer one is read as a stream each time."""

MAX_HOURS = 4 * MAX_CACHED_HOURS
"""In memory at once; those that were needed longest ago make room for others."""

MAX_SAMPLES_BESIDE = 500_000
"""Of a window that may be ranked beside others. Of larger ones one at a time is, and of those that
are streamed one: what that takes in memory, about ten bytes a sample, is then taken once, however
many ask. A core or two would not be done with all of them earlier."""

TURN_POLL_S = 0.1

UNUSED_S = 3600.0
"""How long an hour stays that no window needs."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What some rooms heard, as of one version."""

    blocks: Iterable[Block]
    """of consecutive hours, room by room; may be gone through several times"""
    names: Sequence[str]
    """the server of each row ID"""


class SampleCache:
    """Keeps samples of one database. Any thread may ask."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._streamed = threading.RLock()
        self._large = threading.RLock()
        self._version = -1
        self._names: Sequence[str] = []
        self._blocks: dict[HourKey, Block] = {}
        self._used_at: dict[HourKey, float] = {}
        self._forgot_at = 0.0

    @contextmanager
    def open(self, rooms: Sequence[int], start_ts: int, end_ts: int) -> Iterator[Snapshot]:
        """Open what these rooms (row IDs) heard in [start, end), and perhaps a little more.

        The pongs of an hour of pings may have been seen up to 10 min before or after it.
        """
        first = (start_ts - PONG_TIMEOUT_MS) // HOUR_MS
        after = (end_ts + PONG_TIMEOUT_MS) // HOUR_MS + 1
        if after - first > MAX_CACHED_HOURS:
            # First the turn: who waits for it needs no connection yet.
            with _take_turn(self._streamed), read_snapshot(self._engine) as connection:
                stream = _Stream(connection, rooms, first, after)
                yield Snapshot(stream, read_server_names(connection))
            return
        with self._lock, read_snapshot(self._engine) as connection:
            self._follow_journal(connection)
            self._load(connection, rooms, first, after)
            keys = [(room, hour) for room in rooms for hour in range(first, after)]
            self._forget_unused(keys)
            blocks = [block for key in keys if (block := self._blocks[key]) is not EMPTY]
            snapshot = Snapshot(blocks, self._names)
        is_large = sum(len(block.claims.ms) for block in blocks) > MAX_SAMPLES_BESIDE
        with _take_turn(self._large) if is_large else nullcontext():
            yield snapshot

    def _follow_journal(self, connection: Connection) -> None:
        version = read_version(connection)
        if version == self._version:
            return
        changed = read_changed_hours(connection, self._version) if self._version >= 0 else None
        if changed is None:
            self._blocks.clear()
        else:
            for key in changed:
                self._blocks.pop(key, None)
        self._names = read_server_names(connection)
        self._version = version

    def _load(self, connection: Connection, rooms: Sequence[int], first: int, after: int) -> None:
        for room in rooms:
            absent = [hour for hour in range(first, after) if (room, hour) not in self._blocks]
            for start, end in _stretches(absent):
                blocks = dict(iterate_hours(connection, room, start, end))
                for hour in range(start, end):
                    self._blocks[room, hour] = blocks.get(hour, EMPTY)

    def _forget_unused(self, used: Sequence[HourKey]) -> None:
        """Forget what no window has needed for a while, and what is too much."""
        now = time.monotonic()
        for key in used:  # last, so that what was needed longest ago stands first
            self._used_at.pop(key, None)
            self._used_at[key] = now
        excess = len(self._used_at) - max(MAX_HOURS, len(used))
        if excess <= 0 and now - self._forgot_at < UNUSED_S / 10:
            return
        self._forgot_at = now
        for number, key in enumerate([*self._used_at]):
            if number >= excess and now - self._used_at[key] <= UNUSED_S:
                break
            del self._used_at[key]
            self._blocks.pop(key, None)


@dataclass(frozen=True, slots=True)
class _Stream:
    """Hours that are read as they are gone through: what is kept of them is what is ranked."""

    connection: Connection
    rooms: Sequence[int]
    first: int
    after: int

    def __iter__(self) -> Iterator[Block]:
        for room in self.rooms:
            for _, block in iterate_hours(self.connection, room, self.first, self.after):
                raise_if_abandoned()
                yield block.detach()


@contextmanager
def _take_turn(lock: threading.RLock) -> Iterator[None]:
    """Hold the lock; whoever is not waited for any more does not wait for it either."""
    while not lock.acquire(timeout=TURN_POLL_S):
        raise_if_abandoned()
    try:
        yield
    finally:
        lock.release()


def _stretches(hours: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield ordered hours as stretches [first, after) without a gap."""
    first = None
    for number, hour in enumerate(hours):
        if first is None:
            first = hour
        if number + 1 == len(hours) or hours[number + 1] != hour + 1:
            yield first, hour + 1
            first = None
