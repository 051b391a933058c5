"""How the worker is: as of when its data is, and what keeps it from measuring, in words.

/readyz and the pages say the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from fastapi_problem.error import Problem
from pydantic import BaseModel, Field

from pingboard.model import RoomState, WorkerState, from_ts
from pingboard.store.engine import Engine
from pingboard.store.rooms import RoomStatus, read_room_states
from pingboard.store.status import Status, read_status
from pingboard.web import errors
from pingboard.web.pages.language import mark
from pingboard.web.schemas import Instant

STALE_AFTER = timedelta(minutes=3)
"""A sync is answered at least twice a minute, also where nothing happens."""

WORKER_OBSTACLES = {
    WorkerState.AUTH: mark("The homeserver does not accept the worker’s account."),
    WorkerState.JOINING: mark("The worker can’t join any of its rooms yet."),
    WorkerState.LOCKED: mark("The homeserver’s admin has locked the worker’s account."),
    WorkerState.UNREACHABLE: mark("The worker’s homeserver does not answer."),
    WorkerState.STOPPED: mark("The worker has stopped."),
}

ROOM_OBSTACLES = {
    RoomState.LEFT: mark("its account is not in the room any more"),
    RoomState.UNJOINED: mark("its account can’t join the room yet"),
    RoomState.DENIED: mark("its account may not send"),
    RoomState.ENCRYPTED: mark("the room is encrypted, and nothing may be sent there in the clear"),
    RoomState.LOCKED: mark("the homeserver’s admin has locked its account"),
    RoomState.SUSPENDED: mark("the homeserver’s admin has suspended its account"),
    RoomState.RESOURCE_LIMIT: mark("the homeserver has reached a limit that its admin has set"),
    RoomState.NO_CONSENT: mark("its account has to agree to the homeserver’s terms first"),
}
"""Why the worker can't ping in a room."""

LASTING = frozenset({WorkerState.AUTH, WorkerState.JOINING, WorkerState.LOCKED})
"""These do not pass within a minute or two, so a page says them at once."""


class WorkerHealth(NamedTuple):
    """How the worker is, as a page says it."""

    synced_at: datetime | None
    """when it last heard from its homeserver; None where no worker ever did"""
    is_stale: bool
    """its data is older than it should be, or will be soon"""
    is_known: bool
    """a worker has used this database"""
    obstacle: str | None
    """why nothing comes, to be translated; None where nothing is known to be wrong"""
    room_obstacle: str | None
    """why the worker can't ping in the room that is shown, to be translated"""


def read_worker(engine: Engine, now: datetime, room_id: str | None = None) -> WorkerHealth:
    """Return how the worker is, and whether it can ping in a room."""
    workers = read_status(engine).workers
    room_obstacle = _find_room_obstacle(engine, room_id) if room_id else None
    if not workers:
        return WorkerHealth(None, True, False, None, None)
    state, synced_ts = WorkerState(workers[0].state), workers[0].synced_ts
    synced_at = None if synced_ts is None else from_ts(synced_ts)
    is_old = synced_at is None or now - synced_at > STALE_AFTER
    is_stale = is_old or state in LASTING
    obstacle = WORKER_OBSTACLES.get(state) if is_stale else None
    return WorkerHealth(synced_at, is_stale, True, obstacle, room_obstacle)


def _find_room_obstacle(engine: Engine, room_id: str) -> str | None:
    status = read_room_states(engine).get(room_id)
    if status is None or status.state is None:
        return None
    return ROOM_OBSTACLES.get(RoomState(status.state))


class Readiness(BaseModel):
    """That the database answers and the worker syncs."""

    state: Literal["ready"] = "ready"
    last_sync_at: Instant = Field(description="When the homeserver last answered a sync, UTC.")
    last_pong_at: Instant | None = Field(description="When a pong was last seen, UTC.")


def read_readiness(engine: Engine, now: datetime) -> Readiness:
    """Return what is true to serve; raise the problem that /readyz answers with."""
    try:
        health, rooms = read_status(engine), read_room_states(engine)
    except Exception:  # noqa: BLE001 (whatever the driver says, it is not ready)
        raise not_ready("database", "The database can't be read.") from None
    synced_at = _require_sync(health, now)
    _require_room(rooms.values())
    return Readiness(
        last_sync_at=synced_at,
        last_pong_at=None if health.last_pong_ts is None else from_ts(health.last_pong_ts),
    )


def not_ready(reason: str, detail: str) -> Problem:
    """Return the problem that /readyz answers with."""
    return errors.problem("not-ready", detail, reason=reason)


def _require_room(rooms: Iterable[RoomStatus]) -> None:
    """A problem where the worker can't measure in any of its rooms."""
    states = {RoomState(room.state) for room in rooms if room.state is not None}
    if RoomState.JOINED not in states and states & ROOM_OBSTACLES.keys():
        why = " and ".join(said for state, said in ROOM_OBSTACLES.items() if state in states)
        raise not_ready("room", f"The worker can't ping in any room: {why}.")


def _require_sync(health: Status, now: datetime) -> datetime:
    """When the worker last synced; a problem where that is not good enough."""
    if not health.workers:
        raise not_ready("no-worker", "No worker has used this database yet.")
    worker = health.workers[0]
    state, since, synced_ts = WorkerState(worker.state), from_ts(worker.since_ts), worker.synced_ts
    if state in WORKER_OBSTACLES:
        raise not_ready(
            str(state), f"{WORKER_OBSTACLES[state]} Since {since.isoformat(timespec='seconds')}."
        )
    is_starting = state is WorkerState.STARTING
    if is_starting and now - since <= STALE_AFTER:
        raise not_ready("starting", "The worker has started, but has not synced yet.")
    if synced_ts is None or is_starting or now - from_ts(synced_ts) > STALE_AFTER:
        raise not_ready(
            "stale", f"The worker has not synced for {STALE_AFTER}; is it still running?"
        )
    return from_ts(synced_ts)
