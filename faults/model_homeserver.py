"""A homeserver that is all model: one room, told event by event, served over real HTTP.

For what no real homeserver gives in time: thousands of steps, or of pongs a second. It gives
what a worker asks for, with the shapes, limits and tokens of the client-server API, as Synapse has
them: a token `s7` is the place after the seven events that came first. History is given by depth in
the room, which is another order where events came late; there `t5-7` is the place after what is of
depth 5 and came among the first seven, and all of a lesser depth.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Sequence
from typing import NamedTuple, Self

from aiohttp import web

from faults.user import Event, make_event

ROOM_ID = "!model:hs1.example"
USER_ID = "@pingboard:hs1.example"
TIMELINE_LIMIT = 8
"""So small that limited timelines are common."""

HELD_S = 20.0


class _Token(NamedTuple):
    """A place: after so many events, and for one in a room's history of what depth."""

    stream: int
    depth: int | None


class ModelHomeserver:
    """Made by `async with`; serves on a free port of the loopback interface."""

    def __init__(self, timeline_limit: int = TIMELINE_LIMIT) -> None:
        self.events: list[Event] = []
        """as they came"""
        self._depths: list[int] = []
        self._top = 0
        """the depth of the newest event"""
        self.repeats = 0
        """how many events the next sync brings once more"""
        self.synced = 0
        """up to which event the last sync that was asked for begins: what the client has stored"""
        self.url = ""
        self._timeline_limit = timeline_limit
        self._grown = asyncio.Condition()
        self._pings: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        app = web.Application()
        base = "/_matrix/client/v3"
        room = f"{base}/rooms/{{room}}"
        app.router.add_get(f"{base}/account/whoami", self._whoami)
        app.router.add_post(f"{base}/join/{{room}}", self._join)
        app.router.add_get(f"{room}/joined_members", self._members)
        app.router.add_get(f"{room}/state/{{kind:.*}}", self._absent)
        app.router.add_get(f"{room}/event/{{event}}", self._event)
        app.router.add_get(f"{room}/messages", self._messages)
        app.router.add_put(f"{room}/send/m.room.message/{{transaction}}", self._send)
        app.router.add_get(f"{base}/sync", self._sync)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._runner.cleanup()

    @property
    def history(self) -> list[Event]:
        """The events as history has them."""
        return [self.events[number - 1] for _, number in sorted(self._places())]

    async def say(self, *events: Event, late: Sequence[Event] = ()) -> None:
        """Add events to the room; behind the first those that were said earlier and come late."""
        top = self._top
        depths = list(range(top + 1, top + 1 + len(events)))
        self._top += len(events)
        async with self._grown:
            self.events += [*events[:1], *late, *events[1:]]
            self._depths += [*depths[:1], *[top] * len(late), *depths[1:]]
            self._grown.notify_all()

    async def take_back(self, event_id: str) -> None:
        """Redact an event: what is left of it has no content."""
        event = next(event for event in self.events if event["event_id"] == event_id)
        redaction = {
            **event,
            "type": "m.room.redaction",
            "event_id": f"{event_id}-gone",
            "redacts": event_id,
            "content": {"redacts": event_id},
        }
        event["content"] = {}
        event["unsigned"] = {"redacted_because": redaction}
        await self.say(redaction)

    def now_ts(self) -> int:
        """The time that it gives to what the worker sends: one in which steps are milliseconds."""
        return len(self.events)

    async def _whoami(self, _request: web.Request) -> web.Response:
        return web.json_response({"user_id": USER_ID, "device_id": "DEVICE"})

    async def _join(self, _request: web.Request) -> web.Response:
        return web.json_response({"room_id": ROOM_ID})

    async def _members(self, _request: web.Request) -> web.Response:
        return web.json_response({"joined": {USER_ID: {"display_name": None, "avatar_url": None}}})

    async def _absent(self, _request: web.Request) -> web.Response:
        return web.json_response({"errcode": "M_NOT_FOUND", "error": "none"}, status=404)

    async def _event(self, request: web.Request) -> web.Response:
        wanted = request.match_info["event"]
        event = next((event for event in self.events if event["event_id"] == wanted), None)
        return await self._absent(request) if event is None else web.json_response(event)

    async def _send(self, request: web.Request) -> web.Response:
        transaction = request.match_info["transaction"]
        if transaction not in self._pings:
            event_id = self._pings[transaction] = f"$own{len(self._pings)}"
            event = make_event(event_id, USER_ID, await request.json(), self.now_ts())
            await self.say({**event, "unsigned": {"transaction_id": transaction}})
        return web.json_response({"event_id": self._pings[transaction]})

    async def _messages(self, request: web.Request) -> web.Response:
        """Backwards from a token, to one if asked."""
        start = _read(request.query["from"])
        until = _read(request.query["to"]) if "to" in request.query else None
        page: Event = {"start": request.query["from"], "chunk": [], "state": []}
        # As Synapse does, though by depth there may still be something in between.
        if until is not None and start.stream <= until.stream:
            return web.json_response(page)
        end = (start.depth or 0, start.stream)
        places = [
            (depth, number)
            for depth, number in self._places(until.stream if until is not None else 0)
            if (number <= start.stream if start.depth is None else (depth, number) <= end)
        ]
        rows = heapq.nlargest(int(request.query["limit"]), places)
        page["chunk"] = [self.events[number - 1] for _, number in rows]
        if rows:
            depth, number = rows[-1]
            page["end"] = f"t{depth}-{number - 1}"
        return web.json_response(page)

    def _places(self, since: int = 0) -> list[tuple[int, int]]:
        """Depth and number of each event after so many; the first that came has number 1."""
        numbers = range(since + 1, len(self.events) + 1)
        return list(zip(self._depths[since:], numbers, strict=True))

    async def _sync(self, request: web.Request) -> web.Response:
        since = _read(request.query["since"]).stream if "since" in request.query else None
        if since is None:
            return web.json_response(self._sync_of(max(len(self.events) - 1, 0), limited=True))
        self.synced = max(self.synced, since)
        async with self._grown:
            try:
                async with asyncio.timeout(HELD_S):
                    await self._grown.wait_for(lambda: len(self.events) > since or self.repeats)
            except TimeoutError:
                pass
        repeated, self.repeats = self.repeats, 0
        limited = len(self.events) - since > self._timeline_limit
        first = len(self.events) - self._timeline_limit if limited else max(since - repeated, 0)
        return web.json_response(self._sync_of(first, limited=limited))

    def _sync_of(self, first: int, *, limited: bool) -> Event:
        return make_sync(self.events[first:], first, limited=limited)


def make_sync(events: list[Event], first: int, *, limited: bool) -> Event:
    """A sync response with the room's events behind so many."""
    room = make_room_sync(events, f"s{first}", limited=limited)
    rooms = {"join": {ROOM_ID: room}, "invite": {}, "leave": {}}
    return {"next_batch": f"s{first + len(events)}", "rooms": rooms}


def make_room_sync(events: list[Event], prev_batch: str, *, limited: bool) -> Event:
    """What a sync response says of a room."""
    return {
        "timeline": {"events": events, "limited": limited, "prev_batch": prev_batch},
        **{part: {"events": []} for part in ("state", "account_data", "ephemeral")},
        "summary": {},
        "unread_notifications": {},
    }


def _read(token: str) -> _Token:
    if token.startswith("s"):
        return _Token(int(token[1:]), None)
    depth, _, stream = token[1:].partition("-")
    return _Token(int(stream), int(depth))
