"""Pings: found by their events in any room of a lineage, and recorded by the writers.

Accounts of one ping differ: pingstat's lets its time be estimated, who hears it knows when, and
only who has sent it knows that and when it was sent. A fuller account takes the place of another,
in whatever order they come.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine, Select, select

from pingboard.model import DamagedHourError, Ping, PingKey
from pingboard.sample_blocks import HOUR_MS
from pingboard.store import schema
from pingboard.store.engine import read_snapshot
from pingboard.store.homeservers import read_server_names
from pingboard.store.hours import iterate_hours
from pingboard.store.retention import find_dropped, read_kept_from
from pingboard.store.rooms import read_lineage
from pingboard.store.row_ids import RowIDs
from pingboard.store.sample_changes import PING_FIELDS, SampleChanges, StoredPing
from pingboard.store.sql import chunks, execute, insert_rows, placeholders

_END_OF_TIME = 1 << 30
"""hours"""

_COLUMNS = tuple(schema.ping.c.keys())
_UPDATE = """
UPDATE ping SET server = ?, origin_server_ts = ?, seen_ts = ?, vantage = ?, sent_ts = ?,
is_estimated = ? WHERE id = ?
"""


def get_key(ping: Ping) -> PingKey:
    """Return room and event ID."""
    return ping.room_id, ping.event_id


def find_stored_pings(
    connection: Connection, row_ids: RowIDs, pings: Iterable[Ping]
) -> dict[PingKey, StoredPing]:
    """Return those of these pings that are stored in any room of their room's lineage."""
    stored: dict[PingKey, StoredPing] = {}
    for room_id, event_ids in _group_by_room(pings).items():
        lineage = row_ids.find_lineage(connection, room_id)
        rooms = placeholders(len(lineage))
        sql = f"SELECT {PING_FIELDS} FROM ping WHERE room IN {rooms} AND event IN "  # noqa: S608
        for chunk in chunks(event_ids):
            for row in execute(connection, sql + placeholders(len(chunk)), *lineage, *chunk):
                stored[room_id, row[2]] = StoredPing(*row)
    return stored


def record_pings(
    connection: Connection,
    row_ids: RowIDs,
    changes: SampleChanges,
    pings: Sequence[Ping],
    *,
    is_import: bool,
) -> dict[PingKey, StoredPing]:
    """Insert the pings that are new, the first of each event; return the stored ping of each.

    Only what is heard corrects the server of a ping; only an import tells when a ping was sent that
    is ours already: without it the worker has found it void, or read it in history.
    Nothing is added to hours whose single samples are dropped, so some have none.
    """
    stored = find_stored_pings(connection, row_ids, pings)
    unknown = [ping for ping in pings if get_key(ping) not in stored]
    stored |= _insert_new(connection, row_ids, _leave_out_dropped(connection, row_ids, unknown))
    corrected: dict[int, StoredPing] = {}
    for ping in pings:
        known = stored.get(get_key(ping))
        if known is None:
            continue
        known = corrected.get(known.id, known)
        if not _is_fuller(ping, known, is_import=is_import):
            continue
        server_row = row_ids.servers.find(connection, [ping.server])[ping.server]
        if known.server == server_row or not is_import:
            corrected[known.id] = _replace_account(connection, row_ids, changes, known, ping)
    return {key: corrected.get(known.id, known) for key, known in stored.items()}


def _is_fuller(ping: Ping, stored: StoredPing, *, is_import: bool) -> bool:
    if ping.is_estimated:
        return False
    fullness = 1 + (ping.vantage is not None) + (is_import and ping.sent_ts is not None)
    return stored.fullness < fullness


def _leave_out_dropped(
    connection: Connection, row_ids: RowIDs, pings: Sequence[Ping]
) -> list[Ping]:
    """Return those pings that do not belong to hours whose single samples are dropped."""
    if not pings or not read_kept_from(connection):
        return [*pings]
    dropped: set[PingKey] = set()
    kept_from: dict[str, int] = {}
    for room_id, event_ids in _group_by_room(pings).items():
        lineage = row_ids.find_lineage(connection, room_id)
        dropped |= {
            (room_id, event_id) for event_id in find_dropped(connection, lineage, event_ids)
        }
        kept_from[room_id] = read_kept_from(connection, lineage)
    return [
        ping
        for ping in pings
        if ping.seen_ts >= kept_from[ping.room_id] and get_key(ping) not in dropped
    ]


def _insert_new(
    connection: Connection, row_ids: RowIDs, pings: Sequence[Ping]
) -> dict[PingKey, StoredPing]:
    """Insert the first ping of each event; all rooms of an upgrade have one between them."""
    firsts: dict[tuple[tuple[int, ...], str], Ping] = {}
    keys = {}
    for ping in pings:
        if get_key(ping) not in keys:
            in_lineage = row_ids.find_lineage(connection, ping.room_id), ping.event_id
            keys[get_key(ping)] = get_key(firsts.setdefault(in_lineage, ping))
    inserted = _insert_pings(connection, row_ids, [*firsts.values()])
    return {key: inserted[first] for key, first in keys.items()}


