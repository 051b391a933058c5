"""A homeserver that knows the true round trips: rooms whose bots answer, served over real HTTP.

It gives what a worker asks for, in the shapes of the client-server API. The truth of a pong is the
time from the receipt of our ping to the moment at which the pong could first be told.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Self

from aiohttp import web

from faults.model_homeserver import USER_ID, ModelHomeserver, make_room_sync
from faults.user import Event, make_event

HOMESERVER = USER_ID.partition(":")[2]
SERVERS = [f"s{number}.example" for number in range(20)]
LIAR = "liar.example"
INVENTED_PONGS = 10
LOOKUP_S = 0.02

FASTEST_S, APART_S = 0.02, 0.015
"""How long the fastest server takes, and each next one more; give or take a tenth."""

ROUND_S = 0.35
"""After it the last server has answered."""

STALL_S = 3.0
GOLDEN = 0.618
"""Multiples of it, without their whole part, are spread evenly over 0 to 1."""


class TrueHomeserver(ModelHomeserver):
    """Made by `async with`; serves on a free port of the loopback interface.

    `lies` adds a server that answers ten invented pings after each ping; `stalls` holds syncs up
    for 3 s during every other round, each time at another phase of it.
    """

    def __init__(self, rooms: int, *, lies: bool = False, stalls: bool = False) -> None:
        super().__init__()
        self.rooms = [f"!room{number}:{HOMESERVER}" for number in range(rooms)]
        self.pings = 0
        self.truth_ms: dict[tuple[str, str], float] = {}
        """by the ping's event ID and the pong's server"""
        self._lies, self._stalls = lies, stalls
        self._stall = (0.0, 0.0)
        self._stream: list[tuple[str, Event]] = []
        self._chance = random.Random(1)
        self._answering = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._answering.__aenter__()
        return await super().__aenter__()

    async def __aexit__(self, *error: object) -> None:
        await super().__aexit__(*error)
        await self._answering.__aexit__(None, None, None)

    async def _join(self, request: web.Request) -> web.Response:
        return web.json_response({"room_id": request.match_info["room"]})

    async def _members(self, _request: web.Request) -> web.Response:
        users = [USER_ID, *(f"@echo:{server}" for server in SERVERS)]
        return web.json_response({"joined": {user: {} for user in users}})

    async def _event(self, request: web.Request) -> web.Response:
        await asyncio.sleep(LOOKUP_S)
        return await self._absent(request)

    async def _messages(self, request: web.Request) -> web.Response:
        return web.json_response({"start": request.query["from"], "chunk": []})

    async def _send(self, request: web.Request) -> web.Response:
        received = time.monotonic()
        room_id, content = request.match_info["room"], await request.json()
        self.pings += 1
        event_id = f"$ping{self.pings}"
        if self._stalls and self.pings % 2 == 0:
            begin = received + self.pings * GOLDEN % 1 * ROUND_S
            self._stall = (begin, begin + STALL_S)
        await self._say(room_id, event_id, HOMESERVER, content)
        for number, server in enumerate(SERVERS):
            delay_s = (FASTEST_S + number * APART_S) * self._chance.uniform(0.9, 1.1)
            pong = self._pong(room_id, event_id, server, received, delay_s)
            self._answering.create_task(pong)
        if self._lies:
            for number in range(INVENTED_PONGS):
                invented = _make_pong(f"$invented{self.pings}-{number}")
                await self._say(room_id, f"{event_id}-lie{number}", LIAR, invented)
        return web.json_response({"event_id": event_id})

    async def _pong(
        self, room_id: str, ping: str, server: str, received: float, delay_s: float
    ) -> None:
        await asyncio.sleep(delay_s)
        self.truth_ms[ping, server] = (time.monotonic() - received) * 1e3
        await self._say(room_id, f"{ping}-{server}", server, _make_pong(ping))

    async def _say(self, room_id: str, event_id: str, server: str, content: Event) -> None:
        sender = USER_ID if server == HOMESERVER else f"@echo:{server}"
        event = make_event(event_id, sender, content, time.time_ns() // 1_000_000)
        async with self._grown:
            self._stream.append((room_id, event))
            self._grown.notify_all()

    async def _sync(self, request: web.Request) -> web.Response:
        if "since" not in request.query:
            return web.json_response(self._tell(len(self._stream), is_first=True))
        since = int(request.query["since"])
        async with self._grown:
            try:
                async with asyncio.timeout(int(request.query["timeout"]) / 1000):
                    await self._grown.wait_for(lambda: len(self._stream) > since)
            except TimeoutError:
                pass
        begin, end = self._stall
        now = time.monotonic()
        if begin <= now < end:
            await asyncio.sleep(end - now)
        return web.json_response(self._tell(since))

    def _tell(self, since: int, *, is_first: bool = False) -> Event:
        new: dict[str, list[Event]] = {room_id: [] for room_id in self.rooms if is_first}
        for room_id, event in self._stream[since:]:
            new.setdefault(room_id, []).append(event)
        joined = {
            room_id: make_room_sync(events, str(since), limited=is_first)
            for room_id, events in new.items()
        }
        rooms = {"join": joined, "invite": {}, "leave": {}}
        return {"next_batch": str(len(self._stream)), "rooms": rooms}


def _make_pong(ping: str) -> Event:
    block = {"ms": 10, "from": HOMESERVER, "ping": ping}
    return {"msgtype": "m.notice", "body": "pong", "pong": block}
