"""What the writers look up: names -> row IDs, and events -> stored pings."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from sqlalchemy import select

from pingboard.lineage import RoomRow, Rooms
from pingboard.store.schema import ping, room
from pingboard.store.sql import execute, insert_rows

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Table

T = TypeVar("T")

MAX_VALUES = 5_000
"""In one IN list: far below the parameters that either database takes."""

MAX_NAMES = 50_000


class StoredPing(NamedTuple):
    """A ping as it is stored; `room` and `server` are row IDs."""

    id: int
    room: int
    event_id: str
    server: int
    origin_server_ts: int
    seen_ts: int
    is_ours: bool
    is_estimated: bool


class Names:
    """The row IDs of names in a dictionary table (`server`, `room`); these are never deleted."""

    def __init__(self, table: Table, column: str) -> None:
        self._table, self._column = table, column
        self._rows: dict[str, int] = {}
        self.has_new = False
        """whether a name was inserted since this was last set to False"""

    def forget(self) -> None:
        """Forget all, because what was inserted may not have been committed."""
        self._rows.clear()

    def find(self, connection: Connection, names: Iterable[str]) -> Mapping[str, int]:
        """Return row IDs of at least these names; new names are inserted."""
        unknown = sorted({name for name in names if name not in self._rows})
        if unknown:
            if len(self._rows) > MAX_NAMES:
                self._rows.clear()
                return self.find(connection, names)
            self._rows |= self._read(connection, unknown)
            new = [(name,) for name in unknown if name not in self._rows]
            if new:
                insert_rows(connection, self._table, (self._column,), new)
                self._rows |= self._read(connection, [name for (name,) in new])
                self.has_new = True
        return self._rows

    def _read(self, connection: Connection, names: Sequence[str]) -> dict[str, int]:
        sql = f"SELECT {self._column}, id FROM {self._table.name} WHERE {self._column} IN "  # noqa: S608
        return {
            name: row
            for some in chunks(names)
            for name, row in execute(connection, sql + mark(len(some)), *some)
        }


def mark(count: int) -> str:
    """Return the parameters of an IN list."""
    return f"({', '.join('?' * count)})"


def chunks(values: Iterable[T], size: int = MAX_VALUES) -> Iterator[list[T]]:
    """Yield the values in runs that fit into one IN list."""
    iterator = iter(values)
    while some := list(islice(iterator, size)):
        yield some


def hash_event_id(event_id: str) -> int:
    """Return 48 bits that stand for an event ID: enough to find a room's pong, in six bytes."""
    return int.from_bytes(hashlib.sha256(event_id.encode()).digest()[:6])


def read_rooms(connection: Connection) -> Rooms:
    """Read every room, as of now."""
    rows = connection.execute(select(room.c.id, room.c.room_id, room.c.alias, room.c.predecessor))
    return Rooms([RoomRow(*row) for row in rows])


def find_lineage(engine: Engine, room_id: str) -> list[int]:
    """Return the rows of a room and of all that it was upgraded from or to; [] if unknown."""
    with engine.connect() as connection:
        return list(read_rooms(connection).lineage(room_id))


PING_FIELDS = """ping.id, ping.room, ping.event, ping.server, ping.origin_server_ts, ping.seen_ts,
ping.vantage IS NOT NULL, ping.is_estimated"""
"""The columns of a `StoredPing`."""


def find_stored_pings(
    connection: Connection, lineage: Collection[int], event_ids: Collection[str]
) -> dict[str, StoredPing]:
    """Return those of these pings that are stored in any room of a lineage, by event ID."""
    rooms = f"SELECT {PING_FIELDS} FROM ping WHERE room IN {mark(len(lineage))} AND event IN "  # noqa: S608
    return {
        row[2]: StoredPing(*row)
        for some in chunks(event_ids)
        for row in execute(connection, rooms + mark(len(some)), *lineage, *some)
    }


def insert_pings(connection: Connection, rows: Sequence[tuple[object, ...]]) -> list[int]:
    """Insert new pings, `PING_COLUMNS` without the first; return their IDs, one more each."""
    if not rows:
        return []
    last = execute(connection, "SELECT max(id) FROM ping").scalar_one() or 0
    ids = range(last + 1, last + 1 + len(rows))
    insert_rows(
        connection, ping, PING_COLUMNS, [(id_, *row) for id_, row in zip(ids, rows, strict=True)]
    )
    return list(ids)


PING_COLUMNS = (
    "id",
    "room",
    "server",
    "event",
    "origin_server_ts",
    "seen_ts",
    "vantage",
    "sent_ts",
    "is_estimated",
)


def find_dropped(
    connection: Connection, lineage: Collection[int], event_ids: Collection[str]
) -> set[str]:
    """Return those pings (event IDs) of a lineage whose single samples are dropped."""
    hashes = {hash_event_id(event_id): event_id for event_id in event_ids}
    sql = f"SELECT event_hash FROM dropped WHERE room IN {mark(len(lineage))} AND event_hash IN "  # noqa: S608
    return {
        hashes[row[0]]
        for some in chunks(hashes)
        for row in execute(connection, sql + mark(len(some)), *lineage, *some)
    }


def read_kept_from(connection: Connection) -> dict[int, int]:
    """Return since when single samples are kept, by room (row), of those that dropped any."""
    rows = execute(connection, "SELECT room, kept_from_ts FROM retention")
    return {row[0]: row[1] for row in rows}


def find_kept_from(connection: Connection, lineage: Collection[int]) -> int:
    """Return since when all single samples of a lineage are kept; 0 for always."""
    kept_from = read_kept_from(connection)
    return max((kept_from.get(row, 0) for row in lineage), default=0)
