"""Drops what only single samples need, where it is older than the operator wants to keep.

A closed hour loses its cold part, and its pings go; its hot part stays, so every board stays exact.
From then on nobody can tell which pongs it has, so none is added to it or taken from it. A hash of
each ping stays: an import may name it again, with another estimate of its time.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, Engine, delete, func, select, update

from pingboard.model import hash_event_id
from pingboard.sample_blocks import HOUR_MS
from pingboard.store.hours import find_first_open_hour
from pingboard.store.schema import dropped, hour, ping, retention, room, withdrawn
from pingboard.store.sql import chunks, execute, insert_rows, placeholders


def find_kept_from(engine: Engine, rooms: Collection[int] | None = None) -> int | None:
    """Return since when all single samples of rooms (row IDs; None: all) are kept, None: always."""
    with engine.connect() as connection:
        return read_kept_from(connection, rooms) or None


def read_kept_from(connection: Connection, rooms: Collection[int] | None = None) -> int:
    """Return the same on a connection that is open; 0 for always."""
    rows = execute(connection, "SELECT room, kept_from_ts FROM retention")
    return max((ts for row, ts in rows if rooms is None or row in rooms), default=0)


def find_dropped(
    connection: Connection, lineage: Collection[int], event_ids: Collection[str]
) -> set[str]:
    """Return those pings (event IDs) of a lineage whose single samples are dropped."""
    hashes = {hash_event_id(event_id): event_id for event_id in event_ids}
    rooms = placeholders(len(lineage))
    sql = f"SELECT event_hash FROM dropped WHERE room IN {rooms} AND event_hash IN "  # noqa: S608
    return {
        hashes[row[0]]
        for chunk in chunks(hashes)
        for row in execute(connection, sql + placeholders(len(chunk)), *lineage, *chunk)
    }


def drop_samples(engine: Engine, before_ts: int) -> bool:
    """Drop an hour that ended before a time; False where there is nothing left to do.

    For the one writer. An hour waits until it is closed, and so do those after it.
    """
    with engine.begin() as connection:
        for room_row in connection.scalars(select(room.c.id)).all():
            first = _find_oldest(connection, room_row, read_kept_from(connection, [room_row]))
            if first is None:
                continue
            is_closed = find_first_open_hour(connection, room_row) not in range(first + 1)
            if is_closed and (first + 1) * HOUR_MS <= before_ts:
                _drop(connection, room_row, first + 1)
                return True
    return False


def _find_oldest(connection: Connection, room_row: int, kept_from_ts: int) -> int | None:
    """Return the first hour of a room that has anything to drop."""
    pinged = select(func.min(ping.c.seen_ts)).where(
        ping.c.room == room_row, ping.c.seen_ts >= kept_from_ts
    )
    packed = select(func.min(hour.c.hour)).where(
        hour.c.room == room_row, hour.c.hour >= kept_from_ts // HOUR_MS
    )
    ts = connection.scalar(pinged)
    hours = (connection.scalar(packed), None if ts is None else ts // HOUR_MS)
    return min((number for number in hours if number is not None), default=None)


def _drop(connection: Connection, room_row: int, after: int) -> None:
    packed = update(hour).where(hour.c.room == room_row, hour.c.hour < after)
    connection.execute(packed.where(hour.c.cold.is_not(None)).values(cold=None))
    kept_from_ts = after * HOUR_MS
    is_old = (ping.c.room == room_row) & (ping.c.seen_ts < kept_from_ts)
    hashes = [
        (room_row, hash_event_id(event_id))
        for event_id in connection.scalars(select(ping.c.event).where(is_old))
    ]
    insert_rows(connection, dropped, ("room", "event_hash"), hashes)
    old = select(ping.c.id).where(is_old)
    connection.execute(delete(withdrawn).where(withdrawn.c.ping.in_(old)))
    connection.execute(delete(ping).where(is_old))
    insert_rows(connection, retention, ("room", "kept_from_ts"), [(room_row, kept_from_ts)])
    edge = update(retention).where(retention.c.room == room_row)
    connection.execute(edge.values(kept_from_ts=kept_from_ts))
