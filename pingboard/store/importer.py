"""Writes records of another database: each sample once, however often it is imported.

A chunk of records is one transaction, so an import that was cut off is simply run again. What is
imported becomes rows like those of the worker, which are closed now and then, and at the end.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from sqlalchemy import Connection, Engine, select, text, update

from pingboard.file_formats import ESTIMATED, Record
from pingboard.model import DamagedHourError, Ping, Provenance, is_possible_time
from pingboard.store import journal
from pingboard.store.engine import PassingStoreError, explained
from pingboard.store.hours import close_hours
from pingboard.store.pings import record_pings
from pingboard.store.redactions import find_redacted, find_withdrawn
from pingboard.store.retention import read_kept_from
from pingboard.store.room_upgrades import merge_lineage
from pingboard.store.row_ids import RowIDs
from pingboard.store.sample_changes import (
    NewSample,
    SampleChanges,
    StoredPing,
    estimate_pong_seen_ts,
)
from pingboard.store.schema import room

RoomDescription = tuple[str, str | None, str | None]
"""Room ID, alias and predecessor."""

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
_TOO_OLD = "is older than the single samples that this database keeps"

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Importer:
    """Puts records into a database; as a context, it closes their hours at the end.

    One at a time, and no worker beside it. After an error, begin with another one.
    """

    engine: Engine
    imported: int = 0
    known: int = 0
    """samples that were there already"""
    _row_ids: RowIDs = field(default_factory=RowIDs)
    _described: set[RoomDescription] = field(default_factory=set)
    _open_samples: int = 0

    def add(self, records: Sequence[Record]) -> Iterator[tuple[int, str]]:
        """Commit these; yield the index of each that can't be true, or not beside what is stored,
        and why."""
        now_ts = time.time_ns() // 1_000_000
        faults = {
            index: fault
            for index, record in enumerate(records)
            if (fault := _check_times(record, now_ts)) is not None
        }
        possible = {index: record for index, record in enumerate(records) if index not in faults}
        with self.engine.begin() as connection:
            self._describe_rooms(connection, possible.values())
            faults |= self._check_retention(connection, possible)
            for index in faults:
                possible.pop(index, None)
            faults |= self._store(connection, possible)
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
            try:
                with explained():
                    _compact(self.engine)
            except PassingStoreError as error:
                reason = str(error.__cause__ or error).partition("\n")[0]
                # By logging: a command that has set up no logs shows it as a bare line on stderr.
                log.warning("after the import the database could not be made smaller: %s", reason)

    def _close_hours(self) -> None:
        close_hours(self.engine, time.time_ns() // 1_000_000)
        self._open_samples = 0
        with self.engine.begin() as connection:
            journal.limit_entries(connection, _MAX_NAMED_HOURS)

    def _describe_rooms(self, connection: Connection, records: Iterable[Record]) -> None:
        """Store the rooms of records, with alias and predecessor where there is none yet."""
        described = {
            (record.room_id, record.room_alias, record.room_predecessor) for record in records
        }
        new = described - self._described
        if not new:
            return
        room_ids = {room_id for room_id, _, before in new}
        room_ids |= {before for *_, before in new if before is not None}
        rows = self._row_ids.rooms.find(connection, room_ids)
        for room_id, alias, predecessor in sorted(new, key=str):
            if alias is not None:
                is_taken = select(room.c.id).where(room.c.alias == alias)
                if connection.execute(is_taken).first() is None:
                    _set_missing(connection, rows[room_id], alias=alias)
            if predecessor is not None:
                _set_missing(connection, rows[room_id], predecessor=rows[predecessor])
                _require_whole(merge_lineage(connection, room_id))
        journal.write_room_change(connection)
        self._row_ids.forget()
        self._described |= new

    def _check_retention(
        self, connection: Connection, records: Mapping[int, Record]
    ) -> dict[int, str]:
        kept_from = {
            room_id: read_kept_from(connection, self._row_ids.find_lineage(connection, room_id))
            for room_id in {record.room_id for record in records.values()}
        }
        return {
            index: _TOO_OLD
            for index, record in records.items()
            if record.ping_seen_ts < kept_from[record.room_id]
        }

    def _store(self, connection: Connection, records: Mapping[int, Record]) -> dict[int, str]:
        """Store these; return the faults of those that can't be."""
        names = {record.ping_server for record in records.values()}
        names |= {record.pong_server for record in records.values()}
        servers = self._row_ids.servers.find(connection, names)
        changes = SampleChanges(connection)
        pings = [_make_ping(record) for record in records.values()]
        stored_pings = record_pings(connection, self._row_ids, changes, pings, is_import=True)
        redacted = self._find_redacted(connection, records.values())
        withdrawn = find_withdrawn(connection, {stored.id for stored in stored_pings.values()})
        new: list[NewSample] = []
        missing: list[tuple[StoredPing, int]] = []
        faults: dict[int, str] = {}
        for index, record in records.items():
            stored = stored_pings.get((record.room_id, record.ping_event_id))
            server_row = servers[record.pong_server]
            if stored is None:
                faults[index] = _TOO_OLD
            elif stored.server != servers[record.ping_server]:
                faults[index] = f"its ping was not sent from {record.ping_server}"
            elif (stored.id, server_row) in withdrawn or (
                (record.room_id, record.pong_event_hash) in redacted
            ):
                faults[index] = "its pong was redacted"
            elif record.one_way_ms is None:
                missing.append((stored, server_row))
            else:
                new.append(_make_sample(record, stored, server_row))
        imported = changes.insert_samples(new, is_announced=False)
        changes.expect(missing)
        changes.delete_answered([added.ping for added in new] + [stored for stored, _ in missing])
        changes.finish()
        _require_whole(changes.damaged)
        self.imported += imported
        self.known += len(new) - imported
        self._open_samples += imported
        return faults

    def _find_redacted(
        self, connection: Connection, records: Iterable[Record]
    ) -> set[tuple[str, int | None]]:
        """Return the pongs that were redacted, by room ID and hash of the event ID."""
        hashes: dict[str, list[int]] = {}
        for record in records:
            if record.pong_event_hash is not None:
                hashes.setdefault(record.room_id, []).append(record.pong_event_hash)
        return {
            (room_id, event_hash)
            for room_id, of_room in hashes.items()
            for event_hash in find_redacted(
                connection, self._row_ids.find_lineage(connection, room_id), of_room
            )
        }


