"""Writes: what one sync response leads to -> one transaction. Nothing is stored twice.

A second ping of the same event, and a second sample of the same (ping, pong server), are dropped
by the tables' keys: the same response may come again after a crash, and does no harm.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, Connection, Select, Table, select, update
from sqlalchemy.dialects import postgresql, sqlite

from pingboard.model import Ping
from pingboard.store.tables import ping, rejection, room, sample, server, session, vantage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Engine

    from pingboard.model import Batch, Rejected, Sample

_DAY_MS = 86_400_000
_LOOKUP_CHUNK = 500
"""Event IDs in one IN list: far below the bound parameters that either database takes."""


@dataclass(frozen=True, slots=True)
class SavedSession:
    """What an earlier run of the same account left behind."""

    device_id: str | None = None
    access_token: str | None = None
    next_batch: str | None = None


def hash_event_id(event_id: str) -> int:
    """48 bits that stand for an event ID: enough to find a room's pong again, in six bytes."""
    return int.from_bytes(hashlib.sha256(event_id.encode()).digest()[:6])


class Ingest:
    """The one writer of a database. Not thread-safe: call it from one thread at a time.

    `account` is the homeserver URL and the user ID; only their digest is stored.
    """

    def __init__(self, engine: Engine, account: str) -> None:
        self._engine = engine
        self._account = hashlib.sha256(account.encode()).hexdigest()

    def record(self, batch: Batch, next_batch: str | None = None) -> None:
        """Commit a batch together with the sync token that it leads up to."""
        with self._engine.begin() as connection:
            pings = [*batch.pings, *(found.ping for found in batch.samples)]
            ids = self._record_pings(connection, pings)
            self._record_samples(connection, batch.samples, ids)
            self._record_rejected(connection, batch.rejected)
            if next_batch is not None:
                self._update_session(connection, next_batch=next_batch)

    def record_room(self, room_id: str, alias: str | None) -> None:
        """Remember a room and the alias that leads to it now."""
        with self._engine.begin() as connection:
            _ids(connection, room.c.room_id, [room_id])
            if alias is not None:
                # An alias leads to one room; after an upgrade it has moved.
                moved = update(room).where(room.c.alias == alias, room.c.room_id != room_id)
                connection.execute(moved.values(alias=None))
                connection.execute(
                    update(room).where(room.c.room_id == room_id).values(alias=alias)
                )

    def saved_session(self) -> SavedSession:
        """What the last run of this account left behind; empty before the first."""
        wanted = select(session.c.device_id, session.c.access_token, session.c.next_batch)
        with self._engine.connect() as connection:
            row = connection.execute(wanted.where(session.c.account == self._account)).first()
        return SavedSession(*row) if row else SavedSession()

    def save_login(self, device_id: str, access_token: str) -> None:
        """Keep a login, so that a restart needs no password (homeservers limit logins)."""
        with self._engine.begin() as connection:
            self._update_session(connection, device_id=device_id, access_token=access_token)

    def find_pings(self, room_id: str, event_ids: Sequence[str]) -> dict[str, Ping]:
        """The stored pings among these events of a room, by event ID."""
        found: dict[str, Ping] = {}
        columns = (ping.c.event, server.c.name, ping.c.origin_server_ts, ping.c.seen_ts)
        wanted = (
            select(*columns, vantage.c.name, ping.c.sent_ts)
            .select_from(ping.join(server, ping.c.server == server.c.id))
            .join(room, ping.c.room == room.c.id)
            .outerjoin(vantage, ping.c.vantage == vantage.c.id)
            .where(room.c.room_id == room_id)
        )
        with self._engine.connect() as connection:
            for start in range(0, len(event_ids), _LOOKUP_CHUNK):
                chunk = event_ids[start : start + _LOOKUP_CHUNK]
                for row in connection.execute(wanted.where(ping.c.event.in_(chunk))):
                    found[row[0]] = Ping(row[0], room_id, *row[1:])
        return found

    def _record_pings(
        self, connection: Connection, pings: Iterable[Ping]
    ) -> dict[tuple[str, str], int]:
        """Insert what is new; return the row ID of each (room ID, event ID)."""
        unique = {(one.room_id, one.event_id): one for one in pings}
        if not unique:
            return {}
        rooms = _ids(connection, room.c.room_id, {one.room_id for one in unique.values()})
        names = _ids(connection, server.c.name, {one.server for one in unique.values()})
        vantages = {
            (one.vantage, names[one.server]): self._vantage(connection, one, names)
            for one in unique.values()
            if one.vantage is not None
        }
        rows = [
            {
                "room": rooms[one.room_id],
                "server": names[one.server],
                "event": one.event_id,
                "origin_server_ts": one.origin_server_ts,
                "seen_ts": one.seen_ts,
                "vantage": vantages.get((one.vantage or "", names[one.server])),
                "sent_ts": one.sent_ts,
            }
            for one in unique.values()
        ]
        _insert_new(connection, ping, rows)
        return self._ping_ids(connection, unique, rooms)

    def _ping_ids(
        self,
        connection: Connection,
        wanted: Iterable[tuple[str, str]],
        rooms: dict[str, int],
    ) -> dict[tuple[str, str], int]:
        ids: dict[tuple[str, str], int] = {}
        for room_id, room_row in rooms.items():
            events = [event for of_room, event in wanted if of_room == room_id]
            for start in range(0, len(events), _LOOKUP_CHUNK):
                chunk = events[start : start + _LOOKUP_CHUNK]
                found = select(ping.c.event, ping.c.id).where(
                    ping.c.room == room_row, ping.c.event.in_(chunk)
                )
                ids |= {(room_id, event): id_ for event, id_ in _pairs(connection, found).items()}
        return ids

    def _vantage(self, connection: Connection, one: Ping, names: dict[str, int]) -> int:
        row = {"name": one.vantage, "server": names[one.server]}
        _insert_new(connection, vantage, [row])
        found = select(vantage.c.id).filter_by(**row)
        return int(connection.execute(found).scalar_one())

    def _record_samples(
        self,
        connection: Connection,
        samples: Sequence[Sample],
        ping_ids: dict[tuple[str, str], int],
    ) -> None:
        names = _ids(connection, server.c.name, {one.pong.server for one in samples})
        rows = [
            {
                "ping": ping_ids[one.ping.room_id, one.ping.event_id],
                "pong_server": names[one.pong.server],
                "one_way_ms": one.pong.one_way_ms,
                "round_trip_ms": one.round_trip_ms,
                "delay_ms": one.pong.seen_ts - one.ping.seen_ts,
                "lag_ms": one.pong.seen_ts - one.pong.origin_server_ts,
                "provenance": int(one.provenance),
                "event_hash": hash_event_id(one.pong.event_id),
            }
            for one in samples
        ]
        _insert_new(connection, sample, rows)

    def _record_rejected(self, connection: Connection, rejected: Sequence[Rejected]) -> None:
        rooms = _ids(connection, room.c.room_id, {one.room_id for one in rejected})
        names = _ids(connection, server.c.name, {one.server for one in rejected})
        counts = Counter(
            (rooms[one.room_id], names[one.server], str(one.reason), one.seen_ts // _DAY_MS)
            for one in rejected
        )
        keys = ("room", "pong_server", "reason", "day")
        for key, count in counts.items():
            row = dict(zip(keys, key, strict=True))
            _insert_new(connection, rejection, [{**row, "count": 0}])
            same = update(rejection).filter_by(**row)
            connection.execute(same.values(count=rejection.c.count + count))

    def _update_session(self, connection: Connection, **values: str) -> None:
        _insert_new(connection, session, [{"account": self._account}])
        same = update(session).where(session.c.account == self._account)
        connection.execute(same.values(**values))


def _ids(connection: Connection, column: Column[str], names: Iterable[str]) -> dict[str, int]:
    """The row ID of each name in a dictionary table (`server`, `room`), inserting new ones."""
    ids: dict[str, int] = {}
    wanted = sorted(set(names))
    for start in range(0, len(wanted), _LOOKUP_CHUNK):
        chunk = wanted[start : start + _LOOKUP_CHUNK]
        found = select(column, column.table.c.id).where(column.in_(chunk))
        ids.update(_pairs(connection, found))
        if new := [{column.name: name} for name in chunk if name not in ids]:
            _insert_new(connection, column.table, new)
            ids.update(_pairs(connection, found))
    return ids


def _pairs(connection: Connection, query: Select[str, int]) -> dict[str, int]:
    return {row[0]: row[1] for row in connection.execute(query)}


def _insert_new(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert the rows whose key is new, leave the others as they are."""
    if not rows:
        return
    new: sqlite.Insert | postgresql.Insert
    new = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)
    connection.execute(new.on_conflict_do_nothing(), list(rows))
