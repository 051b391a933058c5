"""Receive: ask our homeserver what happened, and ask again at once.

In: a session and the sync token up to which everything is stored. Out: one `SyncBatch` after the
other, each stamped with its arrival. Whoever takes them must not make the next one wait: judging
and storing is the business of `record`, behind a queue.
"""

from __future__ import annotations

import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass

from nio import RoomInfo

from pingboard.matrix.protocol import Event
from pingboard.matrix.retry import retry_until_answered
from pingboard.matrix.session import EVENT_TYPES, Session, Synced
from pingboard.model import HomeserverError

HOLD_MS = 30_000
"""How long our homeserver may hold a sync open."""

MAX_STALL_S = 1.0
"""A stall of this length or more, of our homeserver or of ours, is not measured through."""

TIMELINE_LIMIT = 1000
"""Events asked for at once; Synapse gives at most 100 in a sync."""


MAX_INLINE_FILTER = 2_000
"""Characters of a filter that are sent with each request; proxies take 8 kB of a request line, in
which each is written as up to three. A longer one is uploaded once, and named by its ID."""


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
    rooms: frozenset[str]
    """the rooms (IDs) that were asked for"""
    arrived_ns: int
    """`clock.now_ns()` of its arrival"""
    arrived_ts: int
    is_past: bool
    """whether it brings what happened while nobody listened, not as it arrived"""
    timelines: list[Timeline]
    left_rooms: list[str]
    """rooms that we were kicked or banned from, or left"""


async def read_position(session: Session) -> str:
    """Return the sync token of now: where a stream without a past begins."""
    ask = functools.partial(session.sync, None, _filter([], 1), 0)
    first = await retry_until_answered(ask)
    return str(first.response.next_batch)


async def sync_batches(
    session: Session,
    since: str | None,
    rooms: Collection[str],
    hold_ms: Callable[[], int],
    on_fault: Callable[[HomeserverError], Awaitable[None]] | None = None,
) -> AsyncIterator[SyncBatch]:
    """Yield everything that happens in these rooms (IDs) after `since`, without end.

    Without `since`, the first batch is the present state, every timeline limited. `rooms` may be
    changed on the way; `hold_ms` is asked how long our homeserver may hold each sync but the first
    open while nothing happens. Faults of the homeserver are logged, told to `on_fault` and backed
    off from; AccountError ends the stream.
    """
    previous_ns: int | None = None
    uploaded: dict[str, str] = {}
    while True:
        asked, limit = list(rooms), TIMELINE_LIMIT if since else 1
        sync_filter = await _upload_if_long(session, _filter(asked, limit), uploaded)
        # The first is not held: until it is there nobody is listened to, and nothing is pinged.
        held_ms = hold_ms() if previous_ns is not None else 0
        ask = functools.partial(session.sync, since, sync_filter, held_ms)
        synced = await retry_until_answered(ask, on_fault=on_fault)
        batch = _read(synced, since, asked, previous_ns, held_ms)
        yield batch
        since, previous_ns = batch.next_batch, batch.arrived_ns


async def _upload_if_long(
    session: Session, sync_filter: Event, uploaded: dict[str, str]
) -> Event | str:
    """Return the filter, or the ID of a long one; `uploaded` keeps the IDs."""
    text = json.dumps(sync_filter)
    if len(text) <= MAX_INLINE_FILTER:
        return sync_filter
    if text not in uploaded:
        upload = functools.partial(session.upload_filter, sync_filter)
        filter_id = await retry_until_answered(upload)
        uploaded.clear()
        uploaded[text] = filter_id
    return uploaded[text]


def _read(
    synced: Synced, since: str | None, rooms: list[str], previous_ns: int | None, held_ms: int
) -> SyncBatch:
    # In time after the one before it: nothing in it can have waited for long, wherever it was held
    # up. Otherwise our homeserver or the network was away, we asked late, or we were suspended.
    in_time_ns = held_ms * 1_000_000 + MAX_STALL_S * 1e9
    is_live = previous_ns is not None and synced.arrived_ns - previous_ns < in_time_ns
    changed = synced.response.rooms
    return SyncBatch(
        since=since,
        next_batch=str(synced.response.next_batch),
        rooms=frozenset(rooms),
        arrived_ns=synced.arrived_ns,
        arrived_ts=synced.arrived_ts,
        is_past=not is_live,
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
