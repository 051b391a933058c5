"""Reads of single samples in pages and streams: any number of samples, an hour of them in memory.

They come in the order of their pings' receipt, then by ping and pong server, so that a page begins
where the one before ended, however far in. A stream reads each hour in a transaction of its own: a
slow client holds no lock and keeps no old version of the database alive.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sqlalchemy import select

from pingboard.model import PONG_TIMEOUT_MS, Window
from pingboard.model.cancellation import raise_if_abandoned
from pingboard.sample_blocks import HOUR_MS
from pingboard.store.engine import read_snapshot
from pingboard.store.homeservers import read_server_names
from pingboard.store.hours import digest_hours, list_hours, read_hour
from pingboard.store.packing import NONE, find_seen_ts
from pingboard.store.schema import ping, room, sample, server, vantage

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

CHUNK_ROWS = 2000

Key = tuple[int, int, int]
"""Where a sample stands: when its ping was seen, and the rows of ping and pong server."""

_BEGINNING = (-1, -1, -1)
_END = (1 << 62, -1, -1)

_ping_server = server.alias()
_pong_server = server.alias()
_pong_seen_ts = ping.c.seen_ts + sample.c.delay_ms


class RawSample(NamedTuple):
    """All that is kept of one sample. Timestamps are Matrix timestamps."""

    key: Key
    room_id: str
    ping_event_id: str
    ping_server: str
    pong_server: str
    one_way_ms: int
    round_trip_ms: int | None
    ping_seen_ts: int
    pong_seen_ts: int
    ping_origin_server_ts: int
    pong_origin_server_ts: int
    provenance: int


class PingDetails(NamedTuple):
    """A stored ping, with the names that it refers to."""

    event_id: str
    server: str
    origin_server_ts: int
    seen_ts: int
    vantage: str | None
    sent_ts: int | None
    is_estimated: bool


@dataclass(frozen=True, slots=True)
class Selection:
    """Which samples: those of these rooms (rows) whose pong was seen in the window."""

    rooms: Sequence[int]
    window: Window
    ping_server: str | None = None
    pong_server: str | None = None


def read_ping_details(connection: Connection, room_row: int, number: int) -> dict[int, PingDetails]:
    """Return the pings of a room's hour by row ID."""
    rows = (
        select(
            *(ping.c.id, ping.c.event, server.c.name, ping.c.origin_server_ts, ping.c.seen_ts),
            *(vantage.c.name, ping.c.sent_ts, ping.c.is_estimated),
        )
        .join(server, ping.c.server == server.c.id)
        .outerjoin(vantage, ping.c.vantage == vantage.c.id)
        .where(
            ping.c.room == room_row,
            ping.c.seen_ts >= number * HOUR_MS,
            ping.c.seen_ts < (number + 1) * HOUR_MS,
        )
    )
    return {row: PingDetails(*details) for row, *details in connection.execute(rows)}


def digest_samples(engine: Engine, selection: Selection) -> bytes | None:
    """Return what differs once a sample of the window does; None while more may come into it."""
    first_ts, last_ts = _find_pings(selection.window)
    with read_snapshot(engine) as connection:
        return digest_hours(
            connection, selection.rooms, first_ts // HOUR_MS, last_ts // HOUR_MS + 1
        )


def _find_pings(window: Window) -> tuple[int, int]:
    """Return when the pings were seen whose pongs were seen in a window, first and last.

    A pong was seen within ten minutes of its ping; before it, if a clock was set in between.
    """
    return window.start_ts - PONG_TIMEOUT_MS, window.end_ts + PONG_TIMEOUT_MS


def find_page_end(
    engine: Engine, selection: Selection, after: Key | None, limit: int
) -> tuple[Key | None, bool]:
    """Return the key of a full page's last sample, or None, and whether more samples follow."""
    samples = chain.from_iterable(stream(engine, selection, after))
    end = list(islice(samples, limit - 1, limit + 1))
    return (end[0].key if end else None), len(end) == 2


