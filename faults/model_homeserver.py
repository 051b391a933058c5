"""A homeserver that is all model: one room, told event by event, served over real HTTP.

For the state machine alone, whose thousands of steps no real homeserver takes in time. It gives
what a worker asks for, with the shapes, limits and tokens of the client-server API; a token `t7`
is the place before the room's event number 7.
"""

from __future__ import annotations

import asyncio
from typing import Any, Self

from aiohttp import web

Event = dict[str, Any]

ROOM_ID = "!model:hs1.example"
USER_ID = "@pingboard:hs1.example"
TIMELINE_LIMIT = 8
"""So small that limited timelines are common."""

PAGE_LIMIT = 5
HELD_S = 20.0


class ModelHomeserver:
    """Made by `async with`; serves on a free port of the loopback interface."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.repeats = 0
        """how many events the next sync brings once more"""
        self.synced = 0
        """up to which event the last sync that was asked for begins: what the client has stored"""
        self.url = ""
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

    async def say(self, *events: Event) -> None:
        """Add events to the room."""
        async with self._grown:
            self.events += events
            self._grown.notify_all()

    async def take_back(self, event_id: str) -> None:
        """Redact an event: what is left of it has no content."""
        found = next(one for one in self.events if one["event_id"] == event_id)
        redaction = {
            **found,
            "type": "m.room.redaction",
            "event_id": f"{event_id}-gone",
            "redacts": event_id,
            "content": {"redacts": event_id},
        }
        found["content"] = {}
        found["unsigned"] = {"redacted_because": redaction}
        await self.say(redaction)

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
        found = next((one for one in self.events if one["event_id"] == wanted), None)
        return await self._absent(request) if found is None else web.json_response(found)

    async def _send(self, request: web.Request) -> web.Response:
        transaction = request.match_info["transaction"]
        if transaction not in self._pings:
            event_id = self._pings[transaction] = f"$own{len(self._pings)}"
            event = make_event(event_id, USER_ID, await request.json(), len(self.events))
            await self.say({**event, "unsigned": {"transaction_id": transaction}})
        return web.json_response({"event_id": self._pings[transaction]})

    async def _messages(self, request: web.Request) -> web.Response:
        """Backwards from a token, to one if asked."""
        start = _place(request.query["from"])
        until = _place(request.query["to"]) if "to" in request.query else 0
        first = max(until, start - PAGE_LIMIT)
        page: Event = {"start": f"t{start}", "chunk": self.events[first:start][::-1], "state": []}
        if first > until:
            page["end"] = f"t{first}"
        return web.json_response(page)

    async def _sync(self, request: web.Request) -> web.Response:
        since = _place(request.query["since"]) if "since" in request.query else None
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
        limited = len(self.events) - since > TIMELINE_LIMIT
        first = len(self.events) - TIMELINE_LIMIT if limited else max(since - repeated, 0)
        return web.json_response(self._sync_of(first, limited=limited))

    def _sync_of(self, first: int, *, limited: bool) -> Event:
        timeline = {
            "events": self.events[first:],
            "limited": limited,
            "prev_batch": f"t{first}",
        }
        room = {
            "timeline": timeline,
            "state": {"events": []},
            "account_data": {"events": []},
            "ephemeral": {"events": []},
            "summary": {},
            "unread_notifications": {},
        }
        return {
            "next_batch": f"t{len(self.events)}",
            "rooms": {"join": {ROOM_ID: room}, "invite": {}, "leave": {}},
        }


def make_event(event_id: str, sender: str, content: Event, origin_server_ts: int) -> Event:
    """A message."""
    return {
        "type": "m.room.message",
        "event_id": event_id,
        "sender": sender,
        "origin_server_ts": origin_server_ts,
        "content": content,
    }


def _place(token: str) -> int:
    return int(token.removeprefix("t"))
