"""A client to send pings with, in the lab of this test run."""

import asyncio
from collections import defaultdict
from contextlib import suppress

import aiohttp
import pytest

from faults.user import User
from pingboard.lab import Lab, LabAccount


class Client(User):
    """Sends a ping and sees the pongs come in, as one account."""

    def __init__(self, http: aiohttp.ClientSession, account: LabAccount, room_id: str) -> None:
        super().__init__(http, account)
        self._room_id = room_id
        self._since: str | None = None
        self._pongs: defaultdict[str, set[str]] = defaultdict(set)

    async def send_ping(self) -> str:
        await self._see_new_events(wait_ms=0)
        return await self.ping(self._room_id)

    async def seconds_to_pongs(self, *pong_servers: str) -> dict[str, float]:
        """Ping until these have answered; seconds from the send to each server's pong."""
        clock = asyncio.get_running_loop().time
        sent_at = clock()
        ping = await self.send_ping()
        seconds: dict[str, float] = {}
        for count in range(1, len(pong_servers) + 1):
            answered = await self.answers(ping, count)
            seconds |= dict.fromkeys(answered - seconds.keys(), clock() - sent_at)
        return seconds

    async def answers(self, ping: str, count: int, within_s: float = 120) -> set[str]:
        """Who has answered this ping, once it is so many or the time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while len(self._pongs[ping]) < count:
                    await self._see_new_events(wait_ms=30_000)
        return set(self._pongs[ping])

    async def _see_new_events(self, wait_ms: int) -> None:
        parameters = {"timeout": str(wait_ms)} | ({"since": self._since} if self._since else {})
        answer = await self.call("GET", "sync", params=parameters)
        self._since = answer["next_batch"]
        room = answer.get("rooms", {}).get("join", {}).get(self._room_id, {})
        for event in room.get("timeline", {}).get("events", []):
            if pong := event["content"].get("pong"):
                self._pongs[pong["ping"]].add(event["sender"].partition(":")[2])


@pytest.fixture
async def owner(lab: Lab, http: aiohttp.ClientSession) -> Client:
    """A client of the room's owner, on hs1."""
    return Client(http, lab.owner, lab.room_id)
