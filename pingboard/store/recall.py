"""What the worker reads back: pings not in its memory, and where an earlier run stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import select

from pingboard.columns.blocks import HOUR_MS, answers_inside
from pingboard.model import Gap, Pending, Ping, Pong, Provenance
from pingboard.store.columns import latest_hour, read_names
from pingboard.store.engine import read_snapshot
from pingboard.store.rows import chunks
from pingboard.store.sealed import read_hours
from pingboard.store.tables import gap, pending, ping, room, server, vantage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

_EVER = 2**62


def find_pings(engine: Engine, room_id: str, event_ids: Sequence[str]) -> dict[str, Ping]:
    """The stored pings among these events of a room, by event ID."""
    found: dict[str, Ping] = {}
    columns = (ping.c.event, server.c.name, ping.c.origin_server_ts, ping.c.seen_ts)
    wanted = (
        select(*columns, vantage.c.name, ping.c.sent_ts)
        .select_from(ping.join(server, ping.c.server == server.c.id))
        .join(room, ping.c.room == room.c.id)
        .outerjoin(vantage, ping.c.vantage == vantage.c.id)
        .where(room.c.room_id == room_id)
    )
    with engine.connect() as connection:
        for chunk in chunks(event_ids):
            for row in connection.execute(wanted.where(ping.c.event.in_(chunk))):
                found[row[0]] = Ping(row[0], room_id, *row[1:])
    return found


def latest_pings(engine: Engine, room_id: str, limit: int = 50) -> list[str]:
    """The event IDs of the last pings of a room, the latest first."""
    wanted = (
        select(ping.c.event)
        .join(room, ping.c.room == room.c.id)
        .where(room.c.room_id == room_id)
        .order_by(ping.c.seen_ts.desc())
        .limit(limit)
    )
    with engine.connect() as connection:
        return list(connection.execute(wanted).scalars())


def pending_pongs(engine: Engine) -> list[Pending]:
    """Every pong whose ping was not known when it came, the oldest first."""
    columns = (pending.c.event, room.c.room_id, server.c.name, pending.c.ping_event)
    claims = (pending.c.claimed_from, pending.c.one_way_ms)
    wanted = (
        select(
            *columns, *claims, pending.c.origin_server_ts, pending.c.seen_ts, pending.c.provenance
        )
        .join(room, pending.c.room == room.c.id)
        .join(server, pending.c.pong_server == server.c.id)
        .order_by(pending.c.seen_ts)
    )
    with engine.connect() as connection:
        return [Pending(Pong(*row[:8]), Provenance(row[8])) for row in connection.execute(wanted)]


def open_gaps(engine: Engine) -> list[Gap]:
    """The gaps that are not filled yet, the latest first: it matters most."""
    wanted = (
        select(
            *(room.c.room_id, gap.c.position, gap.c.until, gap.c.oldest_ts, gap.c.opened_ts),
            *(gap.c.id, gap.c.closed_ts, gap.c.pongs, gap.c.fault),
        )
        .join(room, gap.c.room == room.c.id)
        .where(gap.c.closed_ts.is_(None))
        .order_by(gap.c.id.desc())
    )
    with engine.connect() as connection:
        return [Gap(*row) for row in connection.execute(wanted)]


def rooms_with_history(engine: Engine) -> set[str]:
    """The rooms (IDs) whose history before our first sync has been asked for already."""
    wanted = select(room.c.room_id).join(gap, gap.c.room == room.c.id)
    with engine.connect() as connection:
        return set(connection.execute(wanted.where(gap.c.until.is_(None))).scalars())


def room_ids(engine: Engine) -> set[str]:
    """Every room that was ever joined."""
    with engine.connect() as connection:
        return set(connection.execute(select(room.c.room_id)).scalars())


def alias_of(engine: Engine, room_id: str) -> str | None:
    """The alias that the operator configured a room by."""
    with engine.connect() as connection:
        found = connection.execute(select(room.c.alias).where(room.c.room_id == room_id))
        return found.scalar_one_or_none()


def answered_since(engine: Engine, room_id: str, since_ts: int) -> dict[str, int]:
    """The servers that answered a ping of ours since then, with when they last did."""
    with read_snapshot(engine) as connection:
        room_row = connection.scalar(select(room.c.id).filter_by(room_id=room_id))
        if room_row is None:
            return {}
        hours = since_ts // HOUR_MS, latest_hour(connection, room_row) + 1
        blocks = read_hours(connection, room_row, *hours).values()
        answers = answers_inside(list(blocks), since_ts, _EVER)
        names = read_names(connection)
    last = np.zeros(len(names), np.int64)
    np.maximum.at(last, answers.pong_server, answers.seen_ts.wide())
    return {name: ts for name, ts in zip(names, last.tolist(), strict=True) if ts}
