"""Rooms in which hundreds of servers answer every ping: thousands of pongs a second.

Bots in real homeservers answer at a tenth of that rate on one machine.
"""

from __future__ import annotations

import asyncio
import time
from itertools import count
from time import monotonic

from aiohttp import web

from faults.model_homeserver import ModelHomeserver, make_sync
from faults.user import Event, make_event, pong

SERVERS = [f"s{number}.example" for number in range(100)]
PERSON = "@person:people.example"
TIMELINE_LIMIT = 1_000


TORRENT_SERVERS = [f"s{number}.example" for number in range(300)]


class Crowd(ModelHomeserver):
    """Made by `async with`; `chat` lets somebody ping, and the worker's pings are answered too."""

    def __init__(self) -> None:
        super().__init__(TIMELINE_LIMIT)

    def now_ts(self) -> int:
        """The wall clock, ms since the epoch."""
        return time.time_ns() // 1_000_000

    async def chat(self, pings_per_s: float) -> None:
        """Let somebody ping at a rate, without end; the rate holds also where we are late."""
        begin = monotonic()
        for number in count():
            await asyncio.sleep(begin + number / pings_per_s - monotonic())
            content = {"msgtype": "m.text", "body": f"!ping {number}"}
            ping = make_event(f"$chat{number}", PERSON, content, self.now_ts())
            await self.say(ping, *self._answers(ping))

    async def _send(self, request: web.Request) -> web.Response:
        before = len(self.events)
        response = await super()._send(request)
        if len(self.events) > before:
            await self.say(*self._answers(self.events[before]))
        return response

    def _answers(self, ping: Event) -> list[Event]:
        ping_id, sender, sent_ts = ping["event_id"], ping["sender"], ping["origin_server_ts"]
        server = sender.partition(":")[2]
        return [
            make_event(
                f"{ping_id}-{number}", f"@echo:{name}", pong(ping_id, server, 10 + number), sent_ts
            )
            for number, name in enumerate(SERVERS)
        ]


class Torrent(ModelHomeserver):
    """Made by `async with`; so many pings with 300 pongs each, as fast as a client takes them.

    Events are made when they are asked for, since millions of them fill the memory. What the worker
    sends is not told to anybody.
    """

    def __init__(self, pings: int) -> None:
        super().__init__(TIMELINE_LIMIT)
        self.pongs = pings * len(TORRENT_SERVERS)
        self._total = pings + self.pongs

    async def _send(self, _request: web.Request) -> web.Response:
        return web.json_response({"event_id": "$untold"})

    async def _messages(self, request: web.Request) -> web.Response:
        return web.json_response({"start": request.query["from"], "chunk": []})

    async def _sync(self, request: web.Request) -> web.Response:
        since = int(request.query.get("since", "s0")[1:])
        end = min(since + TIMELINE_LIMIT, self._total) if "since" in request.query else 0
        if since == self._total:
            await asyncio.sleep(int(request.query["timeout"]) / 1000)
        events = [self._make(number) for number in range(since, end)]
        return web.json_response(make_sync(events, since, limited=False))

    def _make(self, number: int) -> Event:
        ping, answer = divmod(number, len(TORRENT_SERVERS) + 1)
        now_ts = time.time_ns() // 1_000_000
        if answer == 0:
            content = {"msgtype": "m.text", "body": f"!ping {ping}"}
            return make_event(f"$ping{ping}", PERSON, content, now_ts)
        content = pong(f"$ping{ping}", PERSON.partition(":")[2], answer)
        sender = f"@echo:{TORRENT_SERVERS[answer - 1]}"
        return make_event(f"$pong{ping}-{answer}", sender, content, now_ts)