def stream(
    engine: Engine, selection: Selection, after: Key | None = None, last: Key | None = None
) -> Iterator[list[RawSample]]:
    """Yield the samples behind `after` up to and with `last`, in chunks."""
    after, last = after or _BEGINNING, last or _END
    first_ts, last_ts = _find_pings(selection.window)
    first_ts, last_ts = max(first_ts, after[0]), min(last_ts, last[0])
    with read_snapshot(engine) as connection:
        ids = connection.execute(select(room.c.id, room.c.room_id))
        rooms = {row: room_id for row, room_id in ids}  # noqa: C416 (rows, not pairs)
        hours = list_hours(connection, selection.rooms, first_ts // HOUR_MS, last_ts // HOUR_MS + 1)
    for number in dict.fromkeys(number for _, number in hours):
        raise_if_abandoned()
        with read_snapshot(engine) as connection:
            samples = [
                row
                for room_row, number_of_room in hours
                if number_of_room == number
                for row in _read_hour(connection, selection, room_row, rooms[room_row], number)
                if after < row.key <= last
            ]
        samples.sort(key=lambda row: row.key)
        for start in range(0, len(samples), CHUNK_ROWS):
            yield samples[start : start + CHUNK_ROWS]


def _read_hour(
    connection: Connection, selection: Selection, room_row: int, room_id: str, number: int
) -> Iterator[RawSample]:
    rows = read_hour(connection, room_row, number)
    names = read_server_names(connection)
    seen_ts = find_seen_ts(rows)
    chosen = (seen_ts >= selection.window.start_ts) & (seen_ts < selection.window.end_ts)
    if selection.pong_server is not None:
        servers = np.array(names, object)[rows.samples.pong_server]
        chosen &= servers == selection.pong_server
    if not chosen.any():
        return
    pings = read_ping_details(connection, room_row, number)
    samples = rows.samples
    columns = (
        samples.ping,
        samples.pong_server,
        samples.one_way_ms,
        samples.round_trip_ms,
        seen_ts,
    )
    listed = (column[chosen].tolist() for column in (*columns, samples.lag_ms, samples.provenance))
    for ping_row, server_row, one_way_ms, round_trip_ms, ts, lag_ms, provenance in zip(
        *listed, strict=True
    ):
        of = pings[ping_row]
        if selection.ping_server in (None, of.server):
            yield RawSample(
                (of.seen_ts, ping_row, server_row),
                room_id,
                of.event_id,
                of.server,
                names[server_row],
                one_way_ms,
                None if round_trip_ms == NONE else round_trip_ms,
                of.seen_ts,
                ts,
                of.origin_server_ts,
                ts - lag_ms,
                provenance,
            )


def read_new(
    engine: Engine, after: int, until: int, limit: int = CHUNK_ROWS
) -> list[tuple[int, RawSample]]:
    """Return the samples that were recorded behind the version `after` up to and with `until`.

    Each has its own number in the journal, in order (see `journal`). One that is gone is left out.
    """
    rows = (
        select(
            *(sample.c.version, ping.c.seen_ts, ping.c.id, sample.c.pong_server),
            *(room.c.room_id, ping.c.event, _ping_server.c.name, _pong_server.c.name),
            *(sample.c.one_way_ms, sample.c.round_trip_ms, ping.c.seen_ts, _pong_seen_ts),
            *(ping.c.origin_server_ts, _pong_seen_ts - sample.c.lag_ms, sample.c.provenance),
        )
        .select_from(sample)
        .join(ping, ping.c.id == sample.c.ping)
        .join(room, room.c.id == ping.c.room)
        .join(_ping_server, _ping_server.c.id == ping.c.server)
        .join(_pong_server, _pong_server.c.id == sample.c.pong_server)
        .where(sample.c.version > after, sample.c.version <= until)
        .order_by(sample.c.version)
        .limit(limit)
    )
    with engine.connect() as connection:
        return [
            (row[0], RawSample._make([(row[1], row[2], row[3]), *row[4:]]))
            for row in connection.execute(rows)
        ]
