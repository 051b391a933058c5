"""Reads single samples with their names and event IDs: for pingstat's clients, and for export."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, null, select, union

from pingboard.model import PONG_TIMEOUT_MS, PingstatRow, Provenance
from pingboard.records import Record
from pingboard.store.tables import (
    ping,
    pong_clock_is_days_off,
    room,
    sample,
    server,
    unanswered,
    vantage,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import ColumnElement, CompoundSelect, Engine, Select, Table

    from pingboard.model import Window

DAY_MS = 86_400_000
_LARGEST = 2**62


def pingstat_rows(
    engine: Engine,
    room_name: str,
    rooms: Sequence[int],
    oldest_ts: int,
    newest_ts: int,
    shortest_ms: int,
    longest_ms: int,
) -> Iterator[PingstatRow]:
    """The samples of rooms (rows), in order of first sight, under one room's name.

    Those with `oldest_ts <= pong_timestamp <= newest_ts` by the pong server's clock, and with
    `shortest_ms <= receive_diff <= longest_ms`. All of them, whatever a board would say to them.
    """
    oldest_ts, newest_ts = (max(-_LARGEST, min(ts, _LARGEST)) for ts in (oldest_ts, newest_ts))
    pong_ts = ping.c.seen_ts + sample.c.delay_ms - sample.c.lag_ms
    with engine.connect() as connection:
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


def read_records(engine: Engine, rooms: Sequence[int] | None, window: Window) -> Iterator[Record]:
    """All that is kept of the samples whose pong was seen in the window, in order of first sight.

    Then the pongs expected in it that have not come. `rooms` are rows, None takes all.
    """
    seen_ts = ping.c.seen_ts + sample.c.delay_ms
    came = _select_records(
        sample,
        sample.c.one_way_ms,
        sample.c.round_trip_ms,
        seen_ts,
        seen_ts - sample.c.lag_ms,
        sample.c.provenance,
        sample.c.event_hash,
    ).where(seen_ts >= window.start_ts, seen_ts < window.end_ts)
    missed = _select_records(unanswered, *[null()] * 6).where(
        ping.c.seen_ts >= window.start_ts, ping.c.seen_ts < window.end_ts
    )
    came = came.order_by(*first_sight())
    missed = missed.order_by(ping.c.id, unanswered.c.pong_server)
    with engine.connect() as connection:
        for wanted in (came, missed):
            chosen = wanted if rooms is None else wanted.where(ping.c.room.in_(rooms))
            rows = connection.execution_options(yield_per=10_000).execute(chosen)
            for row in rows:
                code = row[-2]
                name = None if code is None else Provenance(code).name.lower()
                yield Record._make([*row[:-2], name, row[-1]])


def _select_records(of: Table, *numbers: ColumnElement[Any]) -> Select[Any]:
    one_way, round_trip, pong_seen, pong_origin, provenance, event_hash = numbers
    ping_server, pong_server, predecessor = server.alias(), server.alias(), room.alias()
    return (
        select(
            room.c.room_id,
            room.c.alias,
            predecessor.c.room_id,
            ping.c.event,
            ping_server.c.name,
            pong_server.c.name,
            one_way,
            round_trip,
            ping.c.seen_ts,
            pong_seen,
            ping.c.origin_server_ts,
            pong_origin,
            ping.c.sent_ts,
            vantage.c.name,
            provenance,
            event_hash,
        )
        .select_from(of)
        .join(ping, ping.c.id == of.c.ping)
        .join(room, room.c.id == ping.c.room)
        .join(ping_server, ping_server.c.id == ping.c.server)
        .join(pong_server, pong_server.c.id == of.c.pong_server)
        .outerjoin(predecessor, predecessor.c.id == room.c.predecessor)
        .outerjoin(vantage, vantage.c.id == ping.c.vantage)
    )


def first_sight() -> list[ColumnElement[int]]:
    """The order of first sight: imported history as it was imported, then all as it arrived."""
    seen_ts = ping.c.seen_ts + sample.c.delay_ms
    # Where there is no position, one beyond all others.
    position = func.coalesce(sample.c.position, _LARGEST)
    return [position, seen_ts, ping.c.id, sample.c.pong_server]


def _pinged_about(rooms: Sequence[int], oldest_ts: int, newest_ts: int) -> CompoundSelect[int]:
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
