"""Reads of single samples in pages and streams: any number of samples, an hour of them in memory.

They come in the order of their pings' receipt, then by ping and pong server, so that a page begins
where the one before ended, however far in. A stream reads each hour in a transaction of its own: a
slow client holds no lock and keeps no old version of the database alive.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine

from pingboard.model import PONG_TIMEOUT_MS, Ping, Window
from pingboard.model.cancellation import raise_if_abandoned
from pingboard.sample_blocks import HOUR_MS
from pingboard.store import packing
from pingboard.store.engine import read_snapshot
from pingboard.store.homeservers import read_server_names
from pingboard.store.hours import digest_hours, list_hours, read_hour
from pingboard.store.journal import HourKey
from pingboard.store.packing import NONE, find_seen_ts
from pingboard.store.pings import read_pings, select_pings
from pingboard.store.schema import ping, sample, server

CHUNK_ROWS = 2000

SampleKey = tuple[int, int, int]
"""Where a sample stands: when its ping was seen, and the rows of ping and pong server."""

_BEGINNING = (-1, -1, -1)
_END = (1 << 62, -1, -1)

_pong_server = server.alias()
_pong_seen_ts = ping.c.seen_ts + sample.c.delay_ms


class StoredSample(NamedTuple):
    """All that is kept of one sample. Timestamps are Matrix timestamps."""

    key: SampleKey
    ping: Ping
    pong_server: str
    one_way_ms: int
    round_trip_ms: int | None
    pong_seen_ts: int
    pong_origin_server_ts: int
    provenance: int
    event_hash: int | None


@dataclass(frozen=True, slots=True)
class SampleFilter:
    """Which samples: those of these rooms (rows) whose pong was seen in the window."""

    rooms: Sequence[int]
    window: Window
    ping_server: str | None = None
    pong_server: str | None = None


def digest_samples(engine: Engine, sample_filter: SampleFilter) -> bytes | None:
    """Return what differs once a sample of the window does; None while more may come into it."""
    first_ts, last_ts = _find_pings(sample_filter.window)
    with read_snapshot(engine) as connection:
        return digest_hours(
            connection, sample_filter.rooms, first_ts // HOUR_MS, last_ts // HOUR_MS + 1
        )


def _find_pings(window: Window) -> tuple[int, int]:
    """Return when the pings were seen whose pongs were seen in a window, first and last.

    A pong was seen within ten minutes of its ping; before it, if a clock was set in between.
    """
    return window.start_ts - PONG_TIMEOUT_MS, window.end_ts + PONG_TIMEOUT_MS


def find_page_end(
    engine: Engine, sample_filter: SampleFilter, after: SampleKey | None, limit: int
) -> tuple[SampleKey | None, bool]:
    """Return the key of a full page's last sample, or None, and whether more samples follow."""
    samples = chain.from_iterable(stream(engine, sample_filter, after))
    end = list(islice(samples, limit - 1, limit + 1))
    return (end[0].key if end else None), len(end) == 2


def stream(
    engine: Engine,
    sample_filter: SampleFilter,
    after: SampleKey | None = None,
    last: SampleKey | None = None,
) -> Iterator[list[StoredSample]]:
    """Yield the samples behind `after` up to and with `last`, in chunks."""
    after, last = after or _BEGINNING, last or _END
    first_ts, last_ts = _find_pings(sample_filter.window)
    first_ts, last_ts = max(first_ts, after[0]), min(last_ts, last[0])
    with read_snapshot(engine) as connection:
        hours = list_hours(
            connection, sample_filter.rooms, first_ts // HOUR_MS, last_ts // HOUR_MS + 1
        )
    for number in dict.fromkeys(number for _, number in hours):
        raise_if_abandoned()
        with read_snapshot(engine) as connection:
            samples = [
                row
                for key in hours
                if key[1] == number
                for row in _read_hour(connection, sample_filter, key)
                if after < row.key <= last
            ]
        samples.sort(key=lambda row: row.key)
        for start in range(0, len(samples), CHUNK_ROWS):
            yield samples[start : start + CHUNK_ROWS]


def _read_hour(
    connection: Connection, sample_filter: SampleFilter, key: HourKey
) -> Iterator[StoredSample]:
    rows, names = read_hour(connection, *key), read_server_names(connection)
    is_chosen = find_samples_in(sample_filter.window, rows)
    if sample_filter.pong_server is not None:
        servers = np.array(names, object)[rows.samples.pong_server]
        is_chosen &= servers == sample_filter.pong_server
    if is_chosen.any():
        pings = read_pings(connection, *key)
        for raw in list_samples(rows, is_chosen, pings, names):
            if sample_filter.ping_server in (None, raw.ping.server):
                yield raw


def find_samples_in(window: Window, rows: packing.Hour) -> NDArray[np.bool_]:
    """Return (n,) which samples of an hour have a pong that was seen in a window."""
    seen_ts = find_seen_ts(rows)
    return (seen_ts >= window.start_ts) & (seen_ts < window.end_ts)


def list_samples(
    rows: packing.Hour,
    is_chosen: NDArray[np.bool_],
    pings: Mapping[int, Ping],
    names: Sequence[str],
) -> Iterator[StoredSample]:
    """Yield the samples of an hour that are chosen (n,), in no order; `names` are of servers."""
    samples = rows.samples
    columns = (
        *(samples.ping, samples.pong_server, samples.one_way_ms, samples.round_trip_ms),
        *(find_seen_ts(rows), samples.lag_ms, samples.provenance, samples.event_hash),
    )
    for row, server_row, one_way, round_trip, seen_ts, lag_ms, provenance, event_hash in zip(
        *(column[is_chosen].tolist() for column in columns), strict=True
    ):
        of = pings[row]
        yield StoredSample(
            (of.seen_ts, row, server_row),
            of,
            names[server_row],
            one_way,
            None if round_trip == NONE else round_trip,
            seen_ts,
            seen_ts - lag_ms,
            provenance,
            None if event_hash == NONE else event_hash,
        )


def read_new(engine: Engine, after: int, until: int) -> list[tuple[int, StoredSample]]:
    """Return the samples that were recorded behind the version `after` up to and with `until`.

    Each has its own number in the journal, in order (see `journal`). One that is gone is left out.
    """
    rows = (
        select_pings()
        .join(sample, sample.c.ping == ping.c.id)
        .join(_pong_server, _pong_server.c.id == sample.c.pong_server)
        .add_columns(
            *(sample.c.version, sample.c.pong_server, _pong_server.c.name, sample.c.one_way_ms),
            *(sample.c.round_trip_ms, _pong_seen_ts, _pong_seen_ts - sample.c.lag_ms),
            *(sample.c.provenance, sample.c.event_hash),
        )
        .where(sample.c.version > after, sample.c.version <= until)
        .order_by(sample.c.version)
        .limit(CHUNK_ROWS)
    )
    with engine.connect() as connection:
        return [
            (row[9], StoredSample((row[5], row[0], row[10]), Ping(*row[1:9]), *row[11:]))
            for row in connection.execute(rows)
        ]
