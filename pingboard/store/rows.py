"""What the writers share: names to row IDs, events to row IDs, and inserting what is new."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from pingboard.store.tables import ping

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Column, Connection, Select, Table

T = TypeVar("T")

CHUNK = 500
"""Values in one IN list: far below the bound parameters that either database takes."""


def hash_event_id(event_id: str) -> int:
    """48 bits that stand for an event ID: enough to find a room's pong again, in six bytes."""
    return int.from_bytes(hashlib.sha256(event_id.encode()).digest()[:6])


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """The values in runs that fit into one IN list."""
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]


def ids_of(connection: Connection, column: Column[str], names: Iterable[str]) -> dict[str, int]:
    """The row ID of each name in a dictionary table (`server`, `room`), inserting new ones."""
    ids: dict[str, int] = {}
    for chunk in chunks(sorted(set(names))):
        found = select(column, column.table.c.id).where(column.in_(chunk))
        ids.update(_pairs(connection, found))
        if new := [{column.name: name} for name in chunk if name not in ids]:
            insert_new(connection, column.table, new)
            ids.update(_pairs(connection, found))
    return ids


def ping_ids(
    connection: Connection, wanted: Iterable[tuple[str, str]], rooms: Mapping[str, int]
) -> dict[tuple[str, str], int]:
    """The row ID of each stored ping among `wanted`, (room ID, event ID); `rooms` are row IDs."""
    wanted = list(wanted)
    ids: dict[tuple[str, str], int] = {}
    for room_id, room_row in rooms.items():
        for chunk in chunks([event for of_room, event in wanted if of_room == room_id]):
            found = select(ping.c.event, ping.c.id).where(
                ping.c.room == room_row, ping.c.event.in_(chunk)
            )
            ids |= {(room_id, event): id_ for event, id_ in _pairs(connection, found).items()}
    return ids


def insert_new(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert the rows whose key is new, leave the others as they are."""
    if not rows:
        return
    new: sqlite.Insert | postgresql.Insert
    new = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)
    connection.execute(new.on_conflict_do_nothing(), list(rows))


def _pairs(connection: Connection, query: Select[str, int]) -> dict[str, int]:
    return {name: id_ for name, id_ in connection.execute(query)}  # noqa: C416 (rows, not pairs)
