"""The one writer: what one sync response leads to -> one transaction. Nothing is stored twice.

A second ping of the same event, and a second sample of the same ping and pong server, are dropped,
in whichever room of an upgraded room's lineage: the same response may come again after a crash, and
does no harm. A batch that is tried again, because its commit was not answered, is known by its
number: so what has no key, as void rounds and gaps, is not recorded twice either.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, insert, select, update

from pingboard.model import (
    Batch,
    DamagedHourError,
    PingKey,
    Provenance,
    Rejected,
    Rejection,
    RoomState,
    Sample,
    hash_event_id,
)
from pingboard.store import journal
from pingboard.store.backlog import delete_pending, insert_pending, record_gaps
from pingboard.store.journal import HourKey
from pingboard.store.pings import find_stored_pings, get_key, record_pings
from pingboard.store.redactions import find_hours, find_redacted, find_withdrawn, redact
from pingboard.store.rejections import find_rejected, record_rejected
from pingboard.store.room_upgrades import merge_lineage
from pingboard.store.row_ids import RowIDs
from pingboard.store.sample_changes import NewSample, SampleChanges, StoredPing
from pingboard.store.schema import room, session, void_round
from pingboard.store.sql import add_counts, execute


@dataclass(frozen=True, slots=True)
class SavedSession:
    """What an earlier run of the same account left behind."""

    device_id: str | None = None
    access_token: str | None = None
    next_batch: str | None = None


class Ingest:
    """The one writer of a database. Not thread-safe: call it from one thread at a time.

    `account` is the homeserver URL and the user ID; only their digest is stored.
    """

    def __init__(self, engine: Engine, account: str) -> None:
        self._engine = engine
        self._account = hashlib.sha256(account.encode()).hexdigest()
        self._row_ids = RowIDs()

    def record(
        self, batch: Batch, next_batch: str | None = None, *, number: int | None = None
    ) -> list[DamagedHourError]:
        """Commit a batch together with the sync token that it leads up to.

        A batch that may be tried again has the same `number` each time, and no other has it.
        What would change a closed hour that is damaged is left out: return what is wrong with it.
        Who restores a backup takes the token back too, so what was left out comes again.
        """
        redacted_hours, damaged = find_hours(self._engine, batch.redacted)
        try:
            with self._engine.begin() as connection:
                if self._begin_batch(connection, number or make_batch_number(), next_batch):
                    damaged += self._record(connection, batch, redacted_hours)
        except BaseException:
            self._row_ids.forget()
            raise
        return damaged

    def _record(
        self, connection: Connection, batch: Batch, redacted_hours: set[HourKey]
    ) -> list[DamagedHourError]:
        row_ids, changes = self._row_ids, SampleChanges(connection)
        named = [*batch.pings, *(ping for ping, _ in batch.expected)]
        named += [sample.ping for sample in batch.samples]
        pings = record_pings(connection, row_ids, changes, named, is_import=False)
        self._record_expected(connection, changes, batch, pings)
        duplicates = self._record_samples(connection, changes, batch.samples, pings)
        rooms = row_ids.rooms.find(connection, _name_rooms(batch))
        record_rejected(connection, row_ids, [*batch.rejected, *duplicates])
        add_counts(connection, void_round, Counter(batch.void_rounds))
        if batch.voided:
            changes.void(find_stored_pings(connection, row_ids, batch.voided).values())
        if batch.pending:
            names = {candidate.pong.server for candidate in batch.pending}
            servers = row_ids.servers.find(connection, names)
            insert_pending(connection, batch.pending, rooms, servers)
        delete_pending(connection, batch.no_longer_pending, rooms)
        for room_id in dict.fromkeys(room_id for room_id, _ in batch.redacted):
            event_ids = [event for of_room, event in batch.redacted if of_room == room_id]
            lineage = row_ids.find_lineage(connection, room_id)
            redact(connection, changes, rooms[room_id], lineage, event_ids, redacted_hours)
        record_gaps(connection, batch.gaps, rooms)
        changes.finish(has_new_room=row_ids.rooms.has_new)
        row_ids.rooms.has_new = False
        return changes.damaged

    def record_room(
        self, room_id: str, alias: str | None = None, predecessor: str | None = None
    ) -> list[DamagedHourError]:
        """Remember a joined room, the alias that leads to it now, and the room it replaces.

        Return what is wrong with hours that are damaged, and therefore stay as they are.
        """
        self._row_ids.forget()
        damaged: list[DamagedHourError] = []
        with self._engine.begin() as connection:
            named = [room_id] if predecessor is None else [room_id, predecessor]
            rooms = self._row_ids.rooms.find(connection, named)
            values: dict[str, object] = {}
            if predecessor is not None:
                values["predecessor"] = rooms[predecessor]
                upgraded = update(room).where(room.c.id == rooms[predecessor])
                connection.execute(upgraded.values(state=str(RoomState.UPGRADED)))
            if alias is not None:
                # An alias leads to one room; after an upgrade it has moved.
                moved = update(room).where(room.c.alias == alias, room.c.room_id != room_id)
                connection.execute(moved.values(alias=None))
                values["alias"] = alias
            joined = update(room).where(room.c.room_id == room_id)
            if values:
                connection.execute(joined.values(values))
            is_current = room.c.state.is_distinct_from(str(RoomState.UPGRADED))
            connection.execute(joined.where(is_current).values(state=str(RoomState.JOINED)))
            if predecessor is not None:
                damaged = merge_lineage(connection, room_id)
            journal.write_room_change(connection)
            self._row_ids.rooms.has_new = False
        return damaged

    def saved_session(self) -> SavedSession:
        """Return what the last run of this account left behind; empty before the first."""
        saved = select(session.c.device_id, session.c.access_token, session.c.next_batch)
        with self._engine.connect() as connection:
            row = connection.execute(saved.where(session.c.account == self._account)).first()
        return SavedSession(*row) if row else SavedSession()

    def save_login(self, device_id: str, access_token: str) -> None:
        """Keep a login, so that a restart needs no password (homeservers limit logins)."""
        with self._engine.begin() as connection:
            self._update_session(connection, device_id=device_id, access_token=access_token)

    def _record_expected(
        self,
        connection: Connection,
        changes: SampleChanges,
        batch: Batch,
        pings: Mapping[PingKey, StoredPing],
    ) -> None:
        """Insert a row for each pong to come; `_record_samples` deletes those that came."""
        if not batch.expected:
            return
        names = {name for _, servers in batch.expected for name in servers}
        rows = self._row_ids.servers.find(connection, names)
        withdrawn = find_withdrawn(connection, {stored.id for stored in pings.values()})
        keys = [
            (stored, rows[name])
            for ping, servers in batch.expected
            if (stored := pings.get(get_key(ping))) is not None
            for name in servers
            if (stored.id, rows[name]) not in withdrawn
        ]
        changes.expect(keys)
        changes.delete_answered([stored for stored, _ in keys])

    def _record_samples(
        self,
        connection: Connection,
        changes: SampleChanges,
        samples: Sequence[Sample],
        pings: Mapping[PingKey, StoredPing],
    ) -> list[Rejected]:
        """Store samples; return the pongs that are not the first of their server for a ping.

        The one that was heard stands before those of history, and of these the earliest.
        """
        if not samples:
            return []
        servers = self._row_ids.servers.find(connection, {sample.pong.server for sample in samples})
        allowed = self._leave_out_refused(connection, samples)
        # Its server's second pong to a ping does not count when the first is taken back: what is
        # sent to mend a number does not measure what the ping did.
        withdrawn = find_withdrawn(connection, {stored.id for stored in pings.values()})
        new: list[tuple[NewSample, Sample]] = []
        duplicates: list[Rejected] = []
        for sample, event_hash in allowed:
            pong, stored = sample.pong, pings.get(get_key(sample.ping))
            if stored is None:
                continue
            if (stored.id, servers[pong.server]) in withdrawn:
                duplicates.append(_reject_duplicate(sample, event_hash, pong.seen_ts))
                continue
            added = NewSample(
                stored,
                servers[pong.server],
                pong.seen_ts,
                pong.origin_server_ts,
                pong.one_way_ms,
                sample.round_trip_ms,
                int(sample.provenance),
                event_hash,
            )
            new.append((added, sample))
        return duplicates + _insert_first(changes, new)

    def _leave_out_refused(
        self, connection: Connection, samples: Sequence[Sample]
    ) -> list[tuple[Sample, int]]:
        """Return the samples whose pong was neither redacted nor rejected before, with its hash."""
        hashes = [hash_event_id(sample.pong.event_id) for sample in samples]
        redacted: set[tuple[str, int]] = set()
        for room_id in {sample.ping.room_id for sample in samples}:
            lineage = self._row_ids.find_lineage(connection, room_id)
            redacted |= {(room_id, hashed) for hashed in find_redacted(connection, lineage, hashes)}
        fetched = [
            event_hash
            for sample, event_hash in zip(samples, hashes, strict=True)
            if sample.provenance is not Provenance.LIVE
        ]
        # In history a pong that was seen to come too late can claim that it was in time.
        rejected = find_rejected(connection, fetched)
        return [
            (sample, event_hash)
            for sample, event_hash in zip(samples, hashes, strict=True)
            if (sample.ping.room_id, event_hash) not in redacted and event_hash not in rejected
        ]

    def _begin_batch(self, connection: Connection, number: int, next_batch: str | None) -> bool:
        """Take a batch's number and token down; False where that batch was committed already."""
        sql = """
        INSERT INTO session (account, last_batch, next_batch) VALUES (?, ?, ?)
        ON CONFLICT (account) DO UPDATE SET last_batch = excluded.last_batch,
        next_batch = coalesce(excluded.next_batch, session.next_batch)
        WHERE session.last_batch <> excluded.last_batch
        """
        return bool(execute(connection, sql, self._account, number, next_batch).rowcount)

    def _update_session(self, connection: Connection, **values: str) -> None:
        names = ", ".join(f"{name} = ?" for name in values)
        sql = f"UPDATE session SET {names} WHERE account = ?"  # noqa: S608
        if not execute(connection, sql, *values.values(), self._account).rowcount:
            connection.execute(insert(session).values(account=self._account, **values))


