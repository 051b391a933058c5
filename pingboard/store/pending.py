"""Pongs whose ping is not known yet, kept so that a restart does not lose them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, select

from pingboard.model import Pending, Pong, Provenance
from pingboard.store.schema import pending, room, server
from pingboard.store.sql import insert_rows

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_COLUMNS = (
    "room",
    "event",
    "pong_server",
    "ping_event",
    "claimed_from",
    "one_way_ms",
    "origin_server_ts",
    "seen_ts",
    "provenance",
)


def insert_pending(
    connection: Connection,
    pongs: Sequence[Pending],
    rooms: Mapping[str, int],
    servers: Mapping[str, int],
) -> None:
    """Keep pongs; `rooms` and `servers` are row IDs."""
    rows = [
        (
            rooms[pong.room_id],
            pong.event_id,
            servers[pong.server],
            pong.ping_event_id,
            pong.claimed_from,
            pong.one_way_ms,
            pong.origin_server_ts,
            pong.seen_ts,
            int(one.provenance),
        )
        for one in pongs
        for pong in [one.pong]
    ]
    insert_rows(connection, pending, _COLUMNS, rows)


def delete_pending(connection: Connection, pongs: Sequence[Pong], rooms: Mapping[str, int]) -> None:
    """Forget pongs that are decided."""
    if pongs:
        same = delete(pending).where(
            pending.c.room == bindparam("b_room"), pending.c.event == bindparam("b_event")
        )
        keys = [{"b_room": rooms[pong.room_id], "b_event": pong.event_id} for pong in pongs]
        connection.execute(same, keys)


def read_pending(engine: Engine) -> list[Pending]:
    """Return every pong that is kept, the oldest first."""
    pong = (
        *(pending.c.event, room.c.room_id, server.c.name, pending.c.ping_event),
        *(pending.c.claimed_from, pending.c.one_way_ms),
        *(pending.c.origin_server_ts, pending.c.seen_ts),
    )
    rows = (
        select(*pong, pending.c.provenance)
        .join(room, pending.c.room == room.c.id)
        .join(server, pending.c.pong_server == server.c.id)
        .order_by(pending.c.seen_ts)
    )
    with engine.connect() as connection:
        return [Pending(Pong(*row[:8]), Provenance(row[8])) for row in connection.execute(rows)]
