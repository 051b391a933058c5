"""Reads single samples with their names and event IDs: for pingstat's clients, and for export."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from sqlalchemy import Connection, Engine, select

from pingboard.file_formats import ESTIMATED, SEEN, Record
from pingboard.model import PONG_TIMEOUT_MS, Ping, PingstatRow, Provenance, Window
from pingboard.model.cancellation import raise_if_abandoned
from pingboard.sample_blocks import HOUR_MS, NO_INTEGERS, Column, Integers, Offsets, narrow
from pingboard.store.engine import read_snapshot
from pingboard.store.homeservers import read_server_names
from pingboard.store.hours import list_hours, list_hours_by_origin, read_hour
from pingboard.store.packing import find_origin_ts
from pingboard.store.pings import read_pings
from pingboard.store.samples import find_samples_in, list_samples
from pingboard.store.schema import room

_MAX_TS = 2**62
_PROVENANCES = {int(provenance): provenance.name.lower() for provenance in Provenance}


class _Pongs(NamedTuple):
    """Of one hour, in the order of their pings and of the names of the pong servers; all (n,)."""

    pong_server: Column
    """its place among the names"""
    one_way_ms: Column
    origin_ts: Offsets


class _Ping(NamedTuple):
    """A ping, and where its pongs are among those of its hour."""

    event_id: str
    server: str
    pongs: _Pongs
    start: int
    end: int


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class PingstatRows:
    """Samples by ping event ID and pong server, as bytes; about ten bytes for each."""

    room_name: str
    pings: Sequence[_Ping]
    pong_servers: Sequence[str]

    def __iter__(self) -> Iterator[PingstatRow]:
        for of in self.pings:
            columns = (column[of.start : of.end].tolist() for column in of.pongs)
            for place, ms, ts in zip(*columns, strict=True):
                name = self.pong_servers[place]
                yield PingstatRow(self.room_name, of.event_id, name, of.server, ms, ts)

    def latencies(self) -> list[int]:
        """Return the `receive_diff` of each sample."""
        columns = [of.pongs.one_way_ms[of.start : of.end] for of in self.pings]
        numbers: list[int] = np.concatenate([*columns, NO_INTEGERS]).tolist()
        return numbers

    def split(self) -> dict[str, PingstatRows]:
        """Return the samples of each ping server, in the order of its first."""
        by_server: dict[str, list[_Ping]] = {}
        for of in self.pings:
            by_server.setdefault(of.server, []).append(of)
        return {server: replace(self, pings=pings) for server, pings in by_server.items()}


def read_pingstat_rows(
    engine: Engine,
    room_name: str,
    rooms: Collection[int],
    oldest_ts: int,
    newest_ts: int,
    min_ms: int,
    max_ms: int,
) -> PingstatRows:
    """Return the samples of rooms (rows), under one room's name.

    Those with `oldest_ts <= pong_timestamp <= newest_ts` by the pong server's clock, and with
    `min_ms <= receive_diff <= max_ms`. All of them, whatever a board would say to them.
    """
    oldest_ts, newest_ts = (max(-_MAX_TS, min(ts, _MAX_TS)) for ts in (oldest_ts, newest_ts))
    pings: list[_Ping] = []
    with read_snapshot(engine) as connection:
        names = read_server_names(connection)
        by_name = sorted(range(len(names)), key=lambda row: names[row].encode())
        places = np.argsort(np.array(by_name, np.int64))
        for key in list_hours_by_origin(connection, rooms, oldest_ts, newest_ts):
            raise_if_abandoned()
            rows = read_hour(connection, *key)
            samples, origin_ts = rows.samples, find_origin_ts(rows)
            is_chosen = (origin_ts >= oldest_ts) & (origin_ts <= newest_ts)
            is_chosen &= (samples.one_way_ms >= min_ms) & (samples.one_way_ms <= max_ms)
            chosen = np.flatnonzero(is_chosen)
            if len(chosen):
                place = places[samples.pong_server[chosen]]
                order = np.lexsort((place, samples.ping[chosen]))
                chosen, place = chosen[order], place[order]
                pongs = _Pongs(
                    narrow(place), narrow(samples.one_way_ms[chosen]), Offsets.of(origin_ts[chosen])
                )
                details = read_pings(connection, *key)
                pings += _split_by_ping(samples.ping[chosen], pongs, details)
    pings.sort(key=lambda of: of.event_id.encode())
    return PingstatRows(room_name, pings, [names[row] for row in by_name])


def _split_by_ping(rows: Integers, pongs: _Pongs, details: Mapping[int, Ping]) -> Iterator[_Ping]:
    """Yield the pings of these rows, which are in order, with their pongs."""
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    edges = [*starts.tolist(), len(rows)]
    for row, (start, end) in zip(rows[starts].tolist(), pairwise(edges), strict=True):
        yield _Ping(details[row].event_id, details[row].server, pongs, start, end)


def read_records(engine: Engine, rooms: Collection[int] | None, window: Window) -> Iterator[Record]:
    """Yield all that is kept of the samples whose pong was seen in the window, by hour of the ping.

    Beside them, the pongs expected of pings in it that have not come. `rooms` are row IDs, None
    takes all.
    """
    first = (window.start_ts - PONG_TIMEOUT_MS) // HOUR_MS
    after = (window.end_ts + PONG_TIMEOUT_MS) // HOUR_MS + 1
    with read_snapshot(engine) as connection:
        predecessor = room.alias()
        described = select(room.c.id, room.c.room_id, room.c.alias, predecessor.c.room_id)
        described = described.outerjoin(predecessor, predecessor.c.id == room.c.predecessor)
        of_rooms = {row: tuple(of_room) for row, *of_room in connection.execute(described)}
        chosen = of_rooms.keys() if rooms is None else rooms
        names = read_server_names(connection)
        listed = list_hours(connection, chosen, first, after)
        # By names, because row IDs differ between databases with the same samples.
        for room_row, number in sorted(listed, key=lambda key: (key[1], of_rooms[key[0]][0])):
            yield from _read_hour(connection, window, names, of_rooms[room_row], room_row, number)


def _read_hour(
    connection: Connection,
    window: Window,
    names: Sequence[str],
    of_room: tuple[str, str | None, str | None],
    room_row: int,
    number: int,
) -> Iterator[Record]:
    rows = read_hour(connection, room_row, number)
    pings = read_pings(connection, room_row, number)
    samples = list_samples(rows, find_samples_in(window, rows), pings, names)
    for raw in sorted(samples, key=lambda raw: (raw.key[0], raw.ping.event_id, raw.pong_server)):
        yield _describe(of_room, raw.ping, raw.pong_server)._replace(
            one_way_ms=raw.one_way_ms,
            round_trip_ms=raw.round_trip_ms,
            pong_seen_ts=raw.pong_seen_ts,
            pong_origin_server_ts=raw.pong_origin_server_ts,
            provenance=_PROVENANCES[raw.provenance],
            pong_event_hash=raw.event_hash,
        )
    missing = zip(*(column.tolist() for column in rows.unanswered), strict=True)
    lost = [(pings[ping], names[server]) for ping, server in missing]
    for of, name in sorted(lost, key=lambda row: (row[0].seen_ts, row[0].event_id, row[1])):
        if window.start_ts <= of.seen_ts < window.end_ts:
            yield _describe(of_room, of, name)


def _describe(of_room: tuple[str, str | None, str | None], of: Ping, pong_server: str) -> Record:
    """Return the record of a pong that has not come."""
    room_id, room_alias, room_predecessor = of_room
    return Record(
        room_id=room_id,
        room_alias=room_alias,
        room_predecessor=room_predecessor,
        ping_event_id=of.event_id,
        ping_server=of.server,
        pong_server=pong_server,
        one_way_ms=None,
        round_trip_ms=None,
        ping_seen_ts=of.seen_ts,
        pong_seen_ts=None,
        ping_origin_server_ts=of.origin_server_ts,
        pong_origin_server_ts=None,
        ping_sent_ts=of.sent_ts,
        ping_time=ESTIMATED if of.is_estimated else SEEN,
        vantage=of.vantage,
        provenance=None,
        pong_event_hash=None,
    )
