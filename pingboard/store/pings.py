"""Reads of pings: what the worker does not have in memory, and what single samples refer to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sqlalchemy import select

from pingboard.columns import HOUR_MS
from pingboard.model import Ping
from pingboard.store.engine import read_snapshot
from pingboard.store.homeservers import read_server_names
from pingboard.store.hours import iterate_hours
from pingboard.store.lookups import chunks, find_lineage
from pingboard.store.schema import ping, room, server, vantage

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_END_OF_TIME = 1 << 30
"""hours"""


class PingDetails(NamedTuple):
    """A stored ping, with the names that it refers to."""

    event_id: str
    server: str
    origin_server_ts: int
    seen_ts: int
    vantage: str | None
    sent_ts: int | None
    is_estimated: bool


def read_ping_details(connection: Connection, room_row: int, hour: int) -> dict[int, PingDetails]:
    """Return the pings of a room's hour by row ID."""
    rows = (
        select(ping.c.id, *_DETAILS)
        .join(server, ping.c.server == server.c.id)
        .outerjoin(vantage, ping.c.vantage == vantage.c.id)
        .where(
            ping.c.room == room_row,
            ping.c.seen_ts >= hour * HOUR_MS,
            ping.c.seen_ts < (hour + 1) * HOUR_MS,
        )
    )
    return {row: PingDetails(*details) for row, *details in connection.execute(rows)}


_DETAILS = (
    ping.c.event,
    server.c.name,
    ping.c.origin_server_ts,
    ping.c.seen_ts,
    vantage.c.name,
    ping.c.sent_ts,
    ping.c.is_estimated,
)


def find_pings(engine: Engine, room_id: str, event_ids: Sequence[str]) -> dict[str, Ping]:
    """Return the stored pings among these events of a room's lineage, by event ID.

    They are of the room that is asked for, because that is where the worker met the event.
    """
    lineage = find_lineage(engine, room_id)
    rows = (
        select(*_DETAILS)
        .join(server, ping.c.server == server.c.id)
        .outerjoin(vantage, ping.c.vantage == vantage.c.id)
        .where(ping.c.room.in_(lineage))
    )
    pings: dict[str, Ping] = {}
    with engine.connect() as connection:
        for some in chunks(event_ids):
            for row in connection.execute(rows.where(ping.c.event.in_(some))):
                pings[row[0]] = Ping(row[0], room_id, *row[1:6])
    return pings


def find_latest_pings(engine: Engine, room_id: str, limit: int = 50) -> list[str]:
    """Return the event IDs of the last pings of a room, the latest first."""
    rows = (
        select(ping.c.event)
        .join(room, ping.c.room == room.c.id)
        .where(room.c.room_id == room_id)
        .order_by(ping.c.seen_ts.desc())
        .limit(limit)
    )
    with engine.connect() as connection:
        return list(connection.scalars(rows))


def find_answered_since(engine: Engine, room_id: str, since_ts: int) -> dict[str, int]:
    """Return the servers that answered a ping of ours since a time, with when they last did."""
    lineage = find_lineage(engine, room_id)
    with read_snapshot(engine) as connection:
        names = read_server_names(connection)
        last = np.zeros(len(names), np.int64)
        for room_row in lineage:
            first = since_ts // HOUR_MS - 1
            for _, block in iterate_hours(connection, room_row, first, _END_OF_TIME):
                answers = block.answers
                np.maximum.at(last, answers.pong_server, answers.seen_ts.wide())
    return {name: ts for name, ts in zip(names, last.tolist(), strict=True) if ts >= since_ts}
