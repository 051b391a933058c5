"""The samples that a worker has stored, read from its database while it runs or after."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import stamina
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from pingboard.model import Provenance, Window, from_ts
from pingboard.store.engine import PassingStoreError, open_engine
from pingboard.store.exporter import read_records
from pingboard.store.rooms import read_lineage

_ALWAYS = Window(from_ts(0), from_ts(2**47))


def _is_recovering(error: Exception) -> bool:
    passing = isinstance(error, OperationalError | PassingStoreError)
    return passing and "sqlite" not in str(error)


@dataclass(frozen=True, slots=True)
class Stored:
    """A sample."""

    ping: str
    pong_server: str
    one_way_ms: int
    round_trip_ms: int | None
    provenance: int
    is_ours: bool
    sent_ts: int | None


class Database:
    """Read only, but for a lock on it. An empty or absent database has no samples."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """All rows of a statement; a PostgreSQL that is just recovering is waited for."""
        for attempt in stamina.retry_context(on=_is_recovering, timeout=120, wait_max=1.0):
            with attempt:
                return self._query(statement, parameters)
        raise AssertionError("the last attempt raises")

    def _query(self, statement: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        engine = open_engine(self.url, read_only=True)
        try:
            with engine.connect() as connection:
                return [tuple(row) for row in connection.execute(text(statement), parameters)]
        finally:
            engine.dispose()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """A lock on an SQLite database: nobody else writes."""
        with closing(self.connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield

    def connect(self) -> sqlite3.Connection:
        """A connection to an SQLite database beside the worker, without transactions of its own."""
        file = self.url.removeprefix("sqlite:///")
        return sqlite3.connect(file, isolation_level=None, timeout=60)

    def samples(self, room_id: str) -> list[Stored]:
        """Every sample of a room, of open hours and of closed ones."""
        for attempt in stamina.retry_context(on=_is_recovering, timeout=120, wait_max=1.0):
            with attempt:
                return self._read_samples(room_id)
        raise AssertionError("the last attempt raises")

    def _read_samples(self, room_id: str) -> list[Stored]:
        engine = open_engine(self.url, read_only=True)
        try:
            rooms = read_lineage(engine, room_id)
            return [
                Stored(
                    record.ping_event_id,
                    record.pong_server,
                    record.one_way_ms,
                    record.round_trip_ms,
                    Provenance[(record.provenance or "").upper()],
                    record.vantage is not None,
                    record.ping_sent_ts,
                )
                for record in read_records(engine, rooms, _ALWAYS)
                if record.room_id == room_id and record.one_way_ms is not None
            ]
        finally:
            engine.dispose()

    def rejections(self) -> dict[tuple[str, str], int]:
        """(pong server, reason) -> how many pongs."""
        rows = self.query(
            "SELECT server.name, reason, sum(count) FROM rejection "
            "JOIN server ON server.id = pong_server GROUP BY server.name, reason"
        )
        return {(name, reason): int(count) for name, reason, count in rows}

    def latest_gap(self) -> int:
        """The number of the gap that was recorded last, 0 for none."""
        return int(self.query("SELECT coalesce(max(id), 0) FROM gap")[0][0])

    def void_rounds(self) -> dict[str, int]:
        """Reason -> how many rounds measured nothing."""
        return dict(self.query("SELECT reason, sum(count) FROM void_round GROUP BY reason"))

    def faults(self) -> list[str]:
        """What an integrity check finds, and what is there twice; nothing where all is well."""
        faults = [
            f"ping {event} is stored {count} times"
            for event, count in self.query(
                "SELECT event, count(*) FROM ping GROUP BY room, event HAVING count(*) > 1"
            )
        ]
        if self.url.startswith("sqlite"):
            check = [row[0] for row in self.query("PRAGMA integrity_check")]
            faults += [] if check == ["ok"] else [f"integrity_check: {check[0]}"]
            broken = self.query("PRAGMA foreign_key_check")
            faults += [f"foreign_key_check: {broken[0]}"] if broken else []
        return faults
