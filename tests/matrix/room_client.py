"""A member of the lab's room who can do what a member can: for tests of what we make of it."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import aiohttp

from pingboard.lab import Homeserver, Lab, LabAccount


class Member:
    """One account, through the client-server API alone."""

    def __init__(self, http: aiohttp.ClientSession, account: LabAccount) -> None:
        self._http = http
        self.account = account
        self.server = account.user_id.partition(":")[2]

    async def call(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        """A call below `/_matrix/client/v3/`; anything but success is an error."""
        async with self._http.request(
            method,
            f"{self.account.homeserver_url}/_matrix/client/v3/{path}",
            headers={"Authorization": f"Bearer {self.account.access_token}"},
            json=body if method != "GET" else None,
        ) as response:
            answer: dict[str, Any] = await response.json()
            assert response.status == 200, (path, answer)
            return answer

    async def join(self, room: str) -> str:
        return str((await self.call("POST", f"join/{room.replace('#', '%23')}"))["room_id"])

    async def send(self, room_id: str, content: dict[str, Any]) -> str:
        path = f"rooms/{room_id}/send/m.room.message/{uuid.uuid4()}"
        return str((await self.call("PUT", path, **content))["event_id"])

    async def ping(self, room_id: str) -> str:
        return await self.send(room_id, {"msgtype": "m.text", "body": "!ping"})

    async def pong(self, room_id: str, ping: str, ms: Any = 100, **claims: Any) -> str:
        block = {"ms": ms, "from": self.server, "ping": ping, **claims}
        return await self.send(room_id, {"msgtype": "m.notice", "body": "pong", "pong": block})

    async def redact(self, room_id: str, event_id: str) -> None:
        await self.call("PUT", f"rooms/{room_id}/redact/{event_id}/{uuid.uuid4()}")

    async def create_room(self, **options: Any) -> str:
        answer = await self.call("POST", "createRoom", preset="public_chat", **options)
        return str(answer["room_id"])

    async def state(self, room_id: str, kind: str, key: str = "", **content: Any) -> str:
        answer = await self.call("PUT", f"rooms/{room_id}/state/{kind}/{key}", **content)
        return str(answer["event_id"])


async def new_member(
    http: aiohttp.ClientSession, lab: Lab, homeserver: Homeserver | None = None
) -> Member:
    """A new account, by default on hs1."""
    name = f"member-{uuid.uuid4().hex[:8]}"
    return Member(http, await lab.register(homeserver or lab.homeservers[0], name))


async def until(check: Any, within_s: float = 160) -> Any:
    """Ask again until the answer is true; the last answer in the error."""
    answer = None
    try:
        async with asyncio.timeout(within_s):
            while not (answer := check()):  # noqa: ASYNC110 (another task decides)
                await asyncio.sleep(0.1)
            return answer
    except TimeoutError:
        raise AssertionError(f"not within {within_s} s; the last answer: {answer!r}") from None
