"""The one writer: what one sync response leads to -> one transaction. Nothing is stored twice.

A second ping of the same event, and a second sample of the same ping and pong server, are dropped,
in whichever room of an upgraded room's lineage: the same response may come again after a crash, and
does no harm.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import insert, select, update

from pingboard.model import RoomState
from pingboard.store import journal
from pingboard.store.changes import Changes, NewSample
from pingboard.store.estimates import replace_estimate
from pingboard.store.gaps import record_gaps
from pingboard.store.lookups import (
    Names,
    StoredPing,
    find_dropped,
    find_kept_from,
    find_stored_pings,
    hash_event_id,
    insert_pings,
    read_kept_from,
    read_rooms,
)
from pingboard.store.pending import delete_pending, insert_pending
from pingboard.store.redactions import find_hours, find_redacted, find_withdrawn, redact
from pingboard.store.schema import rejection, room, server, session, vantage, worker
from pingboard.store.sql import execute, insert_new, insert_rows
from pingboard.store.upgrades import merge_lineage

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from pingboard.lineage import Rooms
    from pingboard.model import Batch, Ping, Rejected, Sample, WorkerState
    from pingboard.store.journal import Hour

    PingKey = tuple[str, str]
    """Room ID and event ID."""

_DAY_MS = 86_400_000


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
        self._rooms, self._servers = Names(room, "room_id"), Names(server, "name")
        self._lineages: Rooms | None = None

    def record(self, batch: Batch, next_batch: str | None = None) -> None:
        """Commit a batch together with the sync token that it leads up to."""
        redacted_hours = find_hours(self._engine, batch.redacted)
        try:
            with self._engine.begin() as connection:
                self._record(connection, batch, redacted_hours)
                if next_batch is not None:
                    self._update_session(connection, next_batch=next_batch)
        except BaseException:
            self._forget_names()
            raise

    def _record(self, connection: Connection, batch: Batch, redacted_hours: set[Hour]) -> None:
        changes = Changes(connection)
        pings = self._record_pings(connection, changes, batch)
        self._record_expected(connection, changes, batch, pings)
        self._record_samples(connection, changes, batch.samples, pings)
        rooms = self._rooms.find(connection, _name_rooms(batch))
        if batch.rejected:
            self._record_rejected(connection, batch.rejected)
        if batch.voided:
            changes.void(self._find_pings(connection, _group_by_room(batch.voided)).values())
        if batch.pending:
            servers = self._servers.find(connection, {one.pong.server for one in batch.pending})
            insert_pending(connection, batch.pending, rooms, servers)
        delete_pending(connection, batch.settled, rooms)
        for room_id in dict.fromkeys(room_id for room_id, _ in batch.redacted):
            event_ids = [event for of_room, event in batch.redacted if of_room == room_id]
            lineage = self._find_lineage(connection, room_id)
            redact(connection, changes, rooms[room_id], lineage, event_ids, redacted_hours)
        record_gaps(connection, batch.gaps, rooms)
        changes.finish(has_new_room=self._rooms.has_new)
        self._rooms.has_new = False

    def record_room(
        self, room_id: str, alias: str | None = None, predecessor: str | None = None
    ) -> None:
        """Remember a joined room, the alias that leads to it now, and the room it replaces."""
        self._forget_names()
        with self._engine.begin() as connection:
            named = [room_id] if predecessor is None else [room_id, predecessor]
            rooms = self._rooms.find(connection, named)
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
            self._rooms.has_new = False

    def record_room_state(self, room_id: str, state: RoomState) -> None:
        """Remember that a room can, or can't, be measured in; an upgraded room stays that."""
        with self._engine.begin() as connection:
            same = update(room).where(room.c.room_id == room_id)
            # An upgrade takes the right to write away first, and the refusal may be told last.
            current = same.where(room.c.state.is_distinct_from(str(RoomState.UPGRADED)))
            connection.execute(current.values(state=str(state)))
            journal.write_room_change(connection)

    def record_worker(
        self,
        vantage_name: str,
        state: WorkerState,
        since_ts: int,
        synced_ts: int | None,
        late_ms: int | None = None,
    ) -> None:
        """Remember how the worker is; `synced_ts` None leaves what was there."""
        values: dict[str, object] = {
            "state": str(state),
            "since_ts": since_ts,
            "late_ms": late_ms,
        }
        if synced_ts is not None:
            values["synced_ts"] = synced_ts
        with self._engine.begin() as connection:
            insert_new(connection, worker, [{"vantage": vantage_name, **values}])
            same = update(worker).where(worker.c.vantage == vantage_name)
            connection.execute(same.values(values))

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

    def _record_pings(
        self, connection: Connection, changes: Changes, batch: Batch
    ) -> dict[PingKey, StoredPing]:
        """Insert the pings that are new; return the stored ping of each that the batch names.

        Nothing is added to hours whose single samples are dropped, so some have none.
        """
        seen = {_key(one): one for one in (*batch.pings, *(one for one, _ in batch.expected))}
        named = {_key(one.ping): one.ping for one in batch.samples} | seen
        if not named:
            return {}
        stored = self._find_pings(connection, _group_by_room(named.values()))
        for key, one in seen.items():
            if key in stored and stored[key].is_estimated:
                stored[key] = self._replace_estimate(connection, changes, stored[key], one)
        new = [one for key, one in named.items() if key not in stored]
        return stored | self._insert_pings(connection, self._leave_out_dropped(connection, new))

    def _leave_out_dropped(self, connection: Connection, pings: Sequence[Ping]) -> list[Ping]:
        """Return those pings that do not belong to hours whose single samples are dropped."""
        kept_from = read_kept_from(connection) if pings else {}
        if not kept_from:
            return [*pings]
        kept: list[Ping] = []
        for room_id, event_ids in _group_by_room(pings).items():
            lineage = self._find_lineage(connection, room_id)
            gone = find_dropped(connection, lineage, event_ids)
            kept_from_ts = max(kept_from.get(row, 0) for row in lineage)
            kept += (
                one
                for one in pings
                if one.room_id == room_id
                and one.seen_ts >= kept_from_ts
                and one.event_id not in gone
            )
        return kept

    def _replace_estimate(
        self, connection: Connection, changes: Changes, stored: StoredPing, seen: Ping
    ) -> StoredPing:
        lineage = self._find_lineage(connection, seen.room_id)
        if seen.seen_ts < find_kept_from(connection, lineage):
            return stored  # It can't move to an hour that stays as it is.
        server_row = self._servers.find(connection, [seen.server])[seen.server]
        vantage_row = self._find_vantage(connection, seen)
        return replace_estimate(connection, changes, stored, seen, server_row, vantage_row)

    def _insert_pings(
        self, connection: Connection, pings: Sequence[Ping]
    ) -> dict[PingKey, StoredPing]:
        rooms = self._rooms.find(connection, {one.room_id for one in pings})
        servers = self._servers.find(connection, {one.server for one in pings})
        rows = [
            (
                rooms[one.room_id],
                servers[one.server],
                one.event_id,
                one.origin_server_ts,
                one.seen_ts,
                self._find_vantage(connection, one),
                one.sent_ts,
                False,
            )
            for one in pings
        ]
        return {
            (one.room_id, one.event_id): StoredPing(
                row_id,
                rooms[one.room_id],
                one.event_id,
                servers[one.server],
                one.origin_server_ts,
                one.seen_ts,
                one.vantage is not None,
                False,
            )
            for one, row_id in zip(pings, insert_pings(connection, rows), strict=True)
        }

    def _find_pings(
        self, connection: Connection, event_ids: Mapping[str, Sequence[str]]
    ) -> dict[PingKey, StoredPing]:
        """Return the stored pings among these events, by room ID."""
        return {
            (room_id, event_id): stored
            for room_id, of_room in event_ids.items()
            for event_id, stored in find_stored_pings(
                connection, self._find_lineage(connection, room_id), of_room
            ).items()
        }

    def _find_lineage(self, connection: Connection, room_id: str) -> tuple[int, ...]:
        self._rooms.find(connection, [room_id])
        if self._lineages is None or not self._lineages.lineage(room_id):
            self._lineages = read_rooms(connection)
        return self._lineages.lineage(room_id)

    def _find_vantage(self, connection: Connection, one: Ping) -> int | None:
        if one.vantage is None:
            return None
        row = {
            "name": one.vantage,
            "server": self._servers.find(connection, [one.server])[one.server],
        }
        found = select(vantage.c.id).filter_by(**row)
        vantage_row: int | None = connection.scalar(found)
        if vantage_row is None:
            insert_new(connection, vantage, [row])
            vantage_row = connection.scalar(found)
        return vantage_row

    def _record_expected(
        self,
        connection: Connection,
        changes: Changes,
        batch: Batch,
        pings: Mapping[PingKey, StoredPing],
    ) -> None:
        """A row for each pong to come; `_record_samples` takes away those that came."""
        if not batch.expected:
            return
        names = {name for _, servers in batch.expected for name in servers}
        rows = self._servers.find(connection, names)
        withdrawn = find_withdrawn(connection, {stored.id for stored in pings.values()})
        keys = [
            (stored, rows[name])
            for one, servers in batch.expected
            if (stored := pings.get(_key(one))) is not None
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
        servers = self._servers.find(connection, {one.pong.server for one in samples})
        hashes = [hash_event_id(one.pong.event_id) for one in samples]
        gone: set[tuple[str, int]] = set()
        for room_id in {one.ping.room_id for one in samples}:
            lineage = self._find_lineage(connection, room_id)
            gone |= {(room_id, hashed) for hashed in find_redacted(connection, lineage, hashes)}
        # Its server's second pong to a ping does not count when the first is taken back: what is
        # sent to mend a number does not measure what the ping did.
        withdrawn = find_withdrawn(connection, {stored.id for stored in pings.values()})
        new = []
        for one, event_hash in zip(samples, hashes, strict=True):
            ping, pong = one.ping, one.pong
            stored = pings.get((ping.room_id, ping.event_id))
            if stored is None or (ping.room_id, event_hash) in gone:
                continue
            if (stored.id, servers[pong.server]) in withdrawn:
                continue
            new.append(
                NewSample(
                    stored,
                    servers[pong.server],
                    pong.one_way_ms,
                    one.round_trip_ms,
                    pong.seen_ts,
                    pong.origin_server_ts,
                    int(one.provenance),
                    event_hash,
                )
            )
        changes.insert_samples(new, is_news=True)
        changes.settle([one.ping for one in new if one.ping.is_ours])

    def _record_rejected(self, connection: Connection, rejected: Sequence[Rejected]) -> None:
        rooms = self._rooms.find(connection, {one.room_id for one in rejected})
        servers = self._servers.find(connection, {one.server for one in rejected})
        counts = Counter(
            (rooms[one.room_id], servers[one.server], str(one.reason), one.seen_ts // _DAY_MS)
            for one in rejected
        )
        columns = ("room", "pong_server", "reason", "day")
        insert_rows(connection, rejection, (*columns, "count"), [(*key, 0) for key in counts])
        for key, count in counts.items():
            same = update(rejection).filter_by(**dict(zip(columns, key, strict=True)))
            connection.execute(same.values(count=rejection.c.count + count))

    def _update_session(self, connection: Connection, **values: str) -> None:
        names = ", ".join(f"{name} = ?" for name in values)
        sql = f"UPDATE session SET {names} WHERE account = ?"  # noqa: S608
        if not execute(connection, sql, *values.values(), self._account).rowcount:
            connection.execute(insert(session).values(account=self._account, **values))

    def _forget_names(self) -> None:
        self._rooms.forget()
        self._servers.forget()
        self._lineages = None


def _key(one: Ping) -> PingKey:
    return one.room_id, one.event_id


def _group_by_room(pings: Iterable[Ping]) -> dict[str, list[str]]:
    """Return the event IDs of pings by room ID."""
    groups: dict[str, list[str]] = {}
    for one in pings:
        groups.setdefault(one.room_id, []).append(one.event_id)
    return groups


def _name_rooms(batch: Batch) -> set[str]:
    """Return the rooms (IDs) that a batch names beside those of its pings."""
    rooms = {room_id for room_id, _ in batch.redacted}
    rooms |= {one.room_id for one in batch.rejected} | {one.room_id for one in batch.gaps}
    rooms |= {one.room_id for one in batch.settled}
    return rooms | {one.pong.room_id for one in batch.pending}
