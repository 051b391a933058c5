"""The usual batch, committed in microseconds: pongs of known servers to known pings, on SQLite.

Nine of ten batches are such, and SQLAlchemy's own part in one takes a millisecond, twenty times
what the database needs. So these go through the driver, in the same transaction with the same
effect; whatever is not usual, or fails, is left to `ingest`, which explains and repeats.
"""

from __future__ import annotations

import sqlite3
import weakref
from typing import TYPE_CHECKING, cast

from pingboard.store.rows import hash_event_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

    from pingboard.model import Batch, Sample

_PING = """
SELECT ping.id, room.id FROM room JOIN ping ON ping.room = room.id
WHERE room.room_id = ? AND ping.event = ?
"""
_SERVER = "SELECT id FROM server WHERE name = ?"
_SAMPLE = """
INSERT INTO sample (ping, pong_server, one_way_ms, round_trip_ms, delay_ms, lag_ms, provenance,
event_hash) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8
WHERE NOT EXISTS (SELECT 1 FROM redacted WHERE room = ?9 AND event_hash = ?8)
AND NOT EXISTS (SELECT 1 FROM withdrawn WHERE ping = ?1 AND pong_server = ?2)
ON CONFLICT DO NOTHING
"""
_ANSWERED = "DELETE FROM unanswered WHERE ping = ? AND pong_server = ?"
_TOKEN = "UPDATE session SET next_batch = ? WHERE account = ?"  # noqa: S105 (a position in a stream)


class _UnusualError(Exception):
    """Something has to be stored first."""


class Usual:
    """Commits what is usual. For the thread that writes."""

    def __init__(self, engine: Engine, account: str) -> None:
        self._engine = engine
        self._account = account
        self._connection: sqlite3.Connection | None = None
        self._servers: dict[str, int] = {}

    def record(self, batch: Batch, next_batch: str | None) -> bool:
        """Commit a batch with its sync token; False where it is not usual, and nothing is done."""
        if self._engine.dialect.name != "sqlite" or not _has_only_samples(batch):
            return False
        try:
            connection = self._connect()
            connection.execute("BEGIN IMMEDIATE")
            try:
                self._write(connection, batch.samples, next_batch)
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise
        except (_UnusualError, sqlite3.Error):
            return False
        return True

    def _write(
        self, connection: sqlite3.Connection, samples: Sequence[Sample], next_batch: str | None
    ) -> None:
        keys = {(one.ping.room_id, one.ping.event_id) for one in samples}
        pings = {key: _find(connection, _PING, key) for key in keys}
        rows = []
        answered = []
        for one in samples:
            ping, pong = one.ping, one.pong
            ping_row, room_row = pings[ping.room_id, ping.event_id]
            server = self._servers.get(pong.server)
            if server is None:
                server = self._servers[pong.server] = _find(connection, _SERVER, (pong.server,))[0]
            rows.append(
                (
                    ping_row,
                    server,
                    pong.one_way_ms,
                    one.round_trip_ms,
                    pong.seen_ts - ping.seen_ts,
                    pong.seen_ts - pong.origin_server_ts,
                    int(one.provenance),
                    hash_event_id(pong.event_id),
                    room_row,
                )
            )
            if ping.vantage is not None:
                answered.append((ping_row, server))
        connection.executemany(_SAMPLE, rows)
        connection.executemany(_ANSWERED, answered)
        if next_batch is not None:
            changed = connection.execute(_TOKEN, (next_batch, self._account))
            if not changed.rowcount:
                raise _UnusualError

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None:
            raw = self._engine.raw_connection()
            self._connection = cast("sqlite3.Connection", raw.driver_connection)
            raw.detach()
            weakref.finalize(self, self._connection.close)
            # Who waits for a lock says so, and that is `ingest`.
            self._connection.execute("PRAGMA busy_timeout = 0")
        return self._connection


def _has_only_samples(batch: Batch) -> bool:
    return bool(batch.samples) and not (
        batch.pings
        or batch.rejected
        or batch.expected
        or batch.voided
        or batch.pending
        or batch.settled
        or batch.redacted
        or batch.gaps
    )


def _find(connection: sqlite3.Connection, sql: str, parameters: tuple[str, ...]) -> tuple[int, ...]:
    found: tuple[int, ...] | None = connection.execute(sql, parameters).fetchone()
    if found is None:
        raise _UnusualError
    return found
