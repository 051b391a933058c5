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

from pingboard.model import Batch, Provenance, RoomState, Sample, hash_event_id
from pingboard.store import journal
from pingboard.store.backlog import delete_pending, insert_pending, record_gaps
from pingboard.store.changes import Changes, NewSample, StoredPing
from pingboard.store.journal import Hour
from pingboard.store.pings import PingKey, find_stored_pings, get_key, record_pings
from pingboard.store.redactions import find_hours, find_redacted, find_withdrawn, redact
from pingboard.store.rejections import find_rejected, record_rejected
from pingboard.store.room_upgrades import merge_lineage
from pingboard.store.row_ids import RowIDs
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
    ) -> None:
        """Commit a batch together with the sync token that it leads up to.

        A batch that may be tried again has the same `number` each time, and no other has it.
        """
        redacted_hours = find_hours(self._engine, batch.redacted)
        try:
            with self._engine.begin() as connection:
                if self._begin_batch(connection, number or make_batch_number(), next_batch):
                    self._record(connection, batch, redacted_hours)
        except BaseException:
            self._row_ids.forget()
            raise

    def _record(self, connection: Connection, batch: Batch, redacted_hours: set[Hour]) -> None:
        row_ids, changes = self._row_ids, Changes(connection)
        named = [*batch.pings, *(ping for ping, _ in batch.expected)]
        named += [sample.ping for sample in batch.samples]
        pings = record_pings(connection, row_ids, changes, named, is_import=False)
        self._record_expected(connection, changes, batch, pings)
        self._record_samples(connection, changes, batch.samples, pings)
        rooms = row_ids.rooms.find(connection, _name_rooms(batch))
        record_rejected(connection, row_ids, batch.rejected)
        add_counts(connection, void_round, Counter(batch.void_rounds))
        if batch.voided:
            changes.void(find_stored_pings(connection, row_ids, batch.voided).values())
        if batch.pending:
            names = {candidate.pong.server for candidate in batch.pending}
            servers = row_ids.servers.find(connection, names)
            insert_pending(connection, batch.pending, rooms, servers)
        delete_pending(connection, batch.settled, rooms)
        for room_id in dict.fromkeys(room_id for room_id, _ in batch.redacted):
            event_ids = [event for of_room, event in batch.redacted if of_room == room_id]
            lineage = row_ids.find_lineage(connection, room_id)
            redact(connection, changes, rooms[room_id], lineage, event_ids, redacted_hours)
        record_gaps(connection, batch.gaps, rooms)
        changes.finish(has_new_room=row_ids.rooms.has_new)
        row_ids.rooms.has_new = False

    def record_room(
        self, room_id: str, alias: str | None = None, predecessor: str | None = None
    ) -> None:
        """Remember a joined room, the alias that leads to it now, and the room it replaces."""
        self._row_ids.forget()
        with self._engine.begin() as connection:
            named = [room_id] if predecessor is None else [room_id, predecessor]
            rooms = self._row_ids.rooms.find(connection, named)
            values: dict[str, object] = {"state": str(RoomState.JOINED)}
            if predecessor is not None:
                values["predecessor"] = rooms[predecessor]
                upgraded = update(room).where(room.c.id == rooms[predecessor])
                connection.execute(upgraded.values(state=str(RoomState.UPGRADED)))
            if alias is not None:
                # An alias leads to one room; after an upgrade it has moved.
                moved = update(room).where(room.c.alias == alias, room.c.room_id != room_id)
                connection.execute(moved.values(alias=None))
                values["alias"] = alias
            connection.execute(update(room).where(room.c.room_id == room_id).values(values))
            if predecessor is not None:
                merge_lineage(connection, room_id)
            journal.write_room_change(connection)
            self._row_ids.rooms.has_new = False

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
        changes: Changes,
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
        changes.settle([stored for stored, _ in keys])

    def _record_samples(
        self,
        connection: Connection,
        changes: Changes,
        samples: Sequence[Sample],
        pings: Mapping[PingKey, StoredPing],
    ) -> None:
        if not samples:
            return
        servers = self._row_ids.servers.find(connection, {sample.pong.server for sample in samples})
        allowed = self._leave_out_refused(connection, samples)
        # Its server's second pong to a ping does not count when the first is taken back: what is
        # sent to mend a number does not measure what the ping did.
        withdrawn = find_withdrawn(connection, {stored.id for stored in pings.values()})
        new: list[NewSample] = []
        earlier: dict[tuple[int, int], NewSample] = {}
        for sample, event_hash in allowed:
            pong, stored = sample.pong, pings.get(get_key(sample.ping))
            if stored is None or (stored.id, servers[pong.server]) in withdrawn:
                continue
            new.append(
                NewSample(
                    stored,
                    servers[pong.server],
                    pong.seen_ts,
                    pong.origin_server_ts,
                    pong.one_way_ms,
                    sample.round_trip_ms,
                    int(sample.provenance),
                    event_hash,
                )
            )
            if sample.is_earlier:
                earlier[stored.id, servers[pong.server]] = new[-1]
        changes.displace((first.ping, first.pong_server) for first in earlier.values())
        # Of one ping and pong server the first of these is inserted.
        new = [*earlier.values(), *new]
        changes.insert_samples(new, is_news=True)
        changes.settle([added.ping for added in new if added.ping.is_ours])

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


def make_batch_number() -> int:
    """Return a number for a batch that no earlier run has used either."""
    return secrets.randbits(62)


def _name_rooms(batch: Batch) -> set[str]:
    """Return the rooms (IDs) that a batch names beside those of its pings."""
    rooms = {room_id for room_id, _ in batch.redacted}
    rooms |= {gap.room_id for gap in batch.gaps}
    rooms |= {pong.room_id for pong in batch.settled}
    return rooms | {candidate.pong.room_id for candidate in batch.pending}
