"""Reads: which rooms there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from pingboard.model import Room, from_ts
from pingboard.store.tables import ping, room, sample

if TYPE_CHECKING:
    from sqlalchemy import Engine


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
