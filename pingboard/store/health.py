"""Reads: how the database and the worker are, for readiness and metrics. Cheap at any size."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import func, select

from pingboard.store.queries import last_pong_ts
from pingboard.store.tables import gap, ping, rejection, room, void_round, worker

if TYPE_CHECKING:
    from sqlalchemy import Engine


class WorkerHealth(NamedTuple):
    """What one worker last said of itself."""

    vantage: str
    state: str
    """model.WorkerState"""
    since_ts: int
    synced_ts: int | None
    """the last answered sync"""


class Health(NamedTuple):
    """What readiness looks at. Timestamps are Matrix timestamps."""

    workers: list[WorkerHealth]
    """the one that synced last comes first"""
    last_pong_ts: int | None


class RoomHealth(NamedTuple):
    """Whether a room can be measured in, and where it came from."""

    state: str | None
    """model.RoomState; None where it was never joined, as after an import"""
    predecessor: str | None
    """the ID of the room that was upgraded to this one"""


class Totals(NamedTuple):
    """What only grows."""

    pings: int
    """of ours, behind the ping asked for"""
    last_ping: int
    """the row of the newest ping"""
    rejected: dict[str, int]
    """pongs by reason"""
    void: dict[tuple[str, str], int]
    """rounds that measured nothing, by vantage and reason"""
    gap_pongs: int
    """pongs that were found in gaps"""
    open_gaps: int
    """this one falls too"""


def read_health(engine: Engine) -> Health:
    """How the worker is, and when a pong was last seen."""
    with engine.connect() as connection:
        rows = connection.execute(select(worker)).all()
        workers = [WorkerHealth(*row) for row in rows]
        workers.sort(key=lambda one: one.synced_ts or 0, reverse=True)
        rooms = connection.scalars(select(room.c.id)).all()
        last_pongs = [last_pong_ts(connection, one) for one in rooms]
        return Health(workers, max(filter(None, last_pongs), default=None))


def read_rooms(engine: Engine) -> dict[str, RoomHealth]:
    """Every room by its ID."""
    before = room.alias()
    wanted = select(room.c.room_id, room.c.state, before.c.room_id).outerjoin_from(
        room, before, room.c.predecessor == before.c.id
    )
    with engine.connect() as connection:
        return {room_id: RoomHealth(*rest) for room_id, *rest in connection.execute(wanted)}


def read_totals(engine: Engine, after_ping: int) -> Totals:
    """What was counted so far; of pings only those behind the row `after_ping`."""
    with engine.connect() as connection:
        last = connection.execute(select(func.max(ping.c.id))).scalar_one() or 0
        ours = select(func.count()).where(
            ping.c.id > after_ping, ping.c.id <= last, ping.c.vantage.is_not(None)
        )
        counted = func.sum(rejection.c.count)
        by_reason = select(rejection.c.reason, counted).group_by(rejection.c.reason)
        void = select(void_round.c.vantage, void_round.c.reason, void_round.c.count)
        is_open = select(func.count()).where(gap.c.closed_ts.is_(None))
        return Totals(
            pings=connection.execute(ours).scalar_one(),
            last_ping=last,
            rejected={reason: int(count) for reason, count in connection.execute(by_reason)},
            void={(where, why): count for where, why, count in connection.execute(void)},
            gap_pongs=connection.execute(
                select(func.coalesce(func.sum(gap.c.pongs), 0))
            ).scalar_one(),
            open_gaps=connection.execute(is_open).scalar_one(),
        )
