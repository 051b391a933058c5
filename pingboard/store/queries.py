"""Reads: which rooms there are."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from sqlalchemy import exists, func, select

from pingboard.columns.blocks import HOUR_MS
from pingboard.model import PONG_TIMEOUT_MS, Room, from_ts
from pingboard.store import changes
from pingboard.store.engine import read_snapshot
from pingboard.store.sealed import count_rows, read_last_pong
from pingboard.store.tables import ping, room, sample, sealed

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine


def room_names(engine: Engine) -> list[tuple[str, str | None]]:
    """ID and alias of every room, the one with the latest ping first."""
    # A subquery a room, because each is one step in the index on (room, seen_ts).
    last = select(func.max(ping.c.seen_ts)).where(ping.c.room == room.c.id).scalar_subquery()
    wanted = select(room.c.room_id, room.c.alias).order_by(last.desc().nulls_last(), room.c.id)
    with engine.connect() as connection:
        return [(room_id, alias) for room_id, alias in connection.execute(wanted)]


def rooms(engine: Engine) -> list[Room]:
    """Every room with its samples counted, in the order of `room_names`.

    Packed hours know their count, so that a long history costs little.
    """
    fresh = sealed.c.is_stale.is_(False)
    packed = select(sealed.c.room, func.sum(sealed.c.samples)).where(fresh).group_by(sealed.c.room)
    is_packed = exists().where(
        sealed.c.room == ping.c.room, sealed.c.hour == ping.c.seen_ts.op("/")(HOUR_MS), fresh
    )
    others = (
        select(ping.c.room, func.count())
        .join_from(ping, sample, sample.c.ping == ping.c.id)
        .where(~is_packed)
        .group_by(ping.c.room)
    )
    counts: Counter[int] = Counter()
    with read_snapshot(engine) as connection:
        for counted in (packed, others):
            for room_row, samples in connection.execute(counted):
                counts[room_row] += int(samples)
        for room_row, hour in changes.read_pending(connection):
            same = select(sealed.c.samples).where(
                sealed.c.room == room_row, sealed.c.hour == hour, fresh
            )
            before = connection.execute(same).scalar_one_or_none()
            if before is not None:
                counts[room_row] += count_rows(connection, room_row, hour, hour + 1)[hour] - before
        known = connection.execute(select(room.c.id, room.c.room_id)).all()
        rows = {room_id: room_row for room_row, room_id in known}
        last = {room_id: last_pong_ts(connection, row) for room_id, row in rows.items()}
    return [
        Room(room_id, alias, counts[rows[room_id]], None if ts is None else from_ts(ts))
        for room_id, alias in room_names(engine)
        for ts in [last[room_id]]
    ]


def last_pong_ts(connection: Connection, room_row: int) -> int | None:
    """When the last pong of a room was seen: to the last answered ping, or to one just before."""
    of_room = ping.c.room == room_row
    answered = exists().where(sample.c.ping == ping.c.id)
    latest = select(ping.c.seen_ts).where(of_room, answered).order_by(ping.c.seen_ts.desc())
    last_ts = connection.execute(latest.limit(1)).scalar_one_or_none()
    # Of older pings, the samples are no rows any more (see `retention`, `folding`).
    packed_ts = read_last_pong(connection, room_row)
    if last_ts is None:
        return packed_ts
    seen_ts = func.max(ping.c.seen_ts + sample.c.delay_ms)
    recent = select(seen_ts).join_from(ping, sample, sample.c.ping == ping.c.id)
    near = recent.where(of_room, ping.c.seen_ts >= last_ts - PONG_TIMEOUT_MS)
    return max(int(connection.execute(near).scalar_one()), packed_ts or 0)
