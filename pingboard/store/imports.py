"""Writes records of another database: each sample once, however often it is imported.

A chunk of records is one transaction, so an import that was cut off is simply run again. Where a
million rows come at once, each database is given them in the way it takes fastest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import func, select, update

from pingboard.model import PONG_TIMEOUT_MS, Provenance
from pingboard.store import changes
from pingboard.store.corrections import find_redacted, find_withdrawn
from pingboard.store.folding import make_rows
from pingboard.store.retention import read_closed
from pingboard.store.rows import chunks, ids_of, insert_new, insert_rows, is_one_of
from pingboard.store.tables import ping, room, sample, server, unanswered, vantage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Connection, Engine

    from pingboard.records import Record


class _Ping(NamedTuple):
    """A stored ping."""

    id: int
    server: int
    seen_ts: int


@dataclass(slots=True)
class Importer:
    """Puts records into a database. One at a time, and no worker beside it."""

    engine: Engine
    imported: int = 0
    known: int = 0
    """samples that were there already"""
    _position: int | None = None
    _rooms: set[tuple[str, str | None, str | None]] = field(default_factory=set)

    def add(self, records: Sequence[Record]) -> Iterator[tuple[int, str]]:
        """Commit these; yield the index of each that can't be true beside what is stored, and why.

        The order in which records come is kept as the order of first sight.
        """
        with self.engine.begin() as connection:
            if self._position is None:
                self._position = connection.scalar(select(func.max(sample.c.position))) or 0
            rooms = self._record_rooms(connection, records)
            names = {name for one in records for name in (one.ping_server, one.pong_server)}
            servers = ids_of(connection, server.c.name, names)
            closed = read_closed(connection)
            open_ = [one for one in records if one.ping_seen_ts >= closed.get(one.room_id, 0)]
            pings = _record_pings(connection, open_, rooms, servers)
            make_rows(connection, sorted({one.id for one in pings.values()}))
            taken_back = _TakenBack(connection, records, rooms, pings)
            rows, missed = [], []
            faults: list[tuple[int, str]] = []
            for index, one in enumerate(records):
                found = pings.get((rooms[one.room_id], one.ping_event_id))
                if found is None:
                    faults.append((index, "is older than the raw samples that this database keeps"))
                elif found.server != servers[one.ping_server]:
                    faults.append((index, f"its ping was not sent from {one.ping_server}"))
                elif taken_back.has(one, rooms[one.room_id], found.id, servers[one.pong_server]):
                    faults.append((index, "its pong was redacted"))
                elif one.one_way_ms is None:
                    missed.append((found.id, servers[one.pong_server]))
                else:
                    self._position += 1
                    rows.append(_sample_row(one, found, servers[one.pong_server], self._position))
            new = insert_rows(connection, sample, _SAMPLE_COLUMNS, rows)
            insert_rows(
                connection, unanswered, ("ping", "pong_server"), _unheard(connection, missed)
            )
            changes.prune(connection)
        self.imported += new
        self.known += len(rows) - new
        return iter(faults)

    def _record_rooms(self, connection: Connection, records: Sequence[Record]) -> dict[str, int]:
        wanted = {(one.room_id, one.room_alias, one.room_predecessor) for one in records}
        ids = ids_of(connection, room.c.room_id, {room_id for room_id, _, _ in wanted})
        for room_id, alias, predecessor in wanted - self._rooms:
            if alias is not None:
                taken = select(room.c.id).where(room.c.alias == alias)
                if connection.execute(taken).first() is None:
                    _set_missing(connection, ids[room_id], alias=alias)
            if predecessor is not None:
                older = ids_of(connection, room.c.room_id, [predecessor])[predecessor]
                _set_missing(connection, ids[room_id], predecessor=older)
        self._rooms |= wanted
        return ids


class _TakenBack:
    """Which pongs of some records were redacted: by their hash, or by the sample that they were."""

    def __init__(
        self,
        connection: Connection,
        records: Iterable[Record],
        rooms: dict[str, int],
        pings: dict[tuple[int, str], _Ping],
    ) -> None:
        hashes = [one.pong_event_hash for one in records if one.pong_event_hash is not None]
        self._hashes = find_redacted(connection, rooms.values(), hashes) if hashes else set()
        self._samples = find_withdrawn(connection, [one.id for one in pings.values()])

    def has(self, one: Record, room_row: int, ping_row: int, pong_server: int) -> bool:
        """Whether this one was."""
        by_hash = (room_row, one.pong_event_hash)
        return by_hash in self._hashes or (ping_row, pong_server) in self._samples


_PROVENANCE = {provenance.name.lower(): int(provenance) for provenance in Provenance}
_SAMPLE_COLUMNS = (
    "ping",
    "pong_server",
    "one_way_ms",
    "round_trip_ms",
    "delay_ms",
    "lag_ms",
    "provenance",
    "event_hash",
    "position",
)


def _sample_row(one: Record, found: _Ping, pong_server: int, position: int) -> tuple[Any, ...]:
    origin_ts = one.pong_origin_server_ts or 0
    seen_ts = one.pong_seen_ts
    if seen_ts is None:
        # Nobody saw it arrive, and its time is a foreign clock's: a pong that counts came after
        # its ping and within ten minutes, and there the windows look for it.
        seen_ts = min(max(origin_ts, found.seen_ts), found.seen_ts + PONG_TIMEOUT_MS)
    return (
        found.id,
        pong_server,
        one.one_way_ms,
        one.round_trip_ms,
        seen_ts - found.seen_ts,
        seen_ts - origin_ts,
        _PROVENANCE[one.provenance or "import"],
        one.pong_event_hash,
        position,
    )


def _set_missing(connection: Connection, row: int, **value: Any) -> None:
    (name,) = value
    connection.execute(update(room).where(room.c.id == row, room.c[name].is_(None)).values(value))


def _record_pings(
    connection: Connection,
    records: Iterable[Record],
    rooms: dict[str, int],
    servers: dict[str, int],
) -> dict[tuple[int, str], _Ping]:
    """The stored ping of each record, by room (row) and event; the first record of one makes it."""
    wanted: dict[tuple[int, str], Record] = {}
    for one in records:
        wanted.setdefault((rooms[one.room_id], one.ping_event_id), one)
    found = _find_pings(connection, wanted)
    new = {key: one for key, one in wanted.items() if key not in found}
    if new:
        columns = ("room", "server", "event", "origin_server_ts", "seen_ts", "vantage", "sent_ts")
        vantages = _vantages(connection, new.values(), servers)
        rows = [
            (
                room_row,
                servers[one.ping_server],
                event,
                one.ping_origin_server_ts,
                one.ping_seen_ts,
                vantages.get((one.vantage, one.ping_server)),
                one.ping_sent_ts,
            )
            for (room_row, event), one in new.items()
        ]
        insert_rows(connection, ping, columns, rows)
        found |= _find_pings(connection, new)
    return found


def _find_pings(
    connection: Connection, wanted: Iterable[tuple[int, str]]
) -> dict[tuple[int, str], _Ping]:
    events: dict[int, list[str]] = {}
    for room_row, event in wanted:
        events.setdefault(room_row, []).append(event)
    columns = (ping.c.event, ping.c.id, ping.c.server, ping.c.seen_ts)
    return {
        (room_row, row[0]): _Ping(*row[1:])
        for room_row, of_room in events.items()
        for row in connection.execute(
            select(*columns).where(
                ping.c.room == room_row, is_one_of(connection, ping.c.event, of_room)
            )
        )
    }


def _vantages(
    connection: Connection, records: Iterable[Record], servers: dict[str, int]
) -> dict[tuple[str | None, str], int]:
    wanted = {(one.vantage, one.ping_server) for one in records if one.vantage is not None}
    found: dict[tuple[str | None, str], int] = {}
    for name, server_name in sorted(wanted, key=str):
        row = {"name": name, "server": servers[server_name]}
        insert_new(connection, vantage, [row])
        found[name, server_name] = connection.execute(
            select(vantage.c.id).filter_by(**row)
        ).scalar_one()
    return found


def _unheard(connection: Connection, expected: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Those expected pongs that have not come after all, as far as is stored."""
    heard: set[tuple[int, int]] = set()
    for chunk in chunks(sorted({id_ for id_, _ in expected})):
        found = select(sample.c.ping, sample.c.pong_server).where(sample.c.ping.in_(chunk))
        heard |= {(row[0], row[1]) for row in connection.execute(found)}
    return [key for key in expected if key not in heard]
