"""Synthetic samples, the same for the same arguments, and how they get into a store.

A worker hears them, somebody imports them, or their hours were closed long ago.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import insert, text

from pingboard.file_formats import Record, read_pingstat
from pingboard.model import (
    ONE_WAY_MIN_MS,
    PONG_TIMEOUT_MS,
    Batch,
    Ping,
    Pong,
    Provenance,
    Sample,
    Window,
    to_ts,
)
from pingboard.store import schema
from pingboard.store.hours import close_hours
from pingboard.store.importer import Importer
from pingboard.store.ingest import Ingest
from pingboard.store.packing import (
    NONE,
    Hour,
    HourSamples,
    Pings,
    Unanswered,
    find_origin_ts,
    pack_hour,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

HOUR_MS = 3_600_000
PONG_SERVERS = 100
ANSWERED = 0.88
"""The share of pong servers that answer a ping: about 88 pongs each."""

ROOM = "!bench:server0.example"
OURS = 0
"""Our homeserver: its pings have round trips."""

END = datetime.now(UTC).replace(microsecond=0)
"""Now, because the command line's windows end there."""

WEEK = Window(END - timedelta(days=7), END)

_PINGS_A_COMMIT = 10
_IMPORTED_AT_ONCE = 20_000

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Pongs:
    """Samples of pings that were seen at even distances in a window, in the order of the pings."""

    ping_seen_ts: Integers
    """(p,) by ping"""
    ping_servers: Integers
    """(p,) by ping"""
    ping: Integers
    """(n,) which ping, and so on for each sample"""
    pong_server: Integers
    one_way_ms: Integers
    lag_ms: Integers
    """from the pong's own time until we saw it"""
    event_hash: Integers
    names: list[str]

    @property
    def ping_server(self) -> Integers:
        return self.ping_servers[self.ping]

    @property
    def pong_seen_ts(self) -> Integers:
        return self.ping_seen_ts[self.ping] + self.one_way_ms + self.lag_ms


def synthesize(
    samples: int, ping_servers: int = 200, window: Window = WEEK, seed: int = 1
) -> Pongs:
    """`samples` pongs to pings of `ping_servers` homeservers, all seen inside the window.

    One-way is log-normal around a median of each ping server's own, cut to what a board takes.
    """
    rng = np.random.default_rng(seed)
    pings = round(samples / PONG_SERVERS / ANSWERED * 1.05) + 100
    answered = rng.random((pings, PONG_SERVERS)) < ANSWERED
    ping, pong_server = (index[:samples] for index in np.nonzero(answered))
    pings = int(ping[-1]) + 1
    of_ping = rng.integers(0, ping_servers, pings)
    log_median = rng.normal(6.5, 0.5, ping_servers)
    one_way = rng.lognormal(log_median[of_ping[ping]], 0.7)
    # By how far its server is away.
    away_ms = rng.integers(10, 400, PONG_SERVERS)
    lag_ms = away_ms[pong_server] + rng.integers(0, 40, len(ping))
    last_ts = to_ts(window.end) - PONG_TIMEOUT_MS - 500
    return Pongs(
        np.linspace(window.start_ts, last_ts, pings).astype(np.int64),
        of_ping,
        ping,
        pong_server,
        one_way.clip(ONE_WAY_MIN_MS, PONG_TIMEOUT_MS - 500).astype(np.int64),
        lag_ms,
        rng.integers(0, 2**48, len(ping)),
        [f"server{number}.example" for number in range(max(ping_servers, PONG_SERVERS))],
    )


def hear(engine: Engine, pongs: Pongs) -> None:
    """Commit them as a worker does, which closes each hour when it is over."""
    ingest = Ingest(engine, "bench")
    ingest.record_room(ROOM)
    samples = _make_samples(pongs)
    closed_ts = 0
    for first in range(0, len(pongs.ping_seen_ts), _PINGS_A_COMMIT):
        after = np.searchsorted(pongs.ping, first + _PINGS_A_COMMIT)
        count = int(after - np.searchsorted(pongs.ping, first))
        ingest.record(Batch(samples=[*islice(samples, count)]))
        now_ts = int(pongs.ping_seen_ts[first])
        if now_ts - closed_ts > HOUR_MS:
            close_hours(engine, now_ts)
            _vacuum(engine)
            closed_ts = now_ts
    close_hours(engine, to_ts(END + timedelta(days=1)))


def _vacuum(engine: Engine) -> None:
    """Do what PostgreSQL's autovacuum does each minute, and has no time for in a bench."""
    if engine.dialect.name == "postgresql":
        with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(text("VACUUM sample, change, hour"))


def _make_samples(pongs: Pongs) -> Iterator[Sample]:
    columns = (
        pongs.ping,
        pongs.ping_seen_ts[pongs.ping],
        pongs.ping_server,
        pongs.pong_server,
        pongs.one_way_ms,
        pongs.pong_seen_ts,
        pongs.lag_ms,
    )
    rows = zip(*(column.tolist() for column in columns), strict=True)
    for number, (ping, ping_ts, ping_server, pong_server, ms, ts, lag_ms) in enumerate(rows):
        is_ours = ping_server == OURS
        name = pongs.names[ping_server]
        sent = ("main", ping_ts) if is_ours else (None, None)
        of = Ping(make_event_id(ping), ROOM, name, ping_ts, ping_ts, *sent)
        by = pongs.names[pong_server]
        pong = Pong(f"$pong-{number}", ROOM, by, of.event_id, name, ms, ts - lag_ms, ts)
        yield Sample(of, pong, ts - ping_ts if is_ours else None, Provenance.LIVE)


