"""The usual batch, committed in microseconds: pings and pongs of known servers, on SQLite.

Nine of ten batches are such, and SQLAlchemy's own part in one takes a millisecond, twenty times
what the database needs. So these go through the driver, in the same transaction with the same
effect; whatever is not usual, or fails, is left to `ingest`, which explains and repeats.
"""

from __future__ import annotations

import sqlite3
import weakref
from typing import TYPE_CHECKING, cast

from pingboard.store.rows import MOST_KNOWN, hash_event_id, pings_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Engine

    from pingboard.model import Batch, Ping, Sample

    Keys = dict[tuple[str, str], tuple[int, int]]
    """By room ID and event ID of a ping, the row IDs of the ping and of its room."""

_ROOM = "SELECT id FROM room WHERE room_id = ?"
_SERVER = "SELECT id FROM server WHERE name = ?"
_VANTAGE = "SELECT id FROM vantage WHERE name = ? AND server = ?"
# Pings of the past are unusual: see `folding`.
_PING = """
SELECT id, seen_ts < (SELECT folded_ts FROM sealing) FROM ping WHERE room = ? AND event = ?
"""
_NEW_PING = """
INSERT INTO ping (room, event, server, origin_server_ts, seen_ts, vantage, sent_ts)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7
WHERE NOT EXISTS (SELECT 1 FROM closed WHERE room = ?1 AND before_ts > ?5)
AND ?5 >= (SELECT folded_ts FROM sealing)
"""
_EXPECTED = "INSERT INTO unanswered (ping, pong_server) VALUES (?, ?) ON CONFLICT DO NOTHING"
# What was taken back has no ping here, which the table refuses and OR IGNORE passes over. As INSERT
# ... SELECT ... WHERE NOT EXISTS it takes half as long again: where a table has triggers, SQLite
# first puts what is selected into a table of its own.
_SAMPLE = """
INSERT OR IGNORE INTO sample (ping, pong_server, one_way_ms, round_trip_ms, delay_ms, lag_ms,
provenance, event_hash) VALUES (
CASE WHEN NOT EXISTS (SELECT 1 FROM redacted WHERE room = ?9 AND event_hash = ?8)
AND NOT EXISTS (SELECT 1 FROM withdrawn WHERE ping = ?1 AND pong_server = ?2) THEN ?1 END,
?2, ?3, ?4, ?5, ?6, ?7, ?8)
"""
_ANSWERED = """
DELETE FROM unanswered WHERE ping = ?1 AND pong_server = ?2
AND EXISTS (SELECT 1 FROM sample WHERE ping = ?1 AND pong_server = ?2)
"""
_TOKEN = "UPDATE session SET next_batch = ? WHERE account = ?"  # noqa: S105 (a position in a stream)


class _UnusualError(Exception):
    """Something has to be stored first."""


class Usual:
    """Commits what is usual. For the thread that writes."""

    def __init__(self, engine: Engine, account: str) -> None:
        self._engine = engine
        self._account = account
        self._cursor: sqlite3.Cursor | None = None
        self._rows: dict[str, dict[tuple[object, ...], int]] = {
            sql: {} for sql in (_ROOM, _SERVER, _VANTAGE)
        }

    def record(self, batch: Batch, next_batch: str | None) -> bool:
        """Commit a batch with its sync token; False where it is not usual, and nothing is done."""
        if self._engine.dialect.name != "sqlite" or not _is_usual(batch):
            return False
        try:
            cursor = self._connect()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                self._write(cursor, batch, next_batch)
                cursor.execute("COMMIT")
            except BaseException:
                cursor.execute("ROLLBACK")
                raise
        except (_UnusualError, sqlite3.Error):
            return False
        return True

    def _write(self, cursor: sqlite3.Cursor, batch: Batch, next_batch: str | None) -> None:
        pings = {}
        for key, one in pings_of(batch).items():
            pings[key] = self._record_ping(cursor, one)
        if batch.expected:
            expected = [
                (pings[one.room_id, one.event_id][0], self._find(_SERVER, name))
                for one, servers in batch.expected
                for name in servers
            ]
            cursor.executemany(_EXPECTED, expected)
        self._record_samples(cursor, batch.samples, pings)
        if next_batch is not None:
            changed = cursor.execute(_TOKEN, (next_batch, self._account))
            if not changed.rowcount:
                raise _UnusualError

    def _record_ping(self, cursor: sqlite3.Cursor, one: Ping) -> tuple[int, int]:
        """The row IDs of a ping and of its room."""
        room = self._find(_ROOM, one.room_id)
        found = cursor.execute(_PING, (room, one.event_id)).fetchone()
        if found is not None:
            row, is_past = found
            if is_past:
                raise _UnusualError
            return row, room
        server = self._find(_SERVER, one.server)
        vantage = None if one.vantage is None else self._find(_VANTAGE, one.vantage, server)
        times = (one.origin_server_ts, one.seen_ts, vantage, one.sent_ts)
        inserted = cursor.execute(_NEW_PING, (room, one.event_id, server, *times))
        if not inserted.rowcount or inserted.lastrowid is None:
            raise _UnusualError
        return inserted.lastrowid, room

    def _record_samples(
        self, cursor: sqlite3.Cursor, samples: Iterable[Sample], pings: Keys
    ) -> None:
        rows = []
        answered = []
        for one in samples:
            ping, pong = one.ping, one.pong
            ping_row, room = pings[ping.room_id, ping.event_id]
            key = ping_row, self._find(_SERVER, pong.server)
            rows.append(
                (
                    *key,
                    pong.one_way_ms,
                    one.round_trip_ms,
                    pong.seen_ts - ping.seen_ts,
                    pong.seen_ts - pong.origin_server_ts,
                    int(one.provenance),
                    hash_event_id(pong.event_id),
                    room,
                )
            )
            if ping.vantage is not None:
                answered.append(key)
        cursor.executemany(_SAMPLE, rows)
        if answered:
            cursor.executemany(_ANSWERED, answered)

    def _find(self, sql: str, *key: object) -> int:
        """The row ID of what is never deleted: a room, a server or a vantage."""
        known = self._rows[sql]
        row = known.get(key)
        if row is None:
            found = self._connect().execute(sql, key).fetchone()
            if found is None:
                raise _UnusualError
            if len(known) > MOST_KNOWN:
                known.clear()
            row = known[key] = found[0]
        return row

    def _connect(self) -> sqlite3.Cursor:
        if self._cursor is None:
            raw = self._engine.raw_connection()
            connection = cast("sqlite3.Connection", raw.driver_connection)
            raw.detach()
            weakref.finalize(self, connection.close)
            # Who waits for a lock says so, and that is `ingest`.
            connection.execute("PRAGMA busy_timeout = 0")
            self._cursor = connection.cursor()
        return self._cursor


def _is_usual(batch: Batch) -> bool:
    return not (
        batch.rejected
        or batch.voided
        or batch.pending
        or batch.settled
        or batch.redacted
        or batch.gaps
    )
