"""Reads of raw samples in pages and streams: any number of rows in constant memory.

Samples come in the order of the table's own key (ping, pong server), so that a page needs no sort
and begins where the one before ended, however far in; those that are `folded` stand among the rows.
A stream reads short chunks, each in a transaction of its own: a slow client holds no lock and keeps
no old version of the database alive.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import func, select, tuple_

from pingboard.model import PONG_TIMEOUT_MS
from pingboard.store.columns import read_names
from pingboard.store.engine import read_snapshot
from pingboard.store.folded import PINGS, FoldedSample, find_folds, read_fold
from pingboard.store.tables import change, folded, ping, room, sample, server

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import ColumnElement, Connection, Engine, Select

    from pingboard.model import Window

CHUNK_ROWS = 2000

Key = tuple[int, int]
"""ping, pong server"""

_LARGEST = 2**31 - 1

_ping_server = server.alias()
_pong_server = server.alias()
_key = tuple_(sample.c.ping, sample.c.pong_server)
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


@dataclass(frozen=True, slots=True)
class Selection:
    """Which samples: those of these rooms (rows) whose pong was seen in the window."""

    rooms: Sequence[int]
    window: Window
    ping_server: str | None = None
    pong_server: str | None = None


def find_page_end(
    engine: Engine, selection: Selection, after: Key | None, limit: int
) -> tuple[Key | None, bool]:
    """The key of the last sample of a page, None for one that is not full, and whether more
    follow."""
    chunks = stream(engine, selection, after, most=limit + 1)
    end = list(islice(chain.from_iterable(chunks), limit - 1, limit + 1))
    return (end[0].key if end else None), len(end) == 2


def stream(
    engine: Engine,
    selection: Selection,
    after: Key | None = None,
    last: Key | None = None,
    most: int | None = None,
) -> Iterator[list[RawSample]]:
    """The samples behind `after` up to and with `last`, in chunks of `most`, or of many."""
    size = CHUNK_ROWS if most is None else min(most, CHUNK_ROWS)
    while True:
        with read_snapshot(engine) as connection:
            first, end = _find_bounds(connection, selection, after, last)
            chunk = _read_folded(connection, selection, (first, end), size)[:size]
            if len(chunk) == size:  # no row behind them is wanted now
                end = chunk[-1].key
            wanted = _select(selection, (first, end)).limit(size)
            rows = connection.execute(wanted)
            chunk += (RawSample((row[0], row[1]), *row[2:]) for row in rows)
        chunk = sorted(chunk, key=itemgetter(0))[:size]
        if chunk:
            yield chunk
            after = chunk[-1].key
        if len(chunk) < size:
            return


def read_new(
    engine: Engine, after: int, until: int, limit: int = CHUNK_ROWS
) -> list[tuple[int, RawSample]]:
    """The samples that were stored behind the version `after` up to and with `until`.

    Each has the version of its own, in order (see `changes`). One that is gone by now is left out.
    """
    wanted = (
        select(change.c.id, *_COLUMNS)
        .join_from(
            change,
            sample,
            (sample.c.ping == change.c.ping) & (sample.c.pong_server == change.c.pong_server),
        )
        .join(ping, ping.c.id == sample.c.ping)
        .join(room, room.c.id == ping.c.room)
        .join(_ping_server, _ping_server.c.id == ping.c.server)
        .join(_pong_server, _pong_server.c.id == sample.c.pong_server)
        .where(change.c.id > after, change.c.id <= until)
        .order_by(change.c.id)
        .limit(limit)
    )
    with engine.connect() as connection:
        rows = connection.execute(wanted).all()
    return [(row[0], RawSample((row[1], row[2]), *row[3:])) for row in rows]


_COLUMNS: tuple[ColumnElement[Any], ...] = (
    sample.c.ping,
    sample.c.pong_server,
    room.c.room_id,
    ping.c.event,
    _ping_server.c.name,
    _pong_server.c.name,
    sample.c.one_way_ms,
    sample.c.round_trip_ms,
    ping.c.seen_ts,
    _pong_seen_ts,
    ping.c.origin_server_ts,
    _pong_seen_ts - sample.c.lag_ms,
    sample.c.provenance,
)


def _select(selection: Selection, bounds: tuple[Key, Key]) -> Select[Any]:
    window = selection.window
    after, last = bounds
    wanted = (
        select(*_COLUMNS)
        .select_from(sample)
        .join(ping, ping.c.id == sample.c.ping)
        .join(room, room.c.id == ping.c.room)
        .join(_ping_server, _ping_server.c.id == ping.c.server)
        .join(_pong_server, _pong_server.c.id == sample.c.pong_server)
        .where(
            sample.c.ping >= after[0],
            sample.c.ping <= last[0],
            _key > after,
            _key <= last,
            # Added to nothing, so that SQLite does not start from the room's index and sort.
            (ping.c.room + 0).in_(selection.rooms),
            _pong_seen_ts >= window.start_ts,
            _pong_seen_ts < window.end_ts,
        )
        .order_by(sample.c.ping, sample.c.pong_server)
    )
    if selection.ping_server is not None:
        wanted = wanted.where(_ping_server.c.name + "" == selection.ping_server)
    if selection.pong_server is not None:
        wanted = wanted.where(_pong_server.c.name + "" == selection.pong_server)
    return wanted


def _read_folded(
    connection: Connection, selection: Selection, bounds: tuple[Key, Key], most: int
) -> list[RawSample]:
    """The first of what is folded, at least `most`."""
    after, last = bounds
    window = selection.window
    folds = find_folds(
        connection,
        folded.c.id.between(after[0] // PINGS, last[0] // PINGS),
        folded.c.last_ts >= window.start_ts,
        folded.c.first_ts < window.end_ts,
    )
    names = read_names(connection) if folds else []
    wanted = selection.pong_server
    number = names.index(wanted) if wanted in names else -1
    found: list[RawSample] = []
    for id_ in folds:
        fold = read_fold(connection, id_)
        inside = (fold.seen_ts >= window.start_ts) & (fold.seen_ts < window.end_ts)
        if wanted is not None:
            inside &= fold.rows.pong_server == number
        found += (
            _describe(one, names[one.pong_server])
            for one in fold.take(inside)
            if after < (one.ping.id, one.pong_server) <= last
            and one.ping.room in selection.rooms
            and selection.ping_server in (None, one.ping.server)
        )
        if len(found) >= most:
            break
    return found


def _describe(one: FoldedSample, pong_server: str) -> RawSample:
    of = one.ping
    return RawSample(
        (of.id, one.pong_server),
        of.room_id,
        of.event,
        of.server,
        pong_server,
        one.one_way_ms,
        one.round_trip_ms,
        of.seen_ts,
        one.seen_ts,
        of.origin_server_ts,
        one.origin_server_ts,
        one.provenance,
    )


def _find_bounds(
    connection: Connection, selection: Selection, after: Key | None, last: Key | None
) -> tuple[Key, Key]:
    """Behind which key what is wanted begins, and up to which it can go."""
    lowest, highest = _find_pings(connection, selection)
    # SQLite seeks by one lower bound only: without the key's by the window's, over all rows read.
    first = (lowest, -1) if after is None else max((lowest, -1), after)
    end = (highest, _LARGEST)
    return first, end if last is None else min(end, last)


def _find_pings(connection: Connection, selection: Selection) -> tuple[int, int]:
    """The first and the last row of the pings that can have a pong in the window."""
    wanted = select(func.min(ping.c.id), func.max(ping.c.id)).where(
        ping.c.room.in_(selection.rooms),
        ping.c.seen_ts >= selection.window.start_ts - PONG_TIMEOUT_MS,
        ping.c.seen_ts < selection.window.end_ts,
    )
    lowest, highest = connection.execute(wanted).one()
    return (1, 0) if lowest is None else (lowest, highest)
