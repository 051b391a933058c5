"""What the writers share: names to row IDs, events to row IDs, and inserting what is new."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import ARRAY, Text, any_, bindparam, func, select

from pingboard.store.tables import ping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Column, ColumnElement, Connection, Select, Table
    from sqlalchemy.dialects import postgresql, sqlite

    from pingboard.model import Batch, Ping

T = TypeVar("T")

CHUNK = 500
"""Values in one IN list: far below the bound parameters that either database takes."""

MOST_KNOWN = 50_000


@dataclass(slots=True)
class Known:
    """The row IDs of names in a dictionary table, as far as they were met and committed."""

    column: Column[str]
    _committed: dict[str, int] = field(default_factory=dict)
    _pending: dict[str, int] = field(default_factory=dict)

    def begin(self) -> None:
        """A transaction begins; what the last one found is forgotten unless it was committed."""
        self._pending.clear()

    def commit(self) -> None:
        """It was committed."""
        if len(self._committed) > MOST_KNOWN:
            self._committed.clear()
        self._committed |= self._pending

    def ids_of(self, connection: Connection, names: Iterable[str]) -> dict[str, int]:
        """As `ids_of`, asking only for names that are new."""
        wanted = set(names)
        ids = {name: self._committed[name] for name in wanted if name in self._committed}
        if len(ids) < len(wanted):
            found = ids_of(connection, self.column, wanted - ids.keys())
            self._pending |= found
            ids |= found
        return ids


def hash_event_id(event_id: str) -> int:
    """48 bits that stand for an event ID: enough to find a room's pong again, in six bytes."""
    return int.from_bytes(hashlib.sha256(event_id.encode()).digest()[:6])


def pings_of(batch: Batch) -> dict[tuple[str, str], Ping]:
    """Every ping that a batch names, by room ID and event ID."""
    found = {(one.room_id, one.event_id): one for one in batch.pings}
    for sample in batch.samples:
        found[sample.ping.room_id, sample.ping.event_id] = sample.ping
    for one, _ in batch.expected:
        found[one.room_id, one.event_id] = one
    return found


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """The values in runs that fit into one IN list."""
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]


def is_one_of(
    connection: Connection, column: Column[Any], values: Sequence[Any]
) -> ColumnElement[bool]:
    """Whether a column has one of any number of texts or integers: one parameter holds them all."""
    if connection.dialect.name == "sqlite":
        listed = func.json_each(json.dumps(values)).table_valued("value")
        return column.in_(select(listed.c.value))
    array = bindparam(None, list(values), ARRAY(column.type), unique=True)
    return column == any_(array)


def write_list(connection: Connection, values: Sequence[Any]) -> object:
    """Any number of texts or integers as the one parameter `values` of `is_among`."""
    return json.dumps(values) if connection.dialect.name == "sqlite" else list(values)


def is_among(dialect: str, column: Column[Any]) -> ColumnElement[bool]:
    """`is_one_of` in a statement that is made once, for it takes longer than asking."""
    if dialect == "sqlite":
        listed = func.json_each(bindparam("values")).table_valued("value")
        return column.in_(select(listed.c.value))
    return column == any_(bindparam("values", type_=ARRAY(column.type)))


@cache
def _find_pings(dialect: str) -> Select[str, int]:
    of_room = select(ping.c.event, ping.c.id).where(ping.c.room == bindparam("of_room"))
    return of_room.where(is_among(dialect, ping.c.event))


def ids_of(connection: Connection, column: Column[str], names: Iterable[str]) -> dict[str, int]:
    """The row ID of each name in a dictionary table (`server`, `room`), inserting new ones."""
    wanted = sorted(set(names))
    if not wanted:
        return {}
    found = select(column, column.table.c.id).where(is_one_of(connection, column, wanted))
    ids = _pairs(connection, found)
    if new := [(name,) for name in wanted if name not in ids]:
        insert_rows(connection, column.table, (column.name,), new)
        ids = _pairs(connection, found)
    return ids


def ping_ids(
    connection: Connection, wanted: Iterable[tuple[str, str]], rooms: Mapping[str, int]
) -> dict[tuple[str, str], int]:
    """The row ID of each stored ping among `wanted`, (room ID, event ID); `rooms` are row IDs."""
    events: dict[str, list[str]] = {}
    for room_id, event in wanted:
        events.setdefault(room_id, []).append(event)
    ids: dict[tuple[str, str], int] = {}
    find = _find_pings(connection.dialect.name)
    for room_id, of_room in events.items():
        given = {"of_room": rooms[room_id], "values": write_list(connection, of_room)}
        ids |= {(room_id, event): id_ for event, id_ in connection.execute(find, given)}
    return ids


def insert_new(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert the rows whose key is new, leave the others as they are."""
    if not rows:
        return
    connection.execute(_insert_of(connection.dialect.name)(table).on_conflict_do_nothing(), rows)


@cache
def _insert_of(dialect: str) -> Callable[[Table], sqlite.Insert | postgresql.Insert]:
    # Late: a command's start has no time for the dialect that it does not speak.
    if dialect == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert
    from sqlalchemy.dialects import postgresql

    return postgresql.insert


def insert_rows(
    connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> int:
    """The same for many rows at once, each a tuple; returns how many were new.

    In the way that each database takes fastest, past SQLAlchemy's work for each row.
    """
    if not rows:
        return 0
    names = ", ".join(columns)
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" * len(columns))
        sql = f"INSERT INTO {table.name} ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608
        return connection.exec_driver_sql(sql, list(rows)).rowcount
    # A row at a time takes a million times the way to the server and back; columns take it once.
    types = [table.c[name].type.compile(connection.dialect) for name in columns]
    arrays = ", ".join(f"%s::{type_}[]" for type_ in types)
    sql = (
        f"INSERT INTO {table.name} ({names}) SELECT * FROM unnest({arrays}) ON CONFLICT DO NOTHING"  # noqa: S608
    )
    written = map(_write_array, (table.c[name] for name in columns), zip(*rows, strict=True))
    return connection.exec_driver_sql(sql, tuple(written)).rowcount


def _write_array(column: Column[Any], values: Sequence[Any]) -> object:
    """As PostgreSQL reads it: numbers as text, which costs a fifth of what the driver takes."""
    if isinstance(column.type, Text):
        return list(values)
    return f"{{{','.join(['NULL' if value is None else str(value) for value in values])}}}"


def _pairs(connection: Connection, query: Select[str, int]) -> dict[str, int]:
    return {name: id_ for name, id_ in connection.execute(query)}  # noqa: C416 (rows, not pairs)
