"""The store's samples, kept in memory in step with it: what the boards are ranked from.

In: rooms and a window. Out: blocks that hold it, as of one version of the store. What has changed
since the last time is read again, pong by pong, and told to who follows; hours are loaded when a
window first needs them and dropped when no window has needed them for a while.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from pingboard.columns.blocks import HOUR_MS, Block
from pingboard.columns.hours import Difference, Hour, Pongs
from pingboard.lineage import Rooms
from pingboard.model import PONG_TIMEOUT_MS
from pingboard.store import changes, columns, sealed
from pingboard.store.engine import read_snapshot
from pingboard.store.news import Changed, Cursor, News, cursor_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pingboard.store.engine import Connection, Engine

KEEP_HOURS = 32 * 24
"""Hours before the latest that stay in memory; longer windows are read anew each time."""

FORGET_S = 3600.0
"""How long hours stay that no window needs."""

MOST_CHANGED = 5_000
"""Beyond so many changes, as by an import, all is read again."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Blocks as of one version."""

    version: int
    blocks: Sequence[Block]
    names: Sequence[str]
    """the server of each row ID"""


class Follower(Protocol):
    """Who is told of each difference, under the memory's lock."""

    def change(self, room: int, difference: Difference) -> None:
        """A room (row ID) gained or lost these."""

    def rename(self, names: Sequence[str]) -> None:
        """There are more servers."""

    def reset(self) -> None:
        """What has changed is not known: begin again from a snapshot."""


@dataclass(slots=True)
class _Kept:
    """The hours of one room that are in memory: all from `first` on, to the end of time."""

    first: int
    latest: int
    hours: dict[int, Hour] = field(default_factory=dict)
    needed: list[tuple[float, int]] = field(default_factory=list)
    """when a window was asked for, and its first hour"""


