"""Reads of raw samples in pages and streams: any number of rows in constant memory.

Rows come in the order of the table's own key (ping, pong server), so that a page needs no sort and
begins where the one before ended, however far in. A stream reads short chunks, each in a
transaction of its own: a slow client holds no lock and keeps no old version of the database alive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import func, select, tuple_

from pingboard.model import PONG_TIMEOUT_MS
from pingboard.store.tables import change, ping, room, sample, server

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import ColumnElement, Engine, Select

    from pingboard.model import Window

CHUNK_ROWS = 2000

Key = tuple[int, int]
"""ping, pong server"""

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
    """The key of the last sample of a page, None for an empty one, and whether more follow."""
    wanted = _select(engine, selection, after, None, sample.c.ping, sample.c.pong_server)
    with engine.connect() as connection:
        last = connection.execute(wanted.offset(limit - 1).limit(2)).all()
        if not last:  # a page that is not full
            return None, False
    return (last[0][0], last[0][1]), len(last) == 2


def stream(
    engine: Engine, selection: Selection, after: Key | None = None, last: Key | None = None
) -> Iterator[list[RawSample]]:
    """The samples behind `after` up to and with `last`, in chunks."""
    while True:
        wanted = _select(engine, selection, after, last, *_COLUMNS).limit(CHUNK_ROWS)
        with engine.connect() as connection:
            rows = connection.execute(wanted).all()
        chunk = [RawSample((row[0], row[1]), *row[2:]) for row in rows]
        if chunk:
            yield chunk
            after = chunk[-1].key
        if len(chunk) < CHUNK_ROWS:
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


def _select(
    engine: Engine,
    selection: Selection,
    after: Key | None,
    last: Key | None,
    *columns: ColumnElement[Any],
) -> Select[Any]:
    window = selection.window
    lowest, highest = _find_pings(engine, selection)
    if after is not None:
        # SQLite seeks by one lower bound only: without this by the window's, over all rows read.
        lowest = max(lowest, after[0])
    if last is not None:
        highest = min(highest, last[0])
    wanted = (
        select(*columns)
        .select_from(sample)
        .join(ping, ping.c.id == sample.c.ping)
        .join(room, room.c.id == ping.c.room)
        .join(_ping_server, _ping_server.c.id == ping.c.server)
        .join(_pong_server, _pong_server.c.id == sample.c.pong_server)
        .where(
            sample.c.ping >= lowest,
            sample.c.ping <= highest,
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
    if after is not None:
        wanted = wanted.where(_key > after)
    if last is not None:
        wanted = wanted.where(_key <= last)
    return wanted


def _find_pings(engine: Engine, selection: Selection) -> tuple[int, int]:
    """The first and the last row of the pings that can have a pong in the window."""
    wanted = select(func.min(ping.c.id), func.max(ping.c.id)).where(
        ping.c.room.in_(selection.rooms),
        ping.c.seen_ts >= selection.window.start_ts - PONG_TIMEOUT_MS,
        ping.c.seen_ts < selection.window.end_ts,
    )
    with engine.connect() as connection:
        lowest, highest = connection.execute(wanted).one()
    return (1, 0) if lowest is None else (lowest, highest)
