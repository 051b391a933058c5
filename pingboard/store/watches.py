"""Which homeservers a room wants to be told about; kept by room, never by user."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Engine, delete, func, select, update

from pingboard.store.schema import watch
from pingboard.store.sql import insert_rows

MAX_WATCHES = 20
"""Of a room."""


class Watch(NamedTuple):
    """A room that wants to be told about a homeserver."""

    room_id: str
    homeserver: str
    told_ts: int
    """when it was last told, or asked for it: older changes are not sent again"""


def add_watch(engine: Engine, new: Watch) -> bool:
    """Keep a watch; return False where the room has `MAX_WATCHES` already."""
    with engine.begin() as connection:
        others = select(func.count()).where(
            watch.c.room_id == new.room_id, watch.c.homeserver != new.homeserver
        )
        if (connection.scalar(others) or 0) >= MAX_WATCHES:
            return False
        insert_rows(connection, watch, Watch._fields, [new])
        return True


def move_watches(engine: Engine, room_id: str, successor: str) -> None:
    """Let the room that replaced a room have its watches."""
    of_successor = select(watch.c.homeserver).where(watch.c.room_id == successor)
    with engine.begin() as connection:
        twice = watch.c.homeserver.in_(of_successor.scalar_subquery())
        connection.execute(delete(watch).where(watch.c.room_id == room_id, twice))
        connection.execute(
            update(watch).where(watch.c.room_id == room_id).values(room_id=successor)
        )


def remove_watch(engine: Engine, room_id: str, homeserver: str) -> bool:
    """Drop a watch; return False where there was none."""
    dropped = delete(watch).where(watch.c.room_id == room_id, watch.c.homeserver == homeserver)
    with engine.begin() as connection:
        return connection.execute(dropped).rowcount > 0


def read_watches(engine: Engine) -> list[Watch]:
    with engine.connect() as connection:
        rows = connection.execute(select(watch).order_by(watch.c.room_id, watch.c.homeserver))
        return [Watch(*row) for row in rows]


def record_told(engine: Engine, told: Watch) -> None:
    """Remember when a room was told."""
    changed = update(watch).where(
        watch.c.room_id == told.room_id, watch.c.homeserver == told.homeserver
    )
    with engine.begin() as connection:
        connection.execute(changed.values(told_ts=told.told_ts))
