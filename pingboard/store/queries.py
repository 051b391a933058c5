"""Reads: a room and a window -> columns of samples for the ranking; which rooms there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sqlalchemy import func, select

from pingboard.model import PONG_TIMEOUT_MS, Room, from_ts
from pingboard.store.tables import ping, room, sample, server

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sqlalchemy import Engine

    from pingboard.model import Window

_ROW = np.dtype([("ping", "i4"), ("pong", "i4"), ("one_way", "i4"), ("round_trip", "i4")])


class Columns(NamedTuple):
    """The samples of a room and window as columns of equal length n, in no set order."""

    ping_server: NDArray[np.int32]
    """(n,) positions in `names`"""
    pong_server: NDArray[np.int32]
    """(n,) positions in `names`"""
    one_way_ms: NDArray[np.int32]
    round_trip_ms: NDArray[np.int32]
    """(n,) -1 where there is none"""
    names: list[str]


def read_columns(engine: Engine, room_id: str, window: Window) -> Columns:
    """The samples of a room whose pong was seen inside the window; none for an unknown room."""
    seen_ts = ping.c.seen_ts + sample.c.delay_ms
    wanted = (
        select(
            ping.c.server,
            sample.c.pong_server,
            sample.c.one_way_ms,
            func.coalesce(sample.c.round_trip_ms, -1),
        )
        .join_from(ping, sample, sample.c.ping == ping.c.id)
        .join(room, ping.c.room == room.c.id)
        .where(
            room.c.room_id == room_id,
            # The index on ping narrows it down; the pong itself decides.
            ping.c.seen_ts >= window.start_ts - PONG_TIMEOUT_MS,
            ping.c.seen_ts < window.end_ts,
            seen_ts >= window.start_ts,
            seen_ts < window.end_ts,
        )
    )
    with engine.connect() as connection:
        servers = connection.execute(select(server.c.id, server.c.name)).all()
        rows = np.fromiter(map(tuple, connection.execute(wanted)), dtype=_ROW)
    ids = [id_ for id_, _ in servers]
    positions = np.zeros(max(ids, default=0) + 1, np.int32)
    positions[ids] = np.arange(len(ids))
    return Columns(
        positions[rows["ping"]],
        positions[rows["pong"]],
        rows["one_way"],
        rows["round_trip"],
        [name for _, name in servers],
    )


def room_names(engine: Engine) -> list[tuple[str, str | None]]:
    """ID and alias of every room, the one with the latest ping first."""
    # A subquery a room, because each is one step in the index on (room, seen_ts).
    last = select(func.max(ping.c.seen_ts)).where(ping.c.room == room.c.id).scalar_subquery()
    wanted = select(room.c.room_id, room.c.alias).order_by(last.desc().nulls_last(), room.c.id)
    with engine.connect() as connection:
        return [(room_id, alias) for room_id, alias in connection.execute(wanted)]


def rooms(engine: Engine) -> list[Room]:
    """Every room with its samples counted, in the order of `room_names`."""
    counted = (
        select(
            room.c.room_id,
            func.count(sample.c.ping),
            func.max(ping.c.seen_ts + sample.c.delay_ms),
        )
        .select_from(room)
        .outerjoin(ping, ping.c.room == room.c.id)
        .outerjoin(sample, sample.c.ping == ping.c.id)
        .group_by(room.c.id)
    )
    with engine.connect() as connection:
        counts = {
            room_id: (samples, last) for room_id, samples, last in connection.execute(counted)
        }
    return [
        Room(room_id, alias, samples, None if last is None else from_ts(last))
        for room_id, alias in room_names(engine)
        for samples, last in [counts.get(room_id, (0, None))]
    ]