def _insert_first(
    changes: SampleChanges, samples: Sequence[tuple[NewSample, Sample]]
) -> list[Rejected]:
    """Insert of each ping and pong server the first sample; return the pongs that are others."""
    origins = dict(samples)
    heard = [added for added in origins if added.provenance == Provenance.LIVE]
    of_history = [added for added in origins if added.provenance != Provenance.LIVE]
    inserted = changes.insert_samples(heard, is_announced=True)
    duplicates: list[Rejected] = []
    if of_history:
        of_history.sort(key=lambda added: added.seen_ts)
        duplicates = [
            _reject_duplicate(origins[added], later.event_hash, added.ping.seen_ts + later.delay_ms)
            for added, later in changes.displace_later(of_history)
        ]
        inserted += changes.insert_samples(of_history, is_announced=True)
    changes.delete_answered([added.ping for added in origins if added.ping.is_ours])
    if inserted < len(origins):
        stored = changes.read_stored([added.ping for added in origins])
        duplicates += [
            _reject_duplicate(sample, hash_event_id(sample.pong.event_id), added.seen_ts)
            for added, sample in origins.items()
            if (known := stored.get((added.ping.id, added.pong_server))) is not None
            and known.event_hash != added.event_hash
        ]
    return duplicates


def _reject_duplicate(sample: Sample, event_hash: int, seen_ts: int) -> Rejected:
    room_id, server = sample.ping.room_id, sample.pong.server
    return Rejected(event_hash, room_id, server, Rejection.DUPLICATE, seen_ts)


def make_batch_number() -> int:
    """Return a number for a batch that no earlier run has used either."""
    return secrets.randbits(62)


def _name_rooms(batch: Batch) -> set[str]:
    """Return the rooms (IDs) that a batch names beside those of its pings."""
    rooms = {room_id for room_id, _ in batch.redacted}
    rooms |= {gap.room_id for gap in batch.gaps}
    rooms |= {pong.room_id for pong in batch.no_longer_pending}
    return rooms | {candidate.pong.room_id for candidate in batch.pending}
