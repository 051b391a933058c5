"""One faithful stream of room events.

In: a session and the sync token up to which everything is stored. Out: one `SyncBatch` after the
other. The next is asked for only when the consumer comes back, so what it has not yet committed
is sent again after a crash.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pingboard.matrix import clock
from pingboard.matrix.patience import patiently
from pingboard.matrix.session import EVENT_TYPES, Session, Synced

if TYPE_CHECKING:
    from nio import RoomInfo

    from pingboard.matrix.protocol import Event

STALL_S = 2.0
"""Our own homeserver answers within this when it is well, and we ask again within it. What comes
later was held up there or by us, and says nothing about the servers that answered."""

TIMELINE_LIMIT = 1000
"""Events asked for at once; Synapse gives at most 100 in a sync."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """New events of a joined room, oldest first."""

    room_id: str
    events: list[Event]
    state: list[Event]
    """state that changed among the events left out"""
    limited: bool
    """whether events before these were left out"""


@dataclass(frozen=True, slots=True)
class SyncBatch:
    """One sync response: what happened between two tokens."""

    since: str | None
    next_batch: str
    arrived_ns: int
    """`clock.now_ns()` of its arrival"""
    arrived_ts: int
    stalled: bool
    """whether our homeserver held it up, or failed before it, or we asked late (this machine was
    suspended, the store locked): no arrival in it is a measurement"""
    is_past: bool
    """whether it brings what happened while we were down, asleep or held up, not as it arrived"""
    timelines: list[Timeline]
    left_rooms: list[str]
    """rooms that we were kicked or banned from, or left"""


async def position(session: Session) -> str:
    """The sync token of now: where a stream without a past begins."""
    first = await patiently(functools.partial(session.sync, None, _filter([], 1), 0))
    return str(first.response.next_batch)


async def batches(
    session: Session, since: str | None, rooms: list[str], hold_ms: Callable[[], int]
) -> AsyncIterator[SyncBatch]:
    """Everything that happens in these rooms (IDs) after `since`, without end.

    Without `since`, the first batch is the present state, every timeline limited. `rooms` may be
    changed on the way; `hold_ms` is asked each time how long our homeserver may hold the next sync
    open while nothing happens. Faults of the homeserver are logged and backed off from;
    AccountError ends the stream.
    """
    previous_ns: int | None = None
    while True:
        limit, held_ms = (TIMELINE_LIMIT, hold_ms()) if since else (1, 0)
        synced, asked_ns = await _sync(session, since, _filter(rooms, limit), held_ms)
        is_first = previous_ns is None
        asked_late = previous_ns is not None and asked_ns[0] - previous_ns > STALL_S * 1e9
        came_late = synced.arrived_ns - asked_ns[0] > (held_ms / 1000 + STALL_S) * 1e9
        stalled = asked_late or came_late or len(asked_ns) > 1
        batch = _read(synced, since, rooms)
        yield dataclasses.replace(batch, stalled=stalled, is_past=stalled or is_first)
        since, previous_ns = batch.next_batch, synced.arrived_ns


async def _sync(
    session: Session, since: str | None, sync_filter: Event, held_ms: int
) -> tuple[Synced, list[int]]:
    """A response, and when it was asked for: more than once where our homeserver failed."""
    asked_ns: list[int] = []

    async def ask() -> Synced:
        asked_ns.append(clock.now_ns())
        return await session.sync(since, sync_filter, held_ms)

    return await patiently(ask), asked_ns


def _read(synced: Synced, since: str | None, rooms: list[str]) -> SyncBatch:
    changed = synced.response.rooms
    return SyncBatch(
        since=since,
        next_batch=str(synced.response.next_batch),
        arrived_ns=synced.arrived_ns,
        arrived_ts=synced.arrived_ts,
        stalled=False,
        is_past=False,
        timelines=[
            _timeline(room_id, info) for room_id, info in changed.join.items() if room_id in rooms
        ],
        left_rooms=[room_id for room_id in changed.leave if room_id in rooms],
    )


def _timeline(room_id: str, info: RoomInfo) -> Timeline:
    return Timeline(
        room_id,
        [event.source for event in info.timeline.events],
        [event.source for event in info.state],
        info.timeline.limited,
    )


def _filter(rooms: list[str], limit: int) -> Event:
    """A tight filter: whatever else a homeserver can send costs time, and can break the parser."""
    nothing: Event = {"types": []}
    return {
        "presence": nothing,
        "account_data": nothing,
        "room": {
            "rooms": rooms,
            "account_data": nothing,
            "ephemeral": nothing,
            "state": {
                "types": ["m.room.tombstone", "m.room.encryption"],
                "lazy_load_members": True,
            },
            "timeline": {"limit": limit, "types": EVENT_TYPES},
        },
    }
