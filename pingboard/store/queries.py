"""Reads: a room and a window -> columns of samples for the ranking; which rooms there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sqlalchemy import func, select

from pingboard.model import PONG_TIMEOUT_MS, Room, from_ts
from pingboard.store.tables import ping, room, sample, server, unanswered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from sqlalchemy import Engine, Row

    from pingboard.model import Window

_ANSWER = np.dtype([("pong", "i4"), ("round_trip", "i4"), ("offset_x2", "i8")])
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
    positions = _positions(servers)
    return Columns(
        positions[rows["ping"]],
        positions[rows["pong"]],
        rows["one_way"],
        rows["round_trip"],
        [name for _, name in servers],
    )


def _positions(servers: Sequence[Row[int, str]]) -> NDArray[np.int32]:
    """Where in the list of servers each row ID stands."""
    ids = [id_ for id_, _ in servers]
    positions = np.zeros(max(ids, default=0) + 1, np.int32)
    positions[ids] = np.arange(len(ids))
    return positions


class Answers(NamedTuple):
    """What became of our own pings in a room and window; servers are names."""

    pong_server: NDArray[np.int32]
    """(n,) positions in `names`, a row for each answer"""
    round_trip_ms: NDArray[np.int32]
    """(n,) -1 where there is none: a void round, or a pong that we did not see arrive"""
    offset_x2_ms: NDArray[np.int64]
    """(n,) twice the clock offset, see ranking.clocks; the least int64 where it is not known"""
    lost: dict[str, int]
    """pongs that were expected and did not come in time"""
    names: list[str]


def read_answers(engine: Engine, room_id: str, window: Window, now_ts: int) -> Answers:
    """Answers that were seen inside the window, and the losses of pings sent inside it.

    A pong is lost once `now_ts` is 10 minutes after its ping.
    """
    of_room = select(room.c.id).where(room.c.room_id == room_id).scalar_subquery()
    seen_ts = ping.c.seen_ts + sample.c.delay_ms
    offset_x2_ms = ping.c.origin_server_ts + sample.c.one_way_ms - ping.c.sent_ts - sample.c.lag_ms
    answered = (
        select(
            sample.c.pong_server,
            func.coalesce(sample.c.round_trip_ms, -1),
            func.coalesce(offset_x2_ms, np.iinfo(np.int64).min),
        )
        .join_from(ping, sample, sample.c.ping == ping.c.id)
        .where(
            ping.c.room == of_room,
            ping.c.vantage.is_not(None),
            ping.c.seen_ts >= window.start_ts - PONG_TIMEOUT_MS,
            ping.c.seen_ts < window.end_ts,
            seen_ts >= window.start_ts,
            seen_ts < window.end_ts,
        )
    )
    lost = (
        select(server.c.name, func.count())
        .join_from(unanswered, ping, unanswered.c.ping == ping.c.id)
        .join(server, unanswered.c.pong_server == server.c.id)
        .where(
            ping.c.room == of_room,
            ping.c.seen_ts >= window.start_ts,
            ping.c.seen_ts < min(window.end_ts, now_ts - PONG_TIMEOUT_MS),
        )
        .group_by(server.c.name)
    )
    with engine.connect() as connection:
        servers = connection.execute(select(server.c.id, server.c.name)).all()
        rows = np.fromiter(map(tuple, connection.execute(answered)), dtype=_ANSWER)
        losses = dict(map(tuple, connection.execute(lost)))
    return Answers(
        _positions(servers)[rows["pong"]],
        rows["round_trip"],
        rows["offset_x2"],
        losses,
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
