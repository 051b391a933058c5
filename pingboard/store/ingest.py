"""Writes: what one sync response leads to -> one transaction. Nothing is stored twice.

A second ping of the same event, and a second sample of the same (ping, pong server), are dropped
by the tables' keys: the same response may come again after a crash, and does no harm.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, select, update

from pingboard.model import RoomState
from pingboard.store.corrections import (
    find_redacted,
    find_withdrawn,
    forget_pending,
    record_gaps,
    record_pending,
    redact,
    void,
)
from pingboard.store.folding import make_rows
from pingboard.store.retention import read_closed_about
from pingboard.store.rows import (
    Known,
    hash_event_id,
    ids_of,
    insert_new,
    insert_rows,
    ping_ids,
    pings_of,
)
from pingboard.store.tables import (
    ping,
    rejection,
    room,
    sample,
    server,
    session,
    unanswered,
    vantage,
    worker,
)
from pingboard.store.usual import Usual

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import Connection, Engine

    from pingboard.model import Batch, Ping, Rejected, Sample, WorkerState

_DAY_MS = 86_400_000

_PING_COLUMNS = ("room", "server", "event", "origin_server_ts", "seen_ts", "vantage", "sent_ts")
_SAMPLE_COLUMNS = (
    "ping",
    "pong_server",
    "one_way_ms",
    "round_trip_ms",
    "delay_ms",
    "lag_ms",
    "provenance",
    "event_hash",
)


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
        self._usual = Usual(engine, self._account)
        self._rooms, self._servers = Known(room.c.room_id), Known(server.c.name)

    def record(self, batch: Batch, next_batch: str | None = None) -> None:
        """Commit a batch together with the sync token that it leads up to."""
        if self._usual.record(batch, next_batch):
            return
        known = (self._rooms, self._servers)
        for one in known:
            one.begin()
        self._record(batch, next_batch)
        for one in known:
            one.commit()

    def _record(self, batch: Batch, next_batch: str | None) -> None:
        with self._engine.begin() as connection:
            ids = self._record_pings(connection, pings_of(batch))
            make_rows(connection, list(ids.values()))
            self._record_expected(connection, batch.expected, ids)
            self._record_samples(connection, batch.samples, ids)
            self._record_rejected(connection, batch.rejected)
            void(connection, batch.voided)
            record_pending(connection, batch.pending)
            forget_pending(connection, batch.settled)
            redact(connection, batch.redacted)
            record_gaps(connection, batch.gaps)
            if next_batch is not None:
                self._update_session(connection, next_batch=next_batch)

    def record_room(
        self, room_id: str, alias: str | None = None, predecessor: str | None = None
    ) -> None:
        """Remember a joined room, the alias that leads to it now, and the room it replaces."""
        with self._engine.begin() as connection:
            rooms = ids_of(
                connection, room.c.room_id, [one for one in (room_id, predecessor) if one]
            )
            changes: dict[str, object] = {"state": str(RoomState.JOINED)}
            if predecessor is not None:
                changes["predecessor"] = rooms[predecessor]
                upgraded = update(room).where(room.c.id == rooms[predecessor])
                connection.execute(upgraded.values(state=str(RoomState.UPGRADED)))
            if alias is not None:
                # An alias leads to one room; after an upgrade it has moved.
                moved = update(room).where(room.c.alias == alias, room.c.room_id != room_id)
                connection.execute(moved.values(alias=None))
                changes["alias"] = alias
            connection.execute(update(room).where(room.c.room_id == room_id).values(changes))

    def record_room_state(self, room_id: str, state: RoomState) -> None:
        """Remember that a room can, or can't, be measured in; an upgraded room stays that."""
        with self._engine.begin() as connection:
            same = update(room).where(room.c.room_id == room_id)
            # An upgrade takes the right to write away first, and the refusal may be told last.
            current = same.where(room.c.state.is_distinct_from(str(RoomState.UPGRADED)))
            connection.execute(current.values(state=str(state)))

    def record_worker(
        self, vantage_name: str, state: WorkerState, since_ts: int, synced_ts: int | None
    ) -> None:
        """Remember how the worker is; `synced_ts` None leaves what was there."""
        values: dict[str, object] = {"state": str(state), "since_ts": since_ts}
        if synced_ts is not None:
            values["synced_ts"] = synced_ts
        with self._engine.begin() as connection:
            insert_new(connection, worker, [{"vantage": vantage_name, **values}])
            same = update(worker).where(worker.c.vantage == vantage_name)
            connection.execute(same.values(values))

    def saved_session(self) -> SavedSession:
        """What the last run of this account left behind; empty before the first."""
        wanted = select(session.c.device_id, session.c.access_token, session.c.next_batch)
        with self._engine.connect() as connection:
            row = connection.execute(wanted.where(session.c.account == self._account)).first()
        return SavedSession(*row) if row else SavedSession()

    def save_login(self, device_id: str, access_token: str) -> None:
        """Keep a login, so that a restart needs no password (homeservers limit logins)."""
        with self._engine.begin() as connection:
            self._update_session(connection, device_id=device_id, access_token=access_token)

    def _record_pings(
        self, connection: Connection, unique: Mapping[tuple[str, str], Ping]
    ) -> dict[tuple[str, str], int]:
        """Insert what is new; return the row ID of each (room ID, event ID).

        Pings of closed hours are not inserted (see `retention`), so they may have none.
        """
        if not unique:
            return {}
        closed = read_closed_about(connection, min(one.seen_ts for one in unique.values()))
        rooms = self._rooms.ids_of(connection, {one.room_id for one in unique.values()})
        names = self._servers.ids_of(connection, {one.server for one in unique.values()})
        vantages = {
            (one.vantage, names[one.server]): self._vantage(connection, one, names)
            for one in unique.values()
            if one.vantage is not None
        }
        rows = [
            (
                rooms[one.room_id],
                names[one.server],
                one.event_id,
                one.origin_server_ts,
                one.seen_ts,
                vantages.get((one.vantage or "", names[one.server])),
                one.sent_ts,
            )
            for one in unique.values()
            if one.seen_ts >= closed.get(one.room_id, 0)
        ]
        insert_rows(connection, ping, _PING_COLUMNS, rows)
        return ping_ids(connection, unique, rooms)

    def _vantage(self, connection: Connection, one: Ping, names: dict[str, int]) -> int:
        row = {"name": one.vantage, "server": names[one.server]}
        insert_new(connection, vantage, [row])
        found = select(vantage.c.id).filter_by(**row)
        return int(connection.execute(found).scalar_one())

    def _record_expected(
        self,
        connection: Connection,
        expected: Sequence[tuple[Ping, Collection[str]]],
        pings: dict[tuple[str, str], int],
    ) -> None:
        """A row for each pong to come; `_record_samples` takes away those that came."""
        names = self._servers.ids_of(
            connection, {name for _, servers in expected for name in servers}
        )
        rows = [
            (pings[one.room_id, one.event_id], names[name])
            for one, servers in expected
            if (one.room_id, one.event_id) in pings
            for name in servers
        ]
        insert_rows(connection, unanswered, ("ping", "pong_server"), rows)

    def _record_samples(
        self,
        connection: Connection,
        samples: Sequence[Sample],
        pings: dict[tuple[str, str], int],
    ) -> None:
        taken = self._take(connection, samples, pings) if samples else []
        rows = [
            (
                *key,
                one.pong.one_way_ms,
                one.round_trip_ms,
                one.pong.seen_ts - one.ping.seen_ts,
                one.pong.seen_ts - one.pong.origin_server_ts,
                int(one.provenance),
                hashed,
            )
            for key, one, hashed in taken
        ]
        insert_rows(connection, sample, _SAMPLE_COLUMNS, rows)
        answered = [key for key, one, _ in taken if one.ping.vantage is not None]
        if answered:
            came = delete(unanswered).where(
                unanswered.c.ping == bindparam("b_ping"),
                unanswered.c.pong_server == bindparam("b_server"),
            )
            keys = ("b_ping", "b_server")
            connection.execute(came, [dict(zip(keys, key, strict=True)) for key in answered])

    def _take(
        self,
        connection: Connection,
        samples: Sequence[Sample],
        pings: dict[tuple[str, str], int],
    ) -> list[tuple[tuple[int, int], Sample, int]]:
        """Those whose ping is kept and that were not taken back, with their key and their hash."""
        rooms = self._rooms.ids_of(connection, {one.ping.room_id for one in samples})
        names = self._servers.ids_of(connection, {one.pong.server for one in samples})
        hashes = [hash_event_id(one.pong.event_id) for one in samples]
        gone = find_redacted(connection, rooms.values(), hashes)
        # Its server's second pong to a ping does not count when the first is taken back: what is
        # sent to mend a number does not measure what the ping did.
        withdrawn = find_withdrawn(connection, list(pings.values()))
        taken = []
        for one, hashed in zip(samples, hashes, strict=True):
            ping_id = pings.get((one.ping.room_id, one.ping.event_id))
            if ping_id is None or (rooms[one.ping.room_id], hashed) in gone:
                continue
            key = ping_id, names[one.pong.server]
            if key not in withdrawn:
                taken.append((key, one, hashed))
        return taken

    def _record_rejected(self, connection: Connection, rejected: Sequence[Rejected]) -> None:
        rooms = self._rooms.ids_of(connection, {one.room_id for one in rejected})
        names = self._servers.ids_of(connection, {one.server for one in rejected})
        counts = Counter(
            (rooms[one.room_id], names[one.server], str(one.reason), one.seen_ts // _DAY_MS)
            for one in rejected
        )
        keys = ("room", "pong_server", "reason", "day")
        for key, count in counts.items():
            row = dict(zip(keys, key, strict=True))
            insert_new(connection, rejection, [{**row, "count": 0}])
            same = update(rejection).filter_by(**row)
            connection.execute(same.values(count=rejection.c.count + count))

    def _update_session(self, connection: Connection, **values: str) -> None:
        insert_new(connection, session, [{"account": self._account}])
        same = update(session).where(session.c.account == self._account)
        connection.execute(same.values(**values))