def _require_whole(damaged: Sequence[DamagedHourError]) -> None:
    """End an import that would change a damaged hour: whoever imports can restore it first."""
    if damaged:
        raise damaged[0]


def _set_missing(connection: Connection, row: int, **value: Any) -> None:
    (name,) = value
    is_missing = (room.c.id == row) & room.c[name].is_(None)
    connection.execute(update(room).where(is_missing).values(value))


def _make_ping(record: Record) -> Ping:
    return Ping(
        record.ping_event_id,
        record.room_id,
        record.ping_server,
        record.ping_origin_server_ts,
        record.ping_seen_ts,
        record.vantage,
        record.ping_sent_ts,
        is_estimated=record.ping_time == ESTIMATED,
    )


def _check_times(record: Record, now_ts: int) -> str | None:
    for name in _TIMES:
        ts: int | None = getattr(record, name)
        if ts is not None and not is_possible_time(ts, now_ts):
            return f"{name} is {ts}, which is before 2014-09-01 or more than 10 minutes ahead"
    return None


def _make_sample(record: Record, stored: StoredPing, pong_server: int) -> NewSample:
    origin_ts = record.pong_origin_server_ts or 0
    provenance = _PROVENANCE[record.provenance or "import"]
    seen_ts = record.pong_seen_ts
    if seen_ts is None or provenance == Provenance.IMPORT:
        seen_ts = estimate_pong_seen_ts(stored.seen_ts, origin_ts)
    return NewSample(
        stored,
        pong_server,
        seen_ts,
        origin_ts,
        record.one_way_ms or 0,
        record.round_trip_ms,
        provenance,
        record.pong_event_hash,
    )


def _compact(engine: Engine) -> None:
    """Give the disk back what rows took that are packed now."""
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for table in ("sample", "unanswered", "journal_entry", "hour"):
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
