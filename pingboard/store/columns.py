"""Reads: the hours of a room -> blocks of columns for the ranking."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, cast

import numpy as np
from sqlalchemy import func, select

from pingboard.columns.blocks import HOUR_MS, LOSS, SAMPLE, Block, build
from pingboard.model import PONG_TIMEOUT_MS
from pingboard.store.tables import ping, room, sample, server, unanswered

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray
    from sqlalchemy import ColumnElement, Connection, Select

Key = tuple[int, int]
"""A room's row ID and an hour since the epoch: which block."""

NO_OFFSET = np.iinfo(np.int64).min
_KEY = [("room", "i4"), ("hour", "i4")]
_HOUR = ping.c.seen_ts.op("/")(HOUR_MS)

_SAMPLES = (
    select(
        ping.c.room,
        _HOUR,
        ping.c.id,
        ping.c.seen_ts + sample.c.delay_ms,
        ping.c.server,
        sample.c.pong_server,
        sample.c.one_way_ms,
        func.coalesce(sample.c.round_trip_ms, -1),
        func.coalesce(
            ping.c.origin_server_ts + sample.c.one_way_ms - ping.c.sent_ts - sample.c.lag_ms,
            NO_OFFSET,
        ),
        ping.c.vantage.is_not(None),
    )
    .join_from(ping, sample, sample.c.ping == ping.c.id)
    # A pong belongs to the hour of its ping; so it must not be far from it.
    .where(sample.c.delay_ms.between(-PONG_TIMEOUT_MS, PONG_TIMEOUT_MS))
)
_LOSSES = select(ping.c.room, _HOUR, ping.c.id, ping.c.seen_ts, unanswered.c.pong_server).join_from(
    ping, unanswered, unanswered.c.ping == ping.c.id
)


def read_hours(connection: Connection, room_row: int, first: int, after: int) -> dict[Key, Block]:
    """The blocks of a room from the hour `first` until before `after`; empty ones are left out."""
    return _read(
        connection,
        (ping.c.room == room_row)
        & (ping.c.seen_ts >= first * HOUR_MS)
        & (ping.c.seen_ts < after * HOUR_MS),
    )


def latest_hour(connection: Connection, room_row: int) -> int:
    """The hour of a room's last ping; 0 without any."""
    wanted = select(func.max(ping.c.seen_ts)).where(ping.c.room == room_row)
    return int(connection.execute(wanted).scalar_one() or 0) // HOUR_MS


def read_rooms(connection: Connection) -> list[tuple[int, str, int | None]]:
    """Row ID, room ID and predecessor's row ID of every room."""
    wanted = select(room.c.id, room.c.room_id, room.c.predecessor)
    return [(id_, room_id, before) for id_, room_id, before in connection.execute(wanted)]


def read_names(connection: Connection) -> list[str]:
    """The server of each row ID; empty for an ID that is none."""
    rows = connection.execute(select(server.c.id, server.c.name)).all()
    names = [""] * (max((id_ for id_, _ in rows), default=-1) + 1)
    for id_, name in rows:
        names[id_] = name
    return names


def _read(connection: Connection, which: ColumnElement[bool]) -> dict[Key, Block]:
    samples = _fetch(connection, _SAMPLES.where(which), SAMPLE)
    losses = _fetch(connection, _LOSSES.where(which), LOSS)
    keys = {*_keys(samples), *_keys(losses)}
    if len(keys) == 1:
        return {key: build(samples, losses) for key in keys}
    return {key: build(_of(samples, key), _of(losses, key)) for key in sorted(keys)}


def _fetch(
    connection: Connection, wanted: Select[*tuple[object, ...]], dtype: np.dtype[np.void]
) -> NDArray[np.void]:
    """The rows as a structured array, from the driver's cursor: SQLAlchemy's own rows cost three
    times as much as reading them."""
    sql = wanted.compile(connection, compile_kwargs={"literal_binds": True})
    with contextlib.closing(connection.connection.cursor()) as cursor:
        cursor.execute(str(sql))
        rows = cast("Iterator[tuple[int, ...]]", cursor)
        found: NDArray[np.void] = np.fromiter(rows, np.dtype([*_KEY, *dtype.descr]))
        return found


def _keys(rows: NDArray[np.void]) -> Iterable[Key]:
    """Each key at least once: of rows in order of time, where it is another than before."""
    keys = rows[["room", "hour"]]
    is_next = np.ones(len(keys), bool)
    is_next[1:] = keys[1:] != keys[:-1]
    found: list[Key] = keys[is_next].tolist()
    return found


def _of(rows: NDArray[np.void], key: Key) -> NDArray[np.void]:
    found: NDArray[np.void] = rows[(rows["room"] == key[0]) & (rows["hour"] == key[1])]
    return found
