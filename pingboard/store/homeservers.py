"""Reads of homeservers: their names, answers to our pings, and why pongs of one were rejected."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
from sqlalchemy import Connection, Engine, Select, func, select

from pingboard.model import PONG_TIMEOUT_MS, Window, to_ts
from pingboard.sample_blocks import HOUR_MS, Integers
from pingboard.store.engine import read_snapshot
from pingboard.store.hours import iterate_hours
from pingboard.store.schema import rejection, server
from pingboard.store.sql import execute

_DAY_MS = 86_400_000


class PingOutcomes(NamedTuple):
    """Our own pings that a homeserver was expected to answer, by the time we saw each ping."""

    answered_ts: Integers
    lost_ts: Integers


def has_homeserver(engine: Engine, name: str) -> bool:
    """Tell whether anything was ever heard of a homeserver, in whichever room."""
    with engine.connect() as connection:
        return connection.execute(_find_row(name)).first() is not None


def read_homeservers(engine: Engine) -> list[str]:
    """Return every homeserver of which anything was ever heard, in whichever room, by name."""
    with engine.connect() as connection:
        return list(connection.scalars(select(server.c.name).order_by(server.c.name)))


def read_server_names(connection: Connection) -> list[str]:
    """Return the server of each row ID; empty for an ID that is none."""
    rows = execute(connection, "SELECT id, name FROM server").all()
    names = [""] * (max((row for row, _ in rows), default=-1) + 1)
    for row, name in rows:
        names[row] = name
    return names


def read_answers(
    engine: Engine, rooms: Sequence[int], window: Window, homeserver: str, now: datetime
) -> PingOutcomes:
    """Return which of our pings inside the window a homeserver answered, and which not in time.

    Those that are void or not ten minutes old are neither.
    """
    # A pong that is not there yet may still come. Until then those that are there tell nothing.
    given_up_ts = min(window.end_ts, to_ts(now) - PONG_TIMEOUT_MS)
    first, after = window.start_ts // HOUR_MS, (window.end_ts - 1) // HOUR_MS + 1
    answered, lost = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    with read_snapshot(engine) as connection:
        row = connection.scalar(_find_row(homeserver))
        for room_row in rooms if row is not None else ():
            for _, block in iterate_hours(connection, room_row, first, after):
                counted = block.answers.find_counted(window.start_ts, given_up_ts)
                answered.append(counted.ping_seen_ts[counted.pong_server == row].wide())
                lost.append(block.losses.seen_ts[block.losses.pong_server == row].wide())
    answered_ts, lost_ts = (np.sort(np.concatenate(times)) for times in (answered, lost))
    return PingOutcomes(
        answered_ts,
        lost_ts[(lost_ts >= window.start_ts) & (lost_ts < given_up_ts)],
    )


def read_rejections(
    engine: Engine, rooms: Collection[int], window: Window, homeserver: str
) -> dict[str, int]:
    """Return a homeserver's rejected pongs by reason, most first, of all UTC days of the window."""
    counted = func.sum(rejection.c.count)
    rows = (
        select(rejection.c.reason, counted)
        .where(
            rejection.c.room.in_(rooms),
            rejection.c.pong_server == _find_row(homeserver).scalar_subquery(),
            rejection.c.day >= window.start_ts // _DAY_MS,
            rejection.c.day <= (window.end_ts - 1) // _DAY_MS,
        )
        .group_by(rejection.c.reason)
        .order_by(counted.desc(), rejection.c.reason)
    )
    with engine.connect() as connection:
        return {reason: int(count) for reason, count in connection.execute(rows)}


def _find_row(homeserver: str) -> Select[int]:
    return select(server.c.id).where(server.c.name == homeserver)
