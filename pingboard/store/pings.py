"""Pings: found by their events in any room of a lineage, and recorded by the writers.

Accounts of one ping differ: pingstat's lets its time be estimated, who hears it knows when, and
only who has sent it knows that and when it was sent. A fuller account takes the place of another,
in whatever order they come.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sqlalchemy import select

from pingboard.model import PONG_TIMEOUT_MS, Ping, Provenance, hash_event_id
from pingboard.sample_blocks import HOUR_MS
from pingboard.store import schema
from pingboard.store.engine import read_snapshot
from pingboard.store.homeservers import read_server_names
from pingboard.store.hours import iterate_hours
from pingboard.store.rooms import read_lineage
from pingboard.store.sql import chunks, execute, insert_rows, mark

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Select

    from pingboard.store.changes import Changes
    from pingboard.store.row_ids import RowIDs

PingKey = tuple[str, str]
"""Room ID and event ID."""

PING_FIELDS = """ping.id, ping.room, ping.event, ping.server, ping.origin_server_ts, ping.seen_ts,
ping.vantage IS NOT NULL, ping.sent_ts IS NOT NULL, ping.is_estimated"""
"""The columns of a `StoredPing`."""

_END_OF_TIME = 1 << 30
"""hours"""

_COLUMNS = (
    "id",
    "room",
    "server",
    "event",
    "origin_server_ts",
    "seen_ts",
    "vantage",
    "sent_ts",
    "is_estimated",
)
_UPDATE = """
UPDATE ping SET server = ?, origin_server_ts = ?, seen_ts = ?, vantage = ?, sent_ts = ?,
is_estimated = ? WHERE id = ?
"""
_SAMPLE_COLUMNS = tuple(column for column in schema.sample.c.keys() if column != "ping")  # noqa: SIM118
_LEARN_EVENT = """
UPDATE sample SET event_hash = ? WHERE ping = ? AND pong_server = ? AND one_way_ms = ?
AND ? + delay_ms - lag_ms = ? AND event_hash IS NULL
"""


class StoredPing(NamedTuple):
    """A ping as it is stored; `room` and `server` are row IDs."""

    id: int
    room: int
    event_id: str
    server: int
    origin_server_ts: int
    seen_ts: int
    is_ours: bool
    is_timed: bool
    """whether it is known when it was sent"""
    is_estimated: bool

    @property
    def fullness(self) -> int:
        """How much is known of it."""
        return 0 if self.is_estimated else 1 + self.is_ours + self.is_timed


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
        sql = f"SELECT {PING_FIELDS} FROM ping WHERE room IN {mark(len(lineage))} AND event IN "  # noqa: S608
        for chunk in chunks(event_ids):
            for row in execute(connection, sql + mark(len(chunk)), *lineage, *chunk):
                stored[room_id, row[2]] = StoredPing(*row)
    return stored


def record_pings(
    connection: Connection,
    row_ids: RowIDs,
    changes: Changes,
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
        kept_from[room_id] = find_kept_from(connection, lineage)
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
    connection: Connection, row_ids: RowIDs, changes: Changes, stored: StoredPing, seen: Ping
) -> StoredPing:
    """Give a stored ping the times with which it was seen, and its pongs times near these."""
    lineage = row_ids.find_lineage(connection, seen.room_id)
    if seen.seen_ts < find_kept_from(connection, lineage):
        return stored  # It can't move to an hour that stays as it is.
    changes.touch((stored.room, ts // HOUR_MS) for ts in (stored.seen_ts, seen.seen_ts))
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
    move_samples(connection, stored, real)
    return real


def move_samples(connection: Connection, source: StoredPing, target: StoredPing) -> None:
    """Give a ping the samples of another one that is the same, or of itself before it was moved.

    Both hours are open. Pongs that named another ping server are left out: they lied. So are those
    of pong servers of which the target has one already, unless only theirs have a round trip.
    """
    sql = f"SELECT {', '.join(_SAMPLE_COLUMNS)} FROM sample WHERE ping = ?"  # noqa: S608
    rows = [
        dict(zip(_SAMPLE_COLUMNS, row, strict=True)) for row in execute(connection, sql, source.id)
    ]
    execute(connection, "DELETE FROM sample WHERE ping = ?", source.id)
    if source.server != target.server:
        return
    for row in rows:
        seen_ts = source.seen_ts + row["delay_ms"]
        origin_ts = seen_ts - row["lag_ms"]
        if row["provenance"] == Provenance.IMPORT:
            seen_ts = estimate_pong_seen_ts(target.seen_ts, origin_ts)
        delay_ms = max(-PONG_TIMEOUT_MS, min(seen_ts - target.seen_ts, PONG_TIMEOUT_MS))
        row |= {"delay_ms": delay_ms, "lag_ms": target.seen_ts + delay_ms - origin_ts}
        if row["event_hash"] is not None:
            pong = (row["pong_server"], row["one_way_ms"], origin_ts)
            learn_event(connection, target, *pong, row["event_hash"])
    moved = [(target.id, *row.values()) for row in rows]
    delete_unmeasured(
        connection,
        ((target.id, row["pong_server"]) for row in rows if row["round_trip_ms"] is not None),
    )
    insert_rows(connection, schema.sample, ("ping", *_SAMPLE_COLUMNS), moved)


def delete_unmeasured(connection: Connection, keys: Iterable[tuple[int, int]]) -> int:
    """Delete those samples, of ping and pong server (rows), that have no round trip; return how
    many: an account that has it takes their place."""
    sql = "DELETE FROM sample WHERE ping = ? AND pong_server = ? AND round_trip_ms IS NULL"
    return sum(execute(connection, sql, *key).rowcount for key in keys)


def estimate_pong_seen_ts(ping_seen_ts: int, origin_server_ts: int) -> int:
    """Return when a pong that nobody saw arrive was seen: by its own time, as far as that can be.

    Its time is a foreign clock's, and a pong that counts came within ten minutes after its ping.
    """
    return max(ping_seen_ts, min(origin_server_ts, ping_seen_ts + PONG_TIMEOUT_MS))


def learn_event(
    connection: Connection,
    stored: StoredPing,
    pong_server: int,
    one_way_ms: int,
    origin_server_ts: int,
    event_hash: int,
) -> bool:
    """Remember which event an imported pong is, so that a redaction finds it; tell whether there
    is such a pong."""
    key = (stored.id, pong_server, one_way_ms)
    times = (stored.seen_ts, origin_server_ts)
    return bool(execute(connection, _LEARN_EVENT, event_hash, *key, *times).rowcount)


def find_dropped(
    connection: Connection, lineage: Collection[int], event_ids: Collection[str]
) -> set[str]:
    """Return those pings (event IDs) of a lineage whose single samples are dropped."""
    hashes = {hash_event_id(event_id): event_id for event_id in event_ids}
    sql = f"SELECT event_hash FROM dropped WHERE room IN {mark(len(lineage))} AND event_hash IN "  # noqa: S608
    return {
        hashes[row[0]]
        for chunk in chunks(hashes)
        for row in execute(connection, sql + mark(len(chunk)), *lineage, *chunk)
    }


def read_kept_from(connection: Connection) -> dict[int, int]:
    """Return since when single samples are kept, by room (row), of those that dropped any."""
    rows = execute(connection, "SELECT room, kept_from_ts FROM retention")
    return {row[0]: row[1] for row in rows}


def find_kept_from(connection: Connection, lineage: Collection[int]) -> int:
    """Return since when all single samples of a lineage are kept; 0 for always."""
    kept_from = read_kept_from(connection)
    return max((kept_from.get(row, 0) for row in lineage), default=0)


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


def find_answered_since(engine: Engine, room_id: str, since_ts: int) -> dict[str, int]:
    """Return the servers that answered a ping of ours since a time, with when they last did."""
    lineage = read_lineage(engine, room_id)
    with read_snapshot(engine) as connection:
        names = read_server_names(connection)
        last = np.zeros(len(names), np.int64)
        for room_row in lineage:
            first = since_ts // HOUR_MS - 1
            for _, block in iterate_hours(connection, room_row, first, _END_OF_TIME):
                answers = block.answers
                np.maximum.at(last, answers.pong_server, answers.seen_ts.wide())
    return {name: ts for name, ts in zip(names, last.tolist(), strict=True) if ts >= since_ts}


def _group_by_room(pings: Iterable[Ping]) -> Mapping[str, Collection[str]]:
    """Return the event IDs of pings by room ID."""
    groups: dict[str, dict[str, None]] = {}
    for ping in pings:
        groups.setdefault(ping.room_id, {})[ping.event_id] = None
    return groups