def _insert_pings(
    connection: Connection, row_ids: RowIDs, pings: Sequence[Ping]
) -> dict[PingKey, StoredPing]:
    if not pings:
        return {}
    rooms = row_ids.rooms.find(connection, {ping.room_id for ping in pings})
    servers = row_ids.servers.find(connection, {ping.server for ping in pings})
    last = execute(connection, "SELECT max(id) FROM ping").scalar_one() or 0
    rows = [
        (
            row_id,
            rooms[ping.room_id],
            servers[ping.server],
            ping.event_id,
            ping.origin_server_ts,
            ping.seen_ts,
            row_ids.find_vantage(connection, ping),
            ping.sent_ts,
            ping.is_estimated,
        )
        for row_id, ping in enumerate(pings, last + 1)
    ]
    insert_rows(connection, schema.ping, _COLUMNS, rows)
    return {
        get_key(ping): StoredPing(
            row_id,
            room_row,
            ping.event_id,
            server_row,
            ping.origin_server_ts,
            ping.seen_ts,
            ping.vantage is not None,
            ping.sent_ts is not None,
            ping.is_estimated,
        )
        for ping, (row_id, room_row, server_row, *_) in zip(pings, rows, strict=True)
    }


def _replace_account(
    connection: Connection, row_ids: RowIDs, changes: SampleChanges, stored: StoredPing, seen: Ping
) -> StoredPing:
    """Give a stored ping the times with which it was seen, and its pongs times near these."""
    lineage = row_ids.find_lineage(connection, seen.room_id)
    if seen.seen_ts < read_kept_from(connection, lineage):
        return stored  # It can't move to an hour that stays as it is.
    hours = {(stored.room, ts // HOUR_MS) for ts in (stored.seen_ts, seen.seen_ts)}
    if not changes.can_change(hours):
        return stored
    changes.touch(hours)
    server_row = row_ids.servers.find(connection, [seen.server])[seen.server]
    vantage_row = row_ids.find_vantage(connection, seen)
    times = (seen.origin_server_ts, seen.seen_ts)
    execute(connection, _UPDATE, server_row, *times, vantage_row, seen.sent_ts, False, stored.id)
    real = stored._replace(
        server=server_row,
        origin_server_ts=seen.origin_server_ts,
        seen_ts=seen.seen_ts,
        is_ours=vantage_row is not None,
        is_timed=seen.sent_ts is not None,
        is_estimated=False,
    )
    changes.move_samples(stored, real)
    return real


def find_pings(engine: Engine, room_id: str, event_ids: Sequence[str]) -> dict[str, Ping]:
    """Return the stored pings among these events of a room's lineage, by event ID.

    They are of the room that is asked for, because that is where the worker met the event.
    """
    rows = select_pings().where(schema.ping.c.room.in_(read_lineage(engine, room_id)))
    pings: dict[str, Ping] = {}
    with engine.connect() as connection:
        for chunk in chunks(event_ids):
            for row in connection.execute(rows.where(schema.ping.c.event.in_(chunk))):
                pings[row[1]] = replace(Ping(*row[1:]), room_id=room_id)
    return pings


def read_pings(connection: Connection, room_row: int, number: int) -> dict[int, Ping]:
    """Return the pings of a room's hour by row ID."""
    column = schema.ping.c
    rows = select_pings().where(
        column.room == room_row,
        column.seen_ts >= number * HOUR_MS,
        column.seen_ts < (number + 1) * HOUR_MS,
    )
    return {row[0]: Ping(*row[1:]) for row in connection.execute(rows)}


def select_pings() -> Select[*tuple[Any, ...]]:
    """Select the row ID of pings, and what a `Ping` has, in its order."""
    column, room, server, vantage = schema.ping.c, schema.room, schema.server, schema.vantage
    return (
        select(
            *(column.id, column.event, room.c.room_id, server.c.name, column.origin_server_ts),
            *(column.seen_ts, vantage.c.name, column.sent_ts, column.is_estimated),
        )
        .join(room, column.room == room.c.id)
        .join(server, column.server == server.c.id)
        .outerjoin(vantage, column.vantage == vantage.c.id)
    )


def find_latest_pings(engine: Engine, room_id: str, limit: int = 50) -> list[str]:
    """Return the event IDs of the last pings of a room, the latest first."""
    rows = (
        select(schema.ping.c.event)
        .join(schema.room, schema.ping.c.room == schema.room.c.id)
        .where(schema.room.c.room_id == room_id)
        .order_by(schema.ping.c.seen_ts.desc())
        .limit(limit)
    )
    with engine.connect() as connection:
        return list(connection.scalars(rows))


def find_answered_since(
    engine: Engine, room_id: str, since_ts: int
) -> tuple[dict[str, int], list[DamagedHourError]]:
    """Return the servers that answered a ping of ours since a time, with when they last did.

    And what is wrong with hours that can't be read.
    """
    damaged: list[DamagedHourError] = []
    lineage = read_lineage(engine, room_id)
    with read_snapshot(engine) as connection:
        names = read_server_names(connection)
        last = np.zeros(len(names), np.int64)
        for room_row in lineage:
            first = since_ts // HOUR_MS - 1
            hours = iterate_hours(connection, room_row, first, _END_OF_TIME, damaged)
            for _, block in hours:
                answers = block.answers
                np.maximum.at(last, answers.pong_server, answers.seen_ts.wide())
    answered = zip(names, last.tolist(), strict=True)
    return {name: ts for name, ts in answered if ts >= since_ts}, damaged


def _group_by_room(pings: Iterable[Ping]) -> Mapping[str, Collection[str]]:
    """Return the event IDs of pings by room ID."""
    groups: dict[str, dict[str, None]] = {}
    for ping in pings:
        groups.setdefault(ping.room_id, {})[ping.event_id] = None
    return groups
