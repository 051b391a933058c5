"""Reads single samples with their names and event IDs: for pingstat's clients, and for export."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select, union

from pingboard.model import PONG_TIMEOUT_MS, PingstatRow
from pingboard.store.tables import ping, pong_clock_is_days_off, room, sample, server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import ColumnElement, CompoundSelect, Connection, Engine

DAY_MS = 86_400_000
_LARGEST = 2**62


def pingstat_rows(
    engine: Engine,
    room_name: str,
    oldest_ts: int,
    newest_ts: int,
    shortest_ms: int,
    longest_ms: int,
) -> Iterator[PingstatRow]:
    """The samples of a room, by ID or alias, in order of first sight; none for an unknown room.

    Those with `oldest_ts <= pong_timestamp <= newest_ts` by the pong server's clock, and with
    `shortest_ms <= receive_diff <= longest_ms`. All of them, whatever a board would say to them.
    """
    oldest_ts, newest_ts = (max(-_LARGEST, min(ts, _LARGEST)) for ts in (oldest_ts, newest_ts))
    pong_ts = ping.c.seen_ts + sample.c.delay_ms - sample.c.lag_ms
    with engine.connect() as connection:
        rooms = lineage(connection, room_name)
        servers = connection.execute(select(server.c.id, server.c.name))
        names = {row.id: row.name for row in servers}
        wanted = (
            select(
                ping.c.event,
                sample.c.pong_server,
                ping.c.server,
                sample.c.one_way_ms,
                pong_ts,
            )
            .join_from(ping, sample, sample.c.ping == ping.c.id)
            .where(
                ping.c.id.in_(_pinged_about(rooms, oldest_ts, newest_ts)),
                pong_ts.between(oldest_ts, newest_ts),
                sample.c.one_way_ms.between(shortest_ms, longest_ms),
            )
            .order_by(*first_sight())
        )
        for event, pong_server, ping_server, ms, ts in connection.execute(wanted):
            yield PingstatRow(room_name, event, names[pong_server], names[ping_server], ms, ts)


def lineage(connection: Connection, room_name: str) -> list[int]:
    """The rows of a room, by ID or alias, and of all that it was upgraded from or to."""
    rooms = connection.execute(select(room.c.id, room.c.room_id, room.c.alias, room.c.predecessor))
    links: dict[int, set[int]] = {}
    reached: list[int] = []
    for id_, room_id, alias, predecessor in rooms:
        links.setdefault(id_, set())
        if predecessor is not None:
            links[id_].add(predecessor)
            links.setdefault(predecessor, set()).add(id_)
        if room_name in (room_id, alias):
            reached.append(id_)
    for id_ in reached:
        reached += [other for other in links[id_] if other not in reached]
    return reached


def first_sight() -> list[ColumnElement[int]]:
    """The order of first sight: imported history as it was imported, then all as it arrived."""
    seen_ts = ping.c.seen_ts + sample.c.delay_ms
    # Where there is no position, one beyond all others.
    position = func.coalesce(sample.c.position, _LARGEST)
    return [position, seen_ts, ping.c.id, sample.c.pong_server]


def _pinged_about(rooms: list[int], oldest_ts: int, newest_ts: int) -> CompoundSelect[int]:
    """The pings that can have a pong in a window of pong times, which are a foreign clock's."""
    near = select(ping.c.id).where(
        ping.c.room.in_(rooms),
        ping.c.seen_ts.between(oldest_ts - DAY_MS - PONG_TIMEOUT_MS, newest_ts + DAY_MS),
    )
    far = (
        select(ping.c.id)
        .join_from(sample, ping, sample.c.ping == ping.c.id)
        .where(ping.c.room.in_(rooms), pong_clock_is_days_off)
    )
    return union(near, far)
