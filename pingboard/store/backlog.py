"""What is left to do, kept so that a restart does not lose it: pongs whose ping is not known yet,
and gaps, the stretches of a room's history that we did not see arrive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, Engine, bindparam, delete, func, insert, select, update

from pingboard.model import Gap, Pending, Pong, Provenance
from pingboard.store.schema import gap, pending, ping, room, server
from pingboard.store.sql import insert_rows


def insert_pending(
    connection: Connection,
    pongs: Sequence[Pending],
    rooms: Mapping[str, int],
    servers: Mapping[str, int],
) -> None:
    """Keep pongs; `rooms` and `servers` are row IDs."""
    rows = [
        (
            rooms[pong.room_id],
            pong.event_id,
            servers[pong.server],
            pong.ping_event_id,
            pong.claimed_from,
            pong.one_way_ms,
            pong.origin_server_ts,
            pong.seen_ts,
            int(candidate.provenance),
        )
        for candidate in pongs
        for pong in [candidate.pong]
    ]
    insert_rows(connection, pending, pending.c.keys(), rows)


def delete_pending(connection: Connection, pongs: Sequence[Pong], rooms: Mapping[str, int]) -> None:
    """Forget pongs that are decided."""
    if pongs:
        statement = delete(pending).where(
            pending.c.room == bindparam("b_room"), pending.c.event == bindparam("b_event")
        )
        keys = [{"b_room": rooms[pong.room_id], "b_event": pong.event_id} for pong in pongs]
        connection.execute(statement, keys)


def read_pending(engine: Engine) -> list[Pending]:
    """Return every pong that is kept, the oldest first."""
    pong = (
        *(pending.c.event, room.c.room_id, server.c.name, pending.c.ping_event),
        *(pending.c.claimed_from, pending.c.one_way_ms),
        *(pending.c.origin_server_ts, pending.c.seen_ts),
    )
    rows = (
        select(*pong, pending.c.provenance)
        .join(room, pending.c.room == room.c.id)
        .join(server, pending.c.pong_server == server.c.id)
        .order_by(pending.c.seen_ts)
    )
    with engine.connect() as connection:
        return [Pending(Pong(*row[:8]), Provenance(row[8])) for row in connection.execute(rows)]


def record_gaps(connection: Connection, gaps: Sequence[Gap], rooms: Mapping[str, int]) -> None:
    """Insert gaps that are new, update those that have an ID; `rooms` are row IDs."""
    for stretch in gaps:
        progress = {
            "position": stretch.position,
            "closed_ts": stretch.closed_ts,
            "pongs": stretch.pongs,
            "fault": stretch.fault,
        }
        if stretch.id is not None:
            connection.execute(update(gap).where(gap.c.id == stretch.id).values(progress))
            continue
        bounds = {
            "until": stretch.until,
            "oldest_ts": stretch.oldest_ts,
            "opened_ts": stretch.opened_ts,
        }
        connection.execute(insert(gap).values(room=rooms[stretch.room_id], **bounds, **progress))


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


def read_heard_times(engine: Engine) -> dict[str, int]:
    """Return the rooms (IDs) whose past has been asked for, and up to when we know it.

    That is the newest ping, or when it was asked for where there is none.
    """
    newest = select(func.max(ping.c.seen_ts)).where(ping.c.room == room.c.id).scalar_subquery()
    rows = (
        select(room.c.room_id, func.coalesce(newest, func.min(gap.c.opened_ts)))
        .join(gap, gap.c.room == room.c.id)
        .where(gap.c.until.is_(None))
        .group_by(room.c.id, room.c.room_id)
    )
    with engine.connect() as connection:
        return dict(connection.execute(rows).all())
