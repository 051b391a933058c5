"""What the store has gained or lost since a reader last looked.

Triggers write the journal `change` whenever samples, expected answers or rooms change: whoever
writes (the worker, a gap fill, a redaction, an import), no change can be forgotten. Its numbers
become visible in order, so the largest one is the version of all data that boards are made of.
A reader keeps the version that it has seen, asks what came after it, and reads those pings again.

What is packed of the past (`sealed`, `months`) is such a reader too: an hour that a change touches
is stale from that moment on, *pending*; now and then the writer marks it so in the tables. Until
then each reader looks the pending hours up, which costs a write nothing.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, cast

from sqlalchemy import bindparam, delete, func, select, update
from sqlalchemy.exc import SQLAlchemyError

from pingboard.columns.blocks import HOUR_MS
from pingboard.model import PONG_TIMEOUT_MS, StoreError, month_of
from pingboard.store.tables import change, month, ping, sealed, sealing

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Select

_LOCK = 7369621740115
"""The advisory lock that the triggers take on PostgreSQL."""

KEEP = 50_000
"""Journal rows to keep: a reader further behind starts again from nothing."""


def read_version(connection: Connection) -> int:
    """The version of the data; it only grows. 0 before the first change."""
    return connection.execute(select(func.max(change.c.id))).scalar_one() or 0


def read_changed(connection: Connection, version: int) -> list[int] | None:
    """The pings whose samples changed after a version; None where the journal forgot."""
    first = connection.execute(select(func.min(change.c.id))).scalar_one()
    if first is None or first > version + 1:
        return None
    wanted = select(change.c.ping).where(change.c.id > version, change.c.ping.is_not(None))
    return list(connection.execute(wanted.distinct()).scalars())


def find_version(engine: Engine) -> int:
    """`read_version`, on a connection of its own."""
    with engine.connect() as connection:
        return read_version(connection)


def can_resume(engine: Engine, version: int) -> bool:
    """Whether all that came after a version is still known; also a version of the future is not."""
    with engine.connect() as connection:
        first = connection.execute(select(func.min(change.c.id))).scalar_one()
        return (first or 1) <= version + 1 and version <= read_version(connection)


def read_pending(connection: Connection) -> set[tuple[int, int]]:
    """The room (row) and hour of each ping that changed, where nothing is marked stale yet."""
    since = select(sealing.c.version).scalar_subquery()
    changed = select(change.c.ping).where(change.c.id > since)
    return _hours_of(connection, changed)


def read_touched(connection: Connection, version: int) -> set[tuple[int, int]] | None:
    """The same of all that changed after a version; None where the journal forgot."""
    first = connection.execute(select(func.min(change.c.id))).scalar_one()
    if first is not None and first > version + 1:
        return None
    return _hours_of(connection, select(change.c.ping).where(change.c.id > version))


def read_remembered(connection: Connection) -> set[tuple[int, int]]:
    """The same of all that the journal has: readers may still look for the rows of these hours."""
    return _hours_of(connection, select(change.c.ping))


def forget_after(connection: Connection, version: int) -> None:
    """Take back what this transaction wrote since, where no board changed; see `hold_back_others`.

    The triggers write whenever a row goes or comes, also if only its place is another.
    """
    connection.execute(delete(change).where(change.c.id > version))


def _hours_of(connection: Connection, pings: Select[int | None]) -> set[tuple[int, int]]:
    hour = ping.c.seen_ts.op("/")(HOUR_MS)
    wanted = select(ping.c.room, hour).where(ping.c.id.in_(pings)).distinct()
    return {(room_row, hour) for room_row, hour in connection.execute(wanted)}


def touched_months(hour: int) -> set[int]:
    """The months (`model.month_of`) in which pongs to pings of an hour can have been seen."""
    start_ts = hour * HOUR_MS
    return {
        month_of(max(0, start_ts - PONG_TIMEOUT_MS)),
        month_of(start_ts + HOUR_MS + PONG_TIMEOUT_MS),
    }


def mark_stale(connection: Connection) -> None:
    """Mark the packed hours and months that have changed since this was last done."""
    hold_back_others(connection)
    pending = read_pending(connection)
    months = {(room, one) for room, hour in pending for one in touched_months(hour)}
    for table, column, keys in ((sealed, sealed.c.hour, pending), (month, month.c.month, months)):
        if keys:
            same = (table.c.room == bindparam("of_room")) & (column == bindparam("number"))
            numbered = [{"of_room": room, "number": number} for room, number in sorted(keys)]
            connection.execute(update(table).where(same).values(is_stale=True), numbered)
    connection.execute(update(sealing).values(version=read_version(connection)))


def prune(connection: Connection, keep: int = KEEP) -> None:
    """Mark what is stale by now, then forget all but the last changes."""
    mark_stale(connection)
    connection.execute(delete(change).where(change.c.id <= read_version(connection) - keep))


def hold_back_others(connection: Connection) -> None:
    """Let nobody else change what boards are made of until this transaction ends.

    On SQLite a transaction that writes does that by itself.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))


_VERSION = "SELECT coalesce(max(id), 0) FROM change"
"""`read_version`, for the driver: SQLAlchemy's own part would take ten times as long."""


class Watch:
    """Tells cheaply whether the version may have changed since last asked; for one thread.

    On SQLite that takes two microseconds and reads no table; a connection of its own stays open.
    PostgreSQL is always asked for the version itself.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: sqlite3.Connection | None = None
        self._seen: object = None
        self._version = 0
        self.is_cheap = engine.dialect.name == "sqlite"
        """whether it may be asked on an event loop"""

    def version(self) -> int:
        """The version of the data as of now; StoreError where the database can't be asked."""
        try:
            return self._look() if self.is_cheap else self._read()
        except (sqlite3.Error, SQLAlchemyError) as error:
            raise StoreError(f"the database can't be asked for its version: {error}") from error

    def _look(self) -> int:
        if self._connection is None:
            raw = self._engine.raw_connection()
            self._connection = cast("sqlite3.Connection", raw.driver_connection)
            raw.detach()
        # It changes whenever another connection commits, of whatever process.
        seen = self._connection.execute("PRAGMA data_version").fetchone()
        if seen != self._seen:
            # In this order: a commit in between is then found the next time.
            newest = self._connection.execute(_VERSION).fetchone()
            self._seen, self._version = seen, newest[0]
        return self._version

    def _read(self) -> int:
        with self._engine.connect() as connection:
            return read_version(connection)

    def close(self) -> None:
        """Let go of its connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