class Memory:
    """Keeps the samples of one database. Any thread may ask."""

    def __init__(self, engine: Engine, follower: Follower) -> None:
        self._engine = engine
        self._follower = follower
        self._news = News(engine)
        self.lock = threading.RLock()
        self.version = -1
        """of the store: at least so new is what is here"""
        self._is_behind = True
        """more has changed than can be followed"""
        self._is_due = True
        """something may have changed, and is looked for without asking first"""
        self._kept: dict[int, _Kept] = {}
        self.names: Sequence[str] = []
        """the server of each row ID"""
        self.rooms = Rooms()

    def take(self, rooms: Sequence[int], start_ts: int, end_ts: int) -> Snapshot:
        """The blocks that hold what these rooms (row IDs) heard in [start, end)."""
        first, after = _hours(start_ts, end_ts)
        with self.lock, read_snapshot(self._engine) as connection:
            self._catch_up(connection)
            blocks = [
                block for room in rooms for block in self._take_room(connection, room, first, after)
            ]
            return Snapshot(self.version, blocks, self.names)

    def follow(self, most: int = MOST_CHANGED) -> bool:
        """Tell the follower all that is new; False where a snapshot has to be taken first.

        Under the lock. It takes microseconds for each change.
        """
        if self._is_behind:
            return False
        self._is_due = self._is_due or self._news.is_due()
        if not self._is_due:
            return True
        with self._news as cursor:
            changed = self._news.read(cursor, self.version, most)
            if changed is not None:
                self._apply(cursor, changed)
        if changed is None:
            self._is_behind = most >= MOST_CHANGED
            return False
        # Pongs come in swarms: behind one, looking for the next at once is quicker than to ask
        # first whether there is any.
        self._is_due = bool(changed)
        return True

    def find(self, rooms: Sequence[int], start_ts: int, end_ts: int) -> list[Block] | None:
        """The blocks that hold [start, end), None where not all are in memory; under the lock."""
        first, after = _hours(start_ts, end_ts)
        found = []
        for room in rooms:
            kept = self._kept.get(room)
            if kept is None or first < kept.first:
                return None
            hours = (kept.hours.get(hour) for hour in range(first, after))
            found += [hour.block() for hour in hours if hour is not None]
        return found

    def _catch_up(self, connection: Connection) -> None:
        version = changes.read_version(connection)
        if version == self.version:
            return
        cursor = cursor_of(connection)
        changed = self._news.read(cursor, self.version, MOST_CHANGED)
        if changed is None:
            self._kept.clear()
            self.names = self._news.read_names(cursor)
            self.rooms = self._news.read_rooms(cursor)
            self.version = version
            self._follower.reset()
        else:
            self._apply(cursor, changed)
        self._is_behind = False

    def _apply(self, cursor: Cursor, changed: Sequence[Changed]) -> None:
        if not changed:
            return
        # Loops, where comprehensions would say it shorter: each of those is a call, and most often
        # there is one change.
        unclear: set[int] = set()
        has_room = False
        for one in changed:
            if one.ping is None:
                has_room = True
            elif one.is_unclear:
                unclear.add(one.ping)
        pings = self._news.read_pings(cursor, unclear) if unclear else {}
        if has_room:
            self.rooms = self._news.read_rooms(cursor)
        self._learn_names(cursor, changed, pings)
        # What fails in the middle of it is read again from the beginning.
        self.version = -1
        for one in changed:
            hour = self._hour_of(one)
            if hour is None or one.ping is None or one.room is None:
                continue
            if one.ping in pings:
                self._follower.change(one.room, hour.put(one.ping, pings.pop(one.ping)))
            elif one.pong is not None and one.ping not in unclear:
                self._follower.change(one.room, hour.add(one.pong))
        self.version = changed[-1].version

    def _hour_of(self, one: Changed) -> Hour | None:
        """Where a change belongs; None where that is not in memory."""
        kept = None if one.room is None else self._kept.get(one.room)
        if kept is None or one.hour is None or one.hour < kept.first:
            return None
        kept.latest = max(kept.latest, one.hour)
        found = kept.hours.get(one.hour)
        if found is None:
            found = kept.hours[one.hour] = Hour()
        return found

    def _learn_names(
        self, cursor: Cursor, changed: Iterable[Changed], pings: Mapping[int, Pongs]
    ) -> None:
        servers: list[int] = []
        for one in changed:
            if one.pong is not None:
                servers += (one.pong.ping_server, one.pong.pong_server)
        for all_of in pings.values():
            servers += all_of.losses
            for pong in all_of.samples.values():
                servers += (pong.ping_server, pong.pong_server)
        known = self.names
        for server in servers:
            if server >= len(known) or not known[server]:
                self.names = self._news.read_names(cursor)
                self._follower.rename(self.names)
                break

    def _take_room(self, connection: Connection, room: int, first: int, after: int) -> list[Block]:
        kept = self._kept.get(room)
        if kept is None:
            latest = columns.latest_hour(connection, room)
            kept = self._kept[room] = _Kept(latest + 1, latest)
        keep_from = max(first, kept.latest - KEEP_HOURS)
        if keep_from < kept.first:
            loaded = sealed.read_hours(connection, room, keep_from, kept.first)
            kept.hours.update({hour: Hour(block) for hour, block in loaded.items()})
            kept.first = keep_from
        older = sealed.read_hours(connection, room, first, min(kept.first, after))
        _forget(kept, keep_from)
        recent = [(number, hour) for number, hour in kept.hours.items() if first <= number < after]
        blocks = older | {number: hour.block() for number, hour in recent}
        return [blocks[number] for number in sorted(blocks)]


def _hours(start_ts: int, end_ts: int) -> tuple[int, int]:
    """The first hour of pings that can have a pong in [start, end), and the first after them."""
    return (start_ts - PONG_TIMEOUT_MS) // HOUR_MS, (end_ts + PONG_TIMEOUT_MS) // HOUR_MS + 1


def _forget(kept: _Kept, first: int) -> None:
    """Drop what no window of the last while needed; `first` is needed now."""
    now = time.monotonic()
    kept.needed = [(at, hour) for at, hour in kept.needed if now - at < FORGET_S and hour < first]
    kept.needed.append((now, first))
    kept.first = max(kept.first, min(hour for _, hour in kept.needed))
    for hour in [hour for hour in kept.hours if hour < kept.first]:
        del kept.hours[hour]
