"""The store's samples, kept in memory in step with it: what the boards are ranked from.

In: rooms and a window. Out: blocks that hold it, as of one version of the store. What has changed
since the last time is read again, ping by ping; hours are loaded when a window first needs them
and dropped when no window has needed them for a while.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pingboard.blocks import EMPTY, HOUR_MS, Block, replace
from pingboard.model import PONG_TIMEOUT_MS
from pingboard.store import changes, columns, sealed
from pingboard.store.engine import read_snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pingboard.store.engine import Connection, Engine

KEEP_HOURS = 32 * 24
"""Hours before the latest that stay in memory; longer windows are read anew each time."""

FORGET_S = 3600.0
"""How long hours stay that no window needs."""

MOST_CHANGED = 5_000
"""Beyond so many changed pings, as by an import, all is read again."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Blocks as of one version."""

    version: int
    blocks: Sequence[Block]
    names: Sequence[str]
    """the server of each row ID"""


@dataclass(slots=True)
class _Kept:
    """The hours of one room that are in memory: all from `first` on, to the end of time."""

    first: int
    latest: int
    blocks: dict[int, Block] = field(default_factory=dict)
    needed: list[tuple[float, int]] = field(default_factory=list)
    """when a window was asked for, and its first hour"""


class Memory:
    """Keeps the samples of one database. Any thread may ask."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._version = -1
        self._names: list[str] = []
        self._rooms: dict[int, _Kept] = {}

    def take(self, rooms: Sequence[int], start_ts: int, end_ts: int) -> Snapshot:
        """The blocks that hold what these rooms (row IDs) heard in [start, end)."""
        first = (start_ts - PONG_TIMEOUT_MS) // HOUR_MS
        after = (end_ts + PONG_TIMEOUT_MS) // HOUR_MS + 1
        with self._lock, read_snapshot(self._engine) as connection:
            self._catch_up(connection)
            blocks = [
                block for room in rooms for block in self._take_room(connection, room, first, after)
            ]
            return Snapshot(self._version, blocks, self._names)

    def _catch_up(self, connection: Connection) -> None:
        version = changes.read_version(connection)
        if version == self._version:
            return
        changed = changes.read_changed(connection, self._version)
        if changed is None or len(changed) > MOST_CHANGED:
            self._rooms.clear()
        elif changed:
            self._apply(connection, changed)
        self._names = columns.read_names(connection)
        self._version = version

    def _apply(self, connection: Connection, changed: Sequence[int]) -> None:
        for (room, hour), pings in columns.locate(connection, changed).items():
            kept = self._rooms.get(room)
            if kept is not None and hour >= kept.first:
                fresh = columns.read_pings(connection, pings).get((room, hour), EMPTY)
                kept.latest = max(kept.latest, hour)
                kept.blocks[hour] = replace(kept.blocks.get(hour, EMPTY), pings, fresh)

    def _take_room(self, connection: Connection, room: int, first: int, after: int) -> list[Block]:
        kept = self._rooms.get(room)
        if kept is None:
            latest = columns.latest_hour(connection, room)
            kept = self._rooms[room] = _Kept(latest + 1, latest)
        keep_from = max(first, kept.latest - KEEP_HOURS)
        if keep_from < kept.first:
            kept.blocks.update(sealed.read_hours(connection, room, keep_from, kept.first))
            kept.first = keep_from
        older = sealed.read_hours(connection, room, first, min(kept.first, after))
        hours = {**older, **kept.blocks}
        _forget(kept, keep_from)
        return [hours[hour] for hour in sorted(hours) if first <= hour < after]


def _forget(kept: _Kept, first: int) -> None:
    """Drop what no window of the last while needed; `first` is needed now."""
    now = time.monotonic()
    kept.needed = [(at, hour) for at, hour in kept.needed if now - at < FORGET_S and hour < first]
    kept.needed.append((now, first))
    kept.first = max(kept.first, min(hour for _, hour in kept.needed))
    for hour in [hour for hour in kept.blocks if hour < kept.first]:
        del kept.blocks[hour]
