"""What keeps the worker from measuring, in words: /readyz and the pages say the same."""

from __future__ import annotations

from datetime import timedelta

from pingboard.model import RoomState, WorkerState
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
