"""Reads single samples with their names and event IDs: for pingstat's clients, and for export."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import select

from pingboard.columns import HOUR_MS
from pingboard.model import PONG_TIMEOUT_MS, PingstatRow, Provenance, Window
from pingboard.records import ESTIMATED, SEEN, Record
from pingboard.store.engine import read_snapshot
from pingboard.store.homeservers import read_server_names
from pingboard.store.hours import list_hours, list_hours_by_origin, read_hour
from pingboard.store.packing import NONE, find_origin_ts, find_seen_ts
from pingboard.store.pings import PingDetails, read_ping_details
from pingboard.store.schema import room

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from pingboard.columns import Integers

_MAX_TS = 2**62
_PROVENANCES = {int(one): one.name.lower() for one in Provenance}


def read_pingstat_rows(
    engine: Engine,
    room_name: str,
    rooms: Collection[int],
    oldest_ts: int,
    newest_ts: int,
    min_ms: int,
    max_ms: int,
) -> Iterator[PingstatRow]:
    """Yield the samples of rooms (rows) by ping event ID and pong server, under one room's name.

    Those with `oldest_ts <= pong_timestamp <= newest_ts` by the pong server's clock, and with
    `min_ms <= receive_diff <= max_ms`. All of them, whatever a board would say to them.
    """
    oldest_ts, newest_ts = (max(-_MAX_TS, min(ts, _MAX_TS)) for ts in (oldest_ts, newest_ts))
    pings: dict[int, PingDetails] = {}
    parts = [np.empty((4, 0), np.int64)]
    with read_snapshot(engine) as connection:
        names = read_server_names(connection)
        for key in list_hours_by_origin(connection, rooms, oldest_ts, newest_ts):
            rows = read_hour(connection, *key)
            samples, origin_ts = rows.samples, find_origin_ts(rows)
            chosen = (origin_ts >= oldest_ts) & (origin_ts <= newest_ts)
            chosen &= (samples.one_way_ms >= min_ms) & (samples.one_way_ms <= max_ms)
            columns = (samples.ping, samples.pong_server, samples.one_way_ms, origin_ts)
            parts.append(np.stack([column[chosen] for column in columns]))
            pings |= read_ping_details(connection, *key)
    ping, pong_server, one_way_ms, origin_ts = np.concatenate(parts, axis=1)
    by_event = sorted(pings, key=lambda row: pings[row].event_id.encode())
    by_name = sorted(range(len(names)), key=lambda row: names[row].encode())
    order = np.lexsort((_rank(by_name, pong_server), _rank(by_event, ping)))
    listed = (column[order].tolist() for column in (ping, pong_server, one_way_ms, origin_ts))
    for ping_row, server_row, ms, ts in zip(*listed, strict=True):
        of = pings[ping_row]
        yield PingstatRow(room_name, of.event_id, names[server_row], of.server, ms, ts)


def _rank(ordered: Sequence[int], rows: Integers) -> Integers:
    """Return the place of each row ID among those in order."""
    places = np.array(ordered, np.int64)
    by_row = np.argsort(places)
    return by_row[np.searchsorted(places, rows, sorter=by_row)]


def read_records(engine: Engine, rooms: Collection[int] | None, window: Window) -> Iterator[Record]:
    """Yield all that is kept of the samples whose pong was seen in the window, by hour of the ping.

    Beside them, the pongs expected of pings in it that have not come. `rooms` are row IDs, None
    takes all.
    """
    first = (window.start_ts - PONG_TIMEOUT_MS) // HOUR_MS
    after = (window.end_ts + PONG_TIMEOUT_MS) // HOUR_MS + 1
    with read_snapshot(engine) as connection:
        predecessor = room.alias()
        described = select(room.c.id, room.c.room_id, room.c.alias, predecessor.c.room_id)
        described = described.outerjoin(predecessor, predecessor.c.id == room.c.predecessor)
        of_rooms = {row: tuple(of_room) for row, *of_room in connection.execute(described)}
        chosen = of_rooms.keys() if rooms is None else rooms
        names = read_server_names(connection)
        for room_row, number in list_hours(connection, chosen, first, after):
            yield from _read_hour(connection, window, names, of_rooms[room_row], room_row, number)


def _read_hour(
    connection: Connection,
    window: Window,
    names: Sequence[str],
    of_room: tuple[str, str | None, str | None],
    room_row: int,
    number: int,
) -> Iterator[Record]:
    rows = read_hour(connection, room_row, number)
    pings = read_ping_details(connection, room_row, number)
    columns = (column.tolist() for column in (*rows.samples, find_seen_ts(rows)))
    samples = [
        (pings[ping], names[server], *numbers)
        for ping, server, *numbers in zip(*columns, strict=True)
    ]
    # By names, because row IDs differ between databases with the same samples.
    for of, name, one_way, round_trip, _, lag, provenance, event_hash, ts in sorted(
        samples, key=lambda row: (row[0].seen_ts, row[0].event_id, row[1])
    ):
        if window.start_ts <= ts < window.end_ts:
            yield _describe(
                of_room,
                of,
                name,
                one_way_ms=one_way,
                round_trip_ms=None if round_trip == NONE else round_trip,
                pong_seen_ts=ts,
                pong_origin_server_ts=ts - lag,
                provenance=_PROVENANCES[provenance],
                pong_event_hash=None if event_hash == NONE else event_hash,
            )
    missing = zip(*(column.tolist() for column in rows.unanswered), strict=True)
    lost = [(pings[ping], names[server]) for ping, server in missing]
    for of, name in sorted(lost, key=lambda row: (row[0].seen_ts, row[0].event_id, row[1])):
        if window.start_ts <= of.seen_ts < window.end_ts:
            yield _describe(of_room, of, name)


def _describe(
    of_room: tuple[str, str | None, str | None],
    of: PingDetails,
    pong_server: str,
    *,
    one_way_ms: int | None = None,
    round_trip_ms: int | None = None,
    pong_seen_ts: int | None = None,
    pong_origin_server_ts: int | None = None,
    provenance: str | None = None,
    pong_event_hash: int | None = None,
) -> Record:
    room_id, room_alias, room_predecessor = of_room
    return Record(
        room_id=room_id,
        room_alias=room_alias,
        room_predecessor=room_predecessor,
        ping_event_id=of.event_id,
        ping_server=of.server,
        pong_server=pong_server,
        one_way_ms=one_way_ms,
        round_trip_ms=round_trip_ms,
        ping_seen_ts=of.seen_ts,
        pong_seen_ts=pong_seen_ts,
        ping_origin_server_ts=of.origin_server_ts,
        pong_origin_server_ts=pong_origin_server_ts,
        ping_sent_ts=of.sent_ts,
        ping_time=ESTIMATED if of.is_estimated else SEEN,
        vantage=of.vantage,
        provenance=provenance,
        pong_event_hash=pong_event_hash,
    )
