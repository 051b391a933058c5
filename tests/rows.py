"""The store's rows, read plainly: what everything that is faster is compared with."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import select

from pingboard.model import BoardName, Window
from pingboard.store.engine import Engine
from pingboard.store.tables import ping, room, sample, server


class Row(NamedTuple):
    """One sample."""

    ping_server: str
    pong_server: str
    one_way_ms: int
    round_trip_ms: int | None
    seen_ts: int


def read_rows(engine: Engine, room_id: str) -> list[Row]:
    """Every sample of one room, whatever boards take."""
    ping_server, pong_server = server.alias(), server.alias()
    wanted = (
        select(
            ping_server.c.name,
            pong_server.c.name,
            sample.c.one_way_ms,
            sample.c.round_trip_ms,
            ping.c.seen_ts + sample.c.delay_ms,
        )
        .join_from(ping, sample, sample.c.ping == ping.c.id)
        .join(room, ping.c.room == room.c.id)
        .join(ping_server, ping_server.c.id == ping.c.server)
        .join(pong_server, pong_server.c.id == sample.c.pong_server)
        .where(room.c.room_id == room_id)
    )
    with engine.connect() as connection:
        return [Row(*row) for row in connection.execute(wanted)]


def take(rows: list[Row], board: BoardName, window: Window) -> list[tuple[str, int]]:
    """The homeserver and the latency of each sample that a board takes."""
    taken = []
    for row in rows:
        ms = row.round_trip_ms if board is BoardName.RESPONSE else row.one_way_ms
        by = row.ping_server if board is BoardName.DELIVERY else row.pong_server
        is_inside = window.start_ts <= row.seen_ts < window.end_ts
        if is_inside and ms is not None and (board is BoardName.RESPONSE or 10 <= ms <= 600_000):
            taken.append((by, ms))
    return taken
