"""Fill a stopped Synapse's own database with messages: thousands a second, where its API takes 150.

What it serves afterwards is served by the real thing. The messages are as its own are, except for
hashes and signatures, which a homeserver does not look at again once an event is stored, and that
their senders need not be members.
"""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from synapse.api.room_versions import KNOWN_ROOM_VERSIONS
from synapse.events import make_event_from_dict

from faults.truth import Event
from pingboard.lab import Homeserver

_LAST = """
    SELECT event_json.json, event_json.format_version, rooms.room_version,
           (SELECT max(stream_ordering) FROM events), event_to_state_groups.state_group
    FROM events
    JOIN event_json USING (event_id)
    JOIN rooms ON rooms.room_id = events.room_id
    JOIN event_to_state_groups USING (event_id)
    WHERE events.room_id = ? AND events.type = 'm.room.message'
    ORDER BY events.stream_ordering DESC LIMIT 1
"""
_TABLES = {
    "events": 12,
    "event_json": 5,
    "event_to_state_groups": 2,
    "event_edges": 4,
    "event_relations": 4,
}
_COLUMNS = {
    "events": "stream_ordering, topological_ordering, event_id, type, room_id, processed, outlier, "
    "depth, origin_server_ts, received_ts, sender, instance_name",
}


class Seed:
    """What is to be said in a room that has a message already; `with` ends it in one commit."""

    def __init__(self, homeserver: Homeserver, room_id: str) -> None:
        self._connection = sqlite3.connect(_database(homeserver))
        self._room_id = room_id
        last = self._connection.execute(_LAST, (room_id,)).fetchone()
        self._template: Event = json.loads(last[0])
        self._format: int = last[1]
        self._version = KNOWN_ROOM_VERSIONS[last[2]]
        self._stream: int = last[3]
        self._state_group: int = last[4]
        self._last = _id_of(self._template, self._version)
        self._rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in _TABLES}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with closing(self._connection):
            if error is None:
                self._write()

    def say(self, sender: str, content: Event) -> str:
        """One message more; its event ID."""
        now_ts = time.time_ns() // 1_000_000
        depth = self._template["depth"] + 1
        event = {
            **self._template,
            "sender": sender,
            "content": content,
            "depth": depth,
            "prev_events": [self._last],
            "origin_server_ts": now_ts,
            "unsigned": {},
        }
        event_id = _id_of(event, self._version)
        self._stream += 1
        self._add(
            events=(
                *(self._stream, depth, event_id, "m.room.message", self._room_id, 1, 0),
                *(depth, now_ts, now_ts, sender, "master"),
            ),
            event_json=(event_id, self._room_id, "{}", json.dumps(event), self._format),
            event_to_state_groups=(event_id, self._state_group),
            event_edges=(event_id, self._last, None, 0),
        )
        relation = content.get("m.relates_to", {})
        if "rel_type" in relation:
            self._add(event_relations=(event_id, relation["event_id"], relation["rel_type"], None))
        self._template, self._last = event, event_id
        return event_id

    def _add(self, **rows: tuple[Any, ...]) -> None:
        for table, row in rows.items():
            self._rows[table].append(row)

    def _write(self) -> None:
        with self._connection as connection:
            for table, rows in self._rows.items():
                columns = f" ({_COLUMNS[table]})" if table in _COLUMNS else ""
                marks = ", ".join("?" * _TABLES[table])
                connection.executemany(f"INSERT INTO {table}{columns} VALUES ({marks})", rows)
            here = (self._room_id,)
            connection.execute("DELETE FROM event_forward_extremities WHERE room_id = ?", here)
            connection.execute(
                "INSERT INTO event_forward_extremities (event_id, room_id) VALUES (?, ?)",
                (self._last, self._room_id),
            )
            for table in ("stream_positions", "federation_stream_position"):
                # The second, so that it does not tell its neighbours all of it now.
                kind = "stream_name" if table == "stream_positions" else "type"
                statement = f"UPDATE {table} SET stream_id = ? WHERE {kind} = 'events'"
                connection.execute(statement, (self._stream,))
            connection.execute("ANALYZE")


def analyze(homeserver: Homeserver) -> None:
    """Let a homeserver give a large room's history in seconds, while it runs.

    Without it SQLite looks for edits of a page's events through all events of the room.
    """
    with closing(sqlite3.connect(_database(homeserver), timeout=60)) as connection, connection:
        connection.execute("ANALYZE")


def _database(homeserver: Homeserver) -> Path:
    file = homeserver.log_file.parent / homeserver.name / "synapse.db"
    if not file.is_file():
        raise FileNotFoundError(file)
    return file


def _id_of(event: Event, version: Any) -> str:
    return str(make_event_from_dict(event, version).event_id)