def make_event_id(number: int) -> str:
    """An event ID as long as they are."""
    return f"$ping-{number:016}-of-a-usual-event-id"


def import_pingstat(engine: Engine, pongs: Pongs) -> None:
    """Import them as `pingboard import pingstat` does; no worker ever runs."""
    columns = (
        pongs.ping,
        pongs.ping_server,
        pongs.pong_server,
        pongs.one_way_ms,
        pongs.pong_seen_ts - pongs.lag_ms,
    )
    names = pongs.names
    rows = (
        {
            "room_id": ROOM,
            "ping_id": make_event_id(ping),
            "pong_server": names[pong_server],
            "ping_server": names[ping_server],
            "receive_diff": ms,
            "pong_timestamp": ts,
        }
        for ping, ping_server, pong_server, ms, ts in zip(
            *(column.tolist() for column in columns), strict=True
        )
    )
    records = map(read_pingstat, rows)
    with Importer(engine) as importer:
        while chunk := [*islice(records, _IMPORTED_AT_ONCE)]:
            if faults := [
                *importer.add([record for record in chunk if isinstance(record, Record)])
            ]:
                raise ValueError(faults[0])


def write_closed_hours(engine: Engine, weeks: Iterator[Pongs]) -> None:
    """Store the hours of samples as they are once they are closed: of many, in minutes.

    Where two weeks share an hour, it has the samples of the first that is given.
    """
    seen: set[int] = set()
    pings = 0
    with engine.begin() as connection:
        connection.execute(insert(schema.room).values(id=1, room_id=ROOM))
        for pongs in weeks:
            if not pings:
                names = [{"id": row, "name": name} for row, name in enumerate(pongs.names, 1)]
                connection.execute(insert(schema.server), names)
                connection.execute(
                    insert(schema.vantage).values(id=1, name="main", server=OURS + 1)
                )
            _write_week(connection, pongs, pings, seen)
            pings += len(pongs.ping_seen_ts)


def _write_week(connection: Connection, pongs: Pongs, before: int, seen: set[int]) -> None:
    numbers = pongs.ping_seen_ts // HOUR_MS
    edges = np.flatnonzero(np.diff(numbers, prepend=-1, append=-1))
    for first, after in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        number = int(numbers[first])
        if number not in seen:
            seen.add(number)
            _write_hour(connection, pongs, before, first, after)


def _write_hour(connection: Connection, pongs: Pongs, before: int, first: int, after: int) -> None:
    start, end = np.searchsorted(pongs.ping, [first, after]).tolist()
    rows = slice(start, end)
    ids = np.arange(first, after) + before + 1
    seen_ts, servers = pongs.ping_seen_ts[first:after], pongs.ping_servers[first:after]
    is_ours = (servers == OURS).astype(np.int64)
    sent_ts = np.where(is_ours == 1, seen_ts, NONE)
    delay_ms = pongs.one_way_ms[rows] + pongs.lag_ms[rows]
    packed = Hour(
        Pings(ids, servers + 1, seen_ts, seen_ts, sent_ts, is_ours),
        HourSamples(
            pongs.ping[rows] + before + 1,
            pongs.pong_server[rows] + 1,
            pongs.one_way_ms[rows],
            np.where(pongs.ping_server[rows] == OURS, delay_ms, NONE),
            delay_ms,
            pongs.lag_ms[rows],
            np.full(end - start, int(Provenance.LIVE)),
            pongs.event_hash[rows],
        ),
        Unanswered(np.empty(0, np.int64), np.empty(0, np.int64)),
    )
    origin_ts = find_origin_ts(packed)
    hot, cold = pack_hour(packed)
    values = {
        "room": 1,
        "hour": int(seen_ts[0]) // HOUR_MS,
        "samples": end - start,
        "first_origin_ts": int(origin_ts.min()),
        "last_origin_ts": int(origin_ts.max()),
        "hot": hot,
        "cold": cold,
    }
    connection.execute(insert(schema.hour).values(values))
    of_pings = [
        {
            "id": row,
            "room": 1,
            "server": of + 1,
            "event": make_event_id(row),
            "origin_server_ts": ts,
            "seen_ts": ts,
            "vantage": 1 if of == OURS else None,
            "sent_ts": ts if of == OURS else None,
            "is_estimated": False,
        }
        for row, of, ts in zip(ids.tolist(), servers.tolist(), seen_ts.tolist(), strict=True)
    ]
    connection.execute(insert(schema.ping), of_pings)


def make_pong(number: int, pong_server: int = 0) -> Sample:
    """A pong of the last seconds before the end, a fast one, to a ping of the bench's own."""
    ts = to_ts(END) - 2000
    of = Ping(f"$new{number}", ROOM, f"server{number % 100}.example", ts, ts)
    by, ms = f"server{pong_server}.example", 100 + (number * 37 + pong_server) % 400
    pong = Pong(f"$p{number}-{pong_server}", ROOM, by, of.event_id, None, ms, ts, ts + ms)
    return Sample(of, pong, None)
