"""The samples that a worker has stored, read from its database while it runs or after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import stamina
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from pingboard.store.engine import open_engine

_SAMPLES = """
    SELECT ping.event, server.name, sample.one_way_ms, sample.round_trip_ms, sample.provenance,
           ping.vantage IS NOT NULL, ping.sent_ts
    FROM sample
    JOIN ping ON ping.id = sample.ping
    JOIN room ON room.id = ping.room
    JOIN server ON server.id = sample.pong_server
    WHERE room.room_id = :room
"""


def _is_recovering(error: Exception) -> bool:
    return isinstance(error, OperationalError) and "sqlite" not in str(error)


@dataclass(frozen=True, slots=True)
class Stored:
    """A row of `sample`, its integers resolved."""

    ping: str
    pong_server: str
    one_way_ms: int
    round_trip_ms: int | None
    provenance: int
    is_ours: bool
    sent_ts: int | None


class Database:
    """Reads only. An empty or absent database has no samples."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """All rows of a statement; a PostgreSQL that is just recovering is waited for."""
        for attempt in stamina.retry_context(on=_is_recovering, timeout=30, wait_max=1.0):
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

    def samples(self, room_id: str) -> list[Stored]:
        """Every sample of a room."""
        return [Stored(*row) for row in self.query(_SAMPLES, room=room_id)]

    def rejections(self) -> dict[tuple[str, str], int]:
        """(pong server, reason) -> how many pongs."""
        rows = self.query(
            "SELECT server.name, reason, sum(count) FROM rejection "
            "JOIN server ON server.id = pong_server GROUP BY server.name, reason"
        )
        return {(name, reason): int(count) for name, reason, count in rows}

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
