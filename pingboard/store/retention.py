"""Drops raw rows that are older than the operator wants to keep; what boards are made of stays.

An hour at a time: its pings, samples and losses go, its packed columns (`sealed`) and the counts
of its month (`months`) stay, so every board stays exact. From then on the hour is *closed*: which
pongs it has can't be told any more, so none is added to it or taken from it.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select

from pingboard.columns.blocks import HOUR_MS
from pingboard.model import PONG_TIMEOUT_MS
from pingboard.store import changes
from pingboard.store.folding import make_rows
from pingboard.store.rows import insert_new
from pingboard.store.sealed import read_hours
from pingboard.store.tables import change, closed, ping, room, sample, sealed, unanswered, withdrawn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Engine, Select

    from pingboard.columns.blocks import Block
    from pingboard.model import Window

SHORTEST = timedelta(days=14)
"""The least that is kept: twice the longest window that pingstat's clients can ask for."""


def read_closed(connection: Connection) -> dict[str, int]:
    """By room ID, the time before which pings are closed; of rooms where any are."""
    wanted = select(room.c.room_id, closed.c.before_ts).join(room, room.c.id == closed.c.room)
    return {room_id: ts for room_id, ts in connection.execute(wanted)}  # noqa: C416 (rows)


def read_closed_about(connection: Connection, ts: int) -> dict[str, int]:
    """`read_closed`, without asking where all pings from a time on are too young to be closed."""
    youngest_ts = time.time_ns() // 1_000_000 - SHORTEST // timedelta(milliseconds=1)
    return read_closed(connection) if ts < youngest_ts else {}


def read_closed_hours(connection: Connection, rooms: Sequence[int], window: Window) -> list[Block]:
    """The closed hours of rooms (row IDs) that can have a pong in a window."""
    wanted = select(closed.c.room, closed.c.before_ts).where(closed.c.room.in_(rooms))
    first = (window.start_ts - PONG_TIMEOUT_MS) // HOUR_MS
    after = (window.end_ts + PONG_TIMEOUT_MS) // HOUR_MS + 1
    return [
        block
        for room_row, before_ts in connection.execute(wanted).all()
        for block in read_hours(
            connection, room_row, first, min(after, before_ts // HOUR_MS)
        ).values()
    ]


def find_kept_from(engine: Engine, rooms: Sequence[int] | None = None) -> int | None:
    """Since when the raw rows of rooms (row IDs; None: of all) are all kept; None: since ever."""
    wanted = select(func.max(closed.c.before_ts))
    if rooms is not None:
        wanted = wanted.where(closed.c.room.in_(rooms))
    with engine.connect() as connection:
        found: int | None = connection.execute(wanted).scalar_one()
        return found


def retire(engine: Engine, before_ts: int) -> bool:
    """Drop the raw rows of one hour that ended before a time; False where there is none.

    For the one writer. An hour whose columns are not packed as they are waits until they are; so
    does one that the journal of changes still speaks of: its readers will look for the rows.
    """
    with engine.begin() as connection:
        changes.mark_stale(connection)
        for room_row in connection.execute(select(room.c.id)).scalars():
            first = select(func.min(ping.c.seen_ts)).where(ping.c.room == room_row)
            first_ts = connection.execute(first).scalar_one()
            end_ts = None if first_ts is None else (first_ts // HOUR_MS + 1) * HOUR_MS
            if (
                end_ts is not None
                and end_ts <= before_ts
                and _is_done(connection, room_row, end_ts)
            ):
                _drop(connection, room_row, end_ts)
                return True
    return False


def _pings(room_row: int, end_ts: int) -> Select[int]:
    return select(ping.c.id).where(ping.c.room == room_row, ping.c.seen_ts < end_ts)


def _is_done(connection: Connection, room_row: int, end_ts: int) -> bool:
    """Whether the room's oldest hour is packed, and nobody has to read it ping by ping."""
    hour = end_ts // HOUR_MS - 1
    same = (sealed.c.room == room_row) & (sealed.c.hour == hour) & sealed.c.is_stale.is_(False)
    news = select(change.c.id).where(change.c.ping.in_(_pings(room_row, end_ts)))
    is_packed = connection.execute(select(sealed.c.hour).where(same)).first() is not None
    return is_packed and connection.execute(news.limit(1)).first() is None


def _drop(connection: Connection, room_row: int, end_ts: int) -> None:
    gone = _pings(room_row, end_ts)
    make_rows(connection, connection.execute(gone).scalars().all())
    version = changes.read_version(connection)
    for table in (sample, unanswered, withdrawn):
        connection.execute(delete(table).where(table.c.ping.in_(gone)))
    connection.execute(delete(ping).where(ping.c.room == room_row, ping.c.seen_ts < end_ts))
    # No board changes, so nobody has to read again what is gone.
    changes.forget_after(connection, version)
    insert_new(connection, closed, [{"room": room_row, "before_ts": end_ts}])
    later = closed.update().where(closed.c.room == room_row)
    connection.execute(later.values(before_ts=end_ts))
