"""Writes records of another database: each sample once, however often it is imported.

A chunk of records is one transaction, so an import that was cut off is simply run again. What is
imported becomes rows like those of the worker, which are closed now and then, and at the end.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import select, text, update

from pingboard.model import Ping, Provenance, is_possible_time
from pingboard.records import ESTIMATED, Record
from pingboard.store import journal
from pingboard.store.changes import Changes, NewSample
from pingboard.store.estimates import estimate_pong_seen_ts, replace_estimate
from pingboard.store.hours import close_hours
from pingboard.store.lookups import (
    Names,
    StoredPing,
    find_dropped,
    find_kept_from,
    find_stored_pings,
    insert_pings,
    read_rooms,
)
from pingboard.store.redactions import find_redacted, find_withdrawn
from pingboard.store.schema import room, server, vantage
from pingboard.store.sql import insert_new
from pingboard.store.upgrades import merge_lineage

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from pingboard.lineage import Rooms

_MAX_OPEN_SAMPLES = 250_000
"""Samples that are imported before their hours are closed: a row takes three times as much."""

_MAX_NAMED_HOURS = 1_000
"""Hours that the journal names after an import; of more, readers read everything again."""

_PROVENANCE = {provenance.name.lower(): int(provenance) for provenance in Provenance}
_TIMES = (
    "ping_seen_ts",
    "pong_seen_ts",
    "ping_origin_server_ts",
    "pong_origin_server_ts",
    "ping_sent_ts",
)


@dataclass(slots=True)
class Importer:
    """Puts records into a database; as a context, it closes their hours at the end.

    One at a time, and no worker beside it. After an error, begin with another one.
    """

    engine: Engine
    imported: int = 0
    known: int = 0
    """samples that were there already"""
    _rooms: Names = field(default_factory=lambda: Names(room, "room_id"))
    _servers: Names = field(default_factory=lambda: Names(server, "name"))
    _described: set[tuple[str, str | None, str | None]] = field(default_factory=set)
    _open_samples: int = 0

    def add(self, records: Sequence[Record]) -> Iterator[tuple[int, str]]:
        """Commit these; yield the index of each that can't be true, or not beside what is stored,
        and why."""
        now_ts = time.time_ns() // 1_000_000
        faults = {
            index: fault
            for index, one in enumerate(records)
            if (fault := _check_times(one, now_ts)) is not None
        }
        with self.engine.begin() as connection:
            possible = {index: one for index, one in enumerate(records) if index not in faults}
            chunk = _Chunk(connection, self._rooms, self._servers)
            chunk.describe_rooms(possible.values(), self._described)
            faults |= chunk.add(possible)
        self.imported += chunk.imported
        self.known += chunk.known
        self._open_samples += chunk.imported
        if self._open_samples > _MAX_OPEN_SAMPLES:
            self._close_hours()
        return iter(sorted(faults.items()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the hours that were imported, and give back what their rows took on disk."""
        self._close_hours()
        if self.imported:
            _compact(self.engine)

    def _close_hours(self) -> None:
        close_hours(self.engine, time.time_ns() // 1_000_000)
        self._open_samples = 0
        with self.engine.begin() as connection:
            journal.limit_entries(connection, _MAX_NAMED_HOURS)


class _Chunk:
    """One transaction."""

    def __init__(self, connection: Connection, rooms: Names, servers: Names) -> None:
        self._connection = connection
        self._rooms, self._servers = rooms, servers
        self._lineages: Rooms
        self.imported = 0
        self.known = 0

    def describe_rooms(
        self, records: Iterable[Record], described: set[tuple[str, str | None, str | None]]
    ) -> None:
        """Store the rooms of records, with alias and predecessor where there is none yet."""
        new = {(one.room_id, one.room_alias, one.room_predecessor) for one in records} - described
        named = {room_id for room_id, _, before in new} | {before for *_, before in new if before}
        rows = self._rooms.find(self._connection, named)
        for room_id, alias, predecessor in sorted(new, key=str):
            if alias is not None:
                is_taken = select(room.c.id).where(room.c.alias == alias)
                if self._connection.execute(is_taken).first() is None:
                    self._set_missing(rows[room_id], alias=alias)
            if predecessor is not None:
                self._set_missing(rows[room_id], predecessor=rows[predecessor])
                merge_lineage(self._connection, room_id)
        if new:
            journal.write_room_change(self._connection)
        described |= new
        self._lineages = read_rooms(self._connection)

    def add(self, records: Mapping[int, Record]) -> dict[int, str]:
        """Store these; return the faults of those that can't be."""
        self._servers.find(
            self._connection,
            {name for one in records.values() for name in (one.ping_server, one.pong_server)},
        )
        changes = Changes(self._connection)
        pings = self._record_pings(changes, records)
        redacted = self._find_redacted(records.values())
        stored_pings = {stored.id for stored, _ in pings.values()}
        withdrawn = find_withdrawn(self._connection, stored_pings)
        new: list[NewSample] = []
        missing: list[tuple[StoredPing, int]] = []
        faults: dict[int, str] = {}
        servers = self._servers.find(self._connection, ())
        for index, one in records.items():
            stored, first = pings.get((one.room_id, one.ping_event_id), (None, 0))
            if stored is None or index < first:
                faults[index] = "is older than the single samples that this database keeps"
            elif stored.server != servers[one.ping_server]:
                faults[index] = f"its ping was not sent from {one.ping_server}"
            elif (stored.id, servers[one.pong_server]) in withdrawn or (
                (one.room_id, one.pong_event_hash) in redacted
            ):
                faults[index] = "its pong was redacted"
            elif one.one_way_ms is None:
                missing.append((stored, servers[one.pong_server]))
            else:
                new.append(_make_sample(one, stored, servers[one.pong_server]))
        self.imported = changes.insert_samples(new, is_news=False)
        self.known = len(new) - self.imported
        changes.expect(missing)
        changes.settle([one.ping for one in new] + [stored for stored, _ in missing])
        changes.finish()
        return faults

    def _record_pings(
        self, changes: Changes, records: Mapping[int, Record]
    ) -> dict[tuple[str, str], tuple[StoredPing, int]]:
        """Return the stored ping of each record, by room and event ID, and the first that it takes.

        The first record of a new ping makes it, unless it belongs to an hour whose single samples
        are dropped; one that was seen takes the place of an estimate.
        """
        by_room: dict[str, dict[str, list[int]]] = {}
        for index, one in records.items():
            by_room.setdefault(one.room_id, {}).setdefault(one.ping_event_id, []).append(index)
        pings: dict[tuple[str, str], tuple[StoredPing, int]] = {}
        makers: dict[tuple[str, str], int] = {}
        for room_id, of_room in by_room.items():
            lineage = self._lineages.lineage(room_id)
            stored = find_stored_pings(self._connection, lineage, of_room)
            pings |= {(room_id, event_id): (ping, 0) for event_id, ping in stored.items()}
            unknown = [event_id for event_id in of_room if event_id not in stored]
            kept_from_ts = find_kept_from(self._connection, lineage)
            dropped = find_dropped(self._connection, lineage, unknown) if kept_from_ts else set()
            for event_id in unknown:
                for index in of_room[event_id] if event_id not in dropped else ():
                    if records[index].ping_seen_ts >= kept_from_ts:
                        makers[room_id, event_id] = index
                        break
        inserted = self._insert_pings([records[index] for index in makers.values()])
        pings |= {key: (inserted[key], index) for key, index in makers.items()}
        for one in records.values():
            if one.ping_time != ESTIMATED:
                self._replace_estimate(changes, pings, one)
        return pings

    def _insert_pings(self, records: Sequence[Record]) -> dict[tuple[str, str], StoredPing]:
        rooms = self._rooms.find(self._connection, ())
        servers = self._servers.find(self._connection, ())
        rows = [
            (
                rooms[one.room_id],
                servers[one.ping_server],
                one.ping_event_id,
                one.ping_origin_server_ts,
                one.ping_seen_ts,
                self._find_vantage(one),
                one.ping_sent_ts,
                one.ping_time == ESTIMATED,
            )
            for one in records
        ]
        return {
            (one.room_id, one.ping_event_id): StoredPing(
                row_id,
                rooms[one.room_id],
                one.ping_event_id,
                servers[one.ping_server],
                one.ping_origin_server_ts,
                one.ping_seen_ts,
                one.vantage is not None,
                one.ping_time == ESTIMATED,
            )
            for one, row_id in zip(records, insert_pings(self._connection, rows), strict=True)
        }

    def _replace_estimate(
        self,
        changes: Changes,
        pings: dict[tuple[str, str], tuple[StoredPing, int]],
        one: Record,
    ) -> None:
        stored, first = pings.get((one.room_id, one.ping_event_id), (None, 0))
        server_row = self._servers.find(self._connection, ())[one.ping_server]
        if stored is None or stored.server != server_row or not stored.is_estimated:
            return
        lineage = self._lineages.lineage(one.room_id)
        # It can't move to an hour that stays as it is.
        if one.ping_seen_ts >= find_kept_from(self._connection, lineage):
            seen = Ping(
                one.ping_event_id,
                one.room_id,
                one.ping_server,
                one.ping_origin_server_ts,
                one.ping_seen_ts,
                one.vantage,
                one.ping_sent_ts,
            )
            vantage_row = self._find_vantage(one)
            real = replace_estimate(
                self._connection, changes, stored, seen, server_row, vantage_row
            )
            pings[one.room_id, one.ping_event_id] = real, first

    def _find_vantage(self, one: Record) -> int | None:
        if one.vantage is None:
            return None
        servers = self._servers.find(self._connection, [one.ping_server])
        row = {"name": one.vantage, "server": servers[one.ping_server]}
        found = select(vantage.c.id).filter_by(**row)
        vantage_row: int | None = self._connection.scalar(found)
        if vantage_row is None:
            insert_new(self._connection, vantage, [row])
            vantage_row = self._connection.scalar(found)
        return vantage_row

    def _find_redacted(self, records: Iterable[Record]) -> set[tuple[str, int | None]]:
        """Return the pongs that were redacted, by room ID and hash of the event ID."""
        hashes: dict[str, list[int]] = {}
        for one in records:
            if one.pong_event_hash is not None:
                hashes.setdefault(one.room_id, []).append(one.pong_event_hash)
        return {
            (room_id, event_hash)
            for room_id, of_room in hashes.items()
            for event_hash in find_redacted(
                self._connection, self._lineages.lineage(room_id), of_room
            )
        }

    def _set_missing(self, row: int, **value: Any) -> None:
        (name,) = value
        same = (room.c.id == row) & room.c[name].is_(None)
        self._connection.execute(update(room).where(same).values(value))


def _check_times(one: Record, now_ts: int) -> str | None:
    for name in _TIMES:
        ts: int | None = getattr(one, name)
        if ts is not None and not is_possible_time(ts, now_ts):
            return f"{name} is {ts}, which is before 2014-09-01 or more than 10 minutes ahead"
    return None


def _make_sample(one: Record, stored: StoredPing, pong_server: int) -> NewSample:
    origin_ts = one.pong_origin_server_ts or 0
    seen_ts = one.pong_seen_ts
    if seen_ts is None:
        seen_ts = estimate_pong_seen_ts(stored.seen_ts, origin_ts)
    return NewSample(
        stored,
        pong_server,
        one.one_way_ms or 0,
        one.round_trip_ms,
        seen_ts,
        origin_ts,
        _PROVENANCE[one.provenance or "import"],
        one.pong_event_hash,
    )


def _compact(engine: Engine) -> None:
    """Give the disk back what rows took that are packed now."""
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for table in ("sample", "unanswered", "change", "hour"):
                connection.execute(text(f"VACUUM FULL {table}"))
        return
    # The driver's own connection: VACUUM takes a transaction of its own, and refuses ours.
    raw = engine.raw_connection()
    try:
        raw.cursor().execute("VACUUM")
        # What it wrote is in the WAL; only from there does the file get smaller.
        raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        raw.close()
