"""The journal: what has changed since a reader last looked.

The one writer names each hour (of a room's pings) whose samples changed, in the same transaction;
and, as an entry without a room, that a room, an alias or an edition did. Its numbers only grow, so
the last one is the version of all data that boards are made of. A reader keeps the version that it
has seen, asks what came after it, and reads those hours again.

Each sample that was recorded live has a number of its own while its hour is open; the entry of its
hour has the last of these. So `samples.read_new` can tell it once, whoever was cut off meanwhile.
When an hour is closed its numbers are gone, and the journal forgets all up to them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from typing import cast

from sqlalchemy import Connection, Engine, delete, func, select
from sqlalchemy.exc import SQLAlchemyError

from pingboard.model import StoreError
from pingboard.store.schema import journal_entry
from pingboard.store.sql import execute, insert_rows

HourKey = tuple[int, int]
"""A room (row ID), and an hour of its pings since the epoch."""

_VERSION = "SELECT max(version) FROM journal_entry"


def read_version(connection: Connection) -> int:
    """Return the version of the data."""
    return int(execute(connection, _VERSION).scalar_one())


def find_version(engine: Engine) -> int:
    """Return the version of the data, on a connection of its own."""
    with engine.connect() as connection:
        return read_version(connection)


def read_changed_hours(connection: Connection, version: int) -> set[HourKey] | None:
    """Return the hours that changed after a version, or None if the journal can't tell.

    It forgets old versions, and a database that was restored has not reached later ones.
    """
    if not _is_known(connection, version):
        return None
    changed = select(journal_entry.c.room, journal_entry.c.hour).where(
        journal_entry.c.version > version, journal_entry.c.room.is_not(None)
    )
    return {(room, hour) for room, hour in connection.execute(changed.distinct())}


def can_resume(engine: Engine, version: int) -> bool:
    """Tell whether all that came after a version is still known; not so for a future version."""
    with engine.connect() as connection:
        return _is_known(connection, version)


def write_changes(
    connection: Connection, version: int, hours: Collection[HourKey], *, has_room: bool = False
) -> None:
    """Name the hours whose samples changed; `version` is the last number that is used already."""
    entries: list[tuple[int | None, int | None]] = [*hours]
    if has_room:
        entries.append((None, None))
    rows = [(number, *entry) for number, entry in enumerate(entries, version + 1)]
    insert_rows(connection, journal_entry, ("version", "room", "hour"), rows)


def write_room_change(connection: Connection) -> None:
    """Tell that a room, an alias or an edition changed."""
    rows = [(read_version(connection) + 1, None, None)]
    insert_rows(connection, journal_entry, ("version", "room", "hour"), rows)


def prune(connection: Connection, version: int) -> None:
    """Forget all up to a version; but the last entry stays, so that numbers only grow."""
    newest = select(func.max(journal_entry.c.version)).scalar_subquery()
    connection.execute(
        delete(journal_entry).where(
            journal_entry.c.version <= version, journal_entry.c.version < newest
        )
    )


def limit_entries(connection: Connection, limit: int) -> None:
    """Forget all but the last entry if there are more than so many: readers read all again."""
    if int(execute(connection, "SELECT count(*) FROM journal_entry").scalar_one()) > limit:
        prune(connection, read_version(connection))


def _is_known(connection: Connection, version: int) -> bool:
    oldest, newest = execute(
        connection, "SELECT min(version), max(version) FROM journal_entry"
    ).one()
    return bool(oldest <= version <= newest)


class VersionWatch:
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
        """Return the version as of now; StoreError where the database can't be asked."""
        try:
            return self._look() if self.is_cheap else find_version(self._engine)
        except (sqlite3.Error, SQLAlchemyError) as error:
            raise StoreError(f"the database can't be asked for its version: {error}") from error

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

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
