"""How the worker is: as of when its data is, and what keeps it from measuring, in words.

/readyz and the pages say the same.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from pingboard.model import RoomState, WorkerState, from_ts
from pingboard.store.engine import Engine
from pingboard.store.rooms import read_room_states
from pingboard.store.status import read_status
from pingboard.web.pages.language import mark

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


class Worker(NamedTuple):
    """How the worker is, as a page says it."""

    synced_at: datetime | None
    """when it last heard from its homeserver; None where no worker ever did"""
    is_stale: bool
    """its data is older than it should be, or will be soon"""
    is_known: bool
    """a worker has used this database"""
    obstacle: str | None
    """why nothing comes, of the catalogue; None where nothing is known to be wrong"""
    room_obstacle: str | None
    """why the worker can't ping in the room that is shown, of the catalogue"""


def read_worker(engine: Engine, now: datetime, room_id: str | None = None) -> Worker:
    """Return how the worker is, and whether it can ping in a room."""
    workers = read_status(engine).workers
    room_obstacle = _find_room_obstacle(engine, room_id) if room_id else None
    if not workers:
        return Worker(None, True, False, None, None)
    state, synced_ts = WorkerState(workers[0].state), workers[0].synced_ts
    synced_at = None if synced_ts is None else from_ts(synced_ts)
    is_old = synced_at is None or now - synced_at > STALE_AFTER
    is_stale = is_old or state in LASTING
    obstacle = WORKER_OBSTACLES.get(state) if is_stale else None
    return Worker(synced_at, is_stale, True, obstacle, room_obstacle)


def _find_room_obstacle(engine: Engine, room_id: str) -> str | None:
    status = read_room_states(engine).get(room_id)
    if status is None or status.state is None:
        return None
    return ROOM_OBSTACLES.get(RoomState(status.state))
