"""Gaps: stretches of a room's history that we did not see arrive, and how far they are filled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import insert, select, update

from pingboard.model import Gap
from pingboard.store.schema import gap, room

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine


def record_gaps(connection: Connection, gaps: Sequence[Gap], rooms: Mapping[str, int]) -> None:
    """Insert gaps that are new, update those that have an ID; `rooms` are row IDs."""
    for one in gaps:
        progress = {
            "position": one.position,
            "closed_ts": one.closed_ts,
            "pongs": one.pongs,
            "fault": one.fault,
        }
        if one.id is not None:
            connection.execute(update(gap).where(gap.c.id == one.id).values(progress))
            continue
        bounds = {"until": one.until, "oldest_ts": one.oldest_ts, "opened_ts": one.opened_ts}
        connection.execute(insert(gap).values(room=rooms[one.room_id], **bounds, **progress))


def read_open_gaps(engine: Engine) -> list[Gap]:
    """Return the gaps that are not filled yet, the latest first: it matters most."""
    columns = (room.c.room_id, gap.c.position, gap.c.until, gap.c.oldest_ts, gap.c.opened_ts)
    rows = (
        select(*columns, gap.c.id, gap.c.closed_ts, gap.c.pongs, gap.c.fault)
        .join(room, gap.c.room == room.c.id)
        .where(gap.c.closed_ts.is_(None))
        .order_by(gap.c.id.desc())
    )
    with engine.connect() as connection:
        return [Gap(*row) for row in connection.execute(rows)]


def has_open_gap(engine: Engine, opened_after_ts: int) -> bool:
    """Tell whether a gap is still being filled that was noticed after a time."""
    rows = select(gap.c.id).where(gap.c.closed_ts.is_(None), gap.c.opened_ts > opened_after_ts)
    with engine.connect() as connection:
        return connection.execute(rows.limit(1)).first() is not None


def read_rooms_with_history(engine: Engine) -> set[str]:
    """Return the rooms (IDs) whose history before our first sync has been asked for already."""
    rows = select(room.c.room_id).join(gap, gap.c.room == room.c.id).where(gap.c.until.is_(None))
    with engine.connect() as connection:
        return set(connection.scalars(rows))
