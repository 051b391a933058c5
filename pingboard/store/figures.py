"""Reads: one homeserver's samples, its answers to our pings, and why its pongs were rejected."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sqlalchemy import ColumnElement, func, select

from pingboard.columns.blocks import HOUR_MS, answers_inside, losses_inside
from pingboard.lineage import RoomRow, Rooms
from pingboard.model import PONG_TIMEOUT_MS, to_ts
from pingboard.store.engine import read_snapshot
from pingboard.store.retention import read_closed_hours
from pingboard.store.sealed import read_answered
from pingboard.store.tables import ping, rejection, room, server, unanswered

if TYPE_CHECKING:
    from datetime import datetime

    from numpy.typing import NDArray
    from sqlalchemy import Connection, Engine

    from pingboard.model import Window

_DAY_MS = 86_400_000


class Answers(NamedTuple):
    """Our own pings that a homeserver was expected to answer, by the time we saw each ping."""

    answered_ts: NDArray[np.int64]
    lost_ts: NDArray[np.int64]


def read_rooms(engine: Engine) -> Rooms:
    """Every room, as of now."""
    wanted = select(room.c.id, room.c.room_id, room.c.alias, room.c.predecessor)
    with engine.connect() as connection:
        return Rooms([RoomRow(*row) for row in connection.execute(wanted)])


def lineage(engine: Engine, room_id: str) -> list[int]:
    """The rows of a room and of all that it was upgraded from or to; [] for an unknown room."""
    return list(read_rooms(engine).lineage(room_id))


def read_lineage_names(engine: Engine, room_id: str) -> list[str]:
    """The IDs of a room and of all that it was upgraded from or to."""
    wanted = select(room.c.room_id).where(room.c.id.in_(lineage(engine, room_id)))
    with engine.connect() as connection:
        return list(connection.scalars(wanted))


def has_homeserver(engine: Engine, name: str) -> bool:
    """Whether anything was ever heard of a homeserver, in whichever room."""
    with engine.connect() as connection:
        return (
            connection.execute(select(server.c.id).where(server.c.name == name)).first() is not None
        )


def read_homeservers(engine: Engine) -> list[str]:
    """Every homeserver of which anything was ever heard, in whichever room, by name."""
    with engine.connect() as connection:
        return list(connection.scalars(select(server.c.name).order_by(server.c.name)))


def read_answers(
    engine: Engine, rooms: list[int], window: Window, homeserver: str, now: datetime
) -> Answers:
    """Which of our pings inside the window a homeserver answered, and which it did not in time.

    Where raw rows are dropped, an answer stands at the time of the pong: the ping's is not kept.
    """

    # A pong that is not there yet may still come.
    given_up_ts = min(window.end_ts, to_ts(now) - PONG_TIMEOUT_MS)
    ours = (
        ping.c.room.in_(rooms),
        ping.c.vantage.is_not(None),
        ping.c.seen_ts >= window.start_ts,
    )
    lost = (
        select(ping.c.seen_ts)
        .join_from(ping, unanswered, unanswered.c.ping == ping.c.id)
        .where(*ours, ping.c.seen_ts < given_up_ts)
        .where(unanswered.c.pong_server == _id_of(homeserver))
    )
    sent = select(ping.c.id, ping.c.seen_ts).where(*ours, ping.c.seen_ts < window.end_ts)
    with read_snapshot(engine) as connection:
        number = connection.execute(select(func.coalesce(_id_of(homeserver), -1))).scalar_one()
        answered = _read_answered(connection, rooms, window, number)
        times = {row[0]: row[1] for row in connection.execute(sent)}
        lost_ts = np.fromiter(connection.scalars(lost), np.int64)
        closed = read_closed_hours(connection, rooms, window)
    answered_ts = np.array([times[one] for one in answered if one in times], np.int64)
    answers = answers_inside(closed, window.start_ts, window.end_ts)
    losses = losses_inside(closed, window.start_ts, given_up_ts)
    return Answers(
        np.concatenate([answered_ts, answers.seen_ts[answers.pong_server == number].wide()]),
        np.concatenate([lost_ts, losses.seen_ts[losses.pong_server == number].wide()]),
    )


def _read_answered(
    connection: Connection, rooms: list[int], window: Window, number: int
) -> list[int]:
    """The pings of ours (rows) in the hours of a window that a server (row) answered."""
    first, after = window.start_ts // HOUR_MS, (window.end_ts - 1) // HOUR_MS + 1
    return [
        ping_row
        for room_row in rooms
        for hour in read_answered(connection, room_row, first, after, number)
        for ping_row in hour.tolist()
    ]


def read_rejections(
    engine: Engine, rooms: list[int], window: Window, homeserver: str
) -> dict[str, int]:
    """A homeserver's rejected pongs by reason, most first; of each UTC day that the window has."""
    counted = func.sum(rejection.c.count)
    wanted = (
        select(rejection.c.reason, counted)
        .where(
            rejection.c.room.in_(rooms),
            rejection.c.pong_server == _id_of(homeserver),
            rejection.c.day >= window.start_ts // _DAY_MS,
            rejection.c.day <= (window.end_ts - 1) // _DAY_MS,
        )
        .group_by(rejection.c.reason)
        .order_by(counted.desc(), rejection.c.reason)
    )
    with engine.connect() as connection:
        return {reason: int(count) for reason, count in connection.execute(wanted)}


def _id_of(homeserver: str) -> ColumnElement[int]:
    return select(server.c.id).where(server.c.name == homeserver).scalar_subquery()
