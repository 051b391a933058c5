"""How the database and the worker are, for readiness and metrics. Cheap at any size."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Engine, func, select, update

from pingboard.model import WorkerState
from pingboard.store.hours import find_last_pong
from pingboard.store.schema import gap, ping, rejection, room, void_round, worker
from pingboard.store.sql import insert_rows


class WorkerStatus(NamedTuple):
    """What one worker last said of itself."""

    vantage: str
    state: str
    """model.WorkerState"""
    since_ts: int
    synced_ts: int | None
    """the last answered sync"""
    late_ms: int | None
    """how late its event loop was at worst, of the seconds before it last said how it is"""


class Status(NamedTuple):
    """What readiness looks at. Timestamps are Matrix timestamps."""

    workers: list[WorkerStatus]
    """the one that synced last comes first"""
    last_pong_ts: int | None


class Totals(NamedTuple):
    """What the metrics count: it grows, but falls where retention drops rows."""

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
    """not filled yet"""


def read_status(engine: Engine) -> Status:
    """Return how the worker is, and when a pong was last seen."""
    with engine.connect() as connection:
        workers = [WorkerStatus(*row) for row in connection.execute(select(worker))]
        workers.sort(key=lambda status: status.synced_ts or 0, reverse=True)
        rooms = connection.scalars(select(room.c.id)).all()
        last_pongs = [find_last_pong(connection, row) for row in rooms]
        return Status(workers, max(filter(None, last_pongs), default=None))


def record_worker(
    engine: Engine,
    vantage: str,
    state: WorkerState,
    since_ts: int,
    synced_ts: int | None,
    late_ms: int | None = None,
) -> None:
    """Remember how the worker is; `synced_ts` None leaves what was there."""
    values: dict[str, object] = {"state": str(state), "since_ts": since_ts, "late_ms": late_ms}
    if synced_ts is not None:
        values["synced_ts"] = synced_ts
    with engine.begin() as connection:
        new = {"vantage": vantage, **values}
        insert_rows(connection, worker, [*new], [tuple(new.values())])
        connection.execute(update(worker).where(worker.c.vantage == vantage).values(values))


def read_totals(engine: Engine, after_ping: int) -> Totals:
    """Return what was counted so far; of pings only those behind the row `after_ping`."""
    with engine.connect() as connection:
        last = connection.execute(select(func.max(ping.c.id))).scalar_one() or 0
        ours = select(func.count()).where(
            ping.c.id > after_ping, ping.c.id <= last, ping.c.vantage.is_not(None)
        )
        counted = func.sum(rejection.c.count)
        by_reason = select(rejection.c.reason, counted).group_by(rejection.c.reason)
        void = select(void_round.c.vantage, void_round.c.reason, void_round.c.count)
        gap_pongs = select(func.coalesce(func.sum(gap.c.pongs), 0))
        is_open = select(func.count()).where(gap.c.closed_ts.is_(None))
        return Totals(
            pings=connection.execute(ours).scalar_one(),
            last_ping=last,
            rejected={reason: int(count) for reason, count in connection.execute(by_reason)},
            void={(where, why): count for where, why, count in connection.execute(void)},
            gap_pongs=connection.execute(gap_pongs).scalar_one(),
            open_gaps=connection.execute(is_open).scalar_one(),
        )
