"""A person or a hostile bot: an account that calls the client-server API as it likes."""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import quote

import aiohttp
import stamina

from faults.claims import CaseError
from pingboard.lab import LabAccount

Event = dict[str, Any]


class User:
    """An account's calls. Everything that a homeserver refuses is `CaseError`."""

    def __init__(self, http: aiohttp.ClientSession, account: LabAccount) -> None:
        self._http = http
        self.account = account
        self.user_id = account.user_id
        self.server = account.user_id.partition(":")[2]
        self._headers = {"Authorization": f"Bearer {account.access_token}"}

    async def call(self, method: str, path: str, json: Any = None, **options: Any) -> Any:
        """The JSON of an answer; `path` is below `/_matrix/client/v3/`."""
        url = f"{self.account.homeserver_url}/_matrix/client/v3/{path}"
        async with self._http.request(
            method, url, json=json, headers=self._headers, **options
        ) as response:
            answer = await response.json()
            if response.status != 200:
                raise CaseError(f"{method} {path} was answered {response.status}: {answer}")
            return answer

    async def call_inside(self, method: str, path: str, **options: Any) -> Any:
        """The same, of a room that was joined.

        For a moment after a join over federation, Synapse (1.163) may have the user outside again.
        """
        async for attempt in stamina.retry_context(on=_is_outside, timeout=120, wait_max=1.0):
            with attempt:
                return await self.call(method, path, **options)
        raise AssertionError("the last attempt raises")

    async def send(self, room_id: str, content: Event) -> str:
        """Send a message; its event ID."""
        path = f"rooms/{quote(room_id)}/send/m.room.message/{uuid.uuid4()}"
        return str((await self.call_inside("PUT", path, json=content))["event_id"])

    async def ping(self, room_id: str) -> str:
        """Send a `!ping`; its event ID."""
        return await self.send(room_id, {"msgtype": "m.text", "body": "!ping"})

    async def pong(
        self, room_id: str, ping: str, ms: Any = 100, ping_server: str | None = None
    ) -> str:
        """Answer a ping, by default of our own server, truthfully or not; the pong's event ID."""
        return await self.send(room_id, pong(ping, ping_server or self.server, ms))

    async def set_state(self, room_id: str, kind: str, content: Event) -> str:
        """Set a state event with an empty key; its event ID."""
        path = f"rooms/{quote(room_id)}/state/{kind}"
        return str((await self.call("PUT", path, content))["event_id"])

    async def state(self, room_id: str, kind: str, key: str = "") -> Event:
        """The content of a state event."""
        path = f"rooms/{quote(room_id)}/state/{kind}/{quote(key)}"
        answer: Event = await self.call("GET", path)
        return answer

    async def redact(self, room_id: str, event_id: str) -> None:
        """Take an event back."""
        await self.call(
            "PUT", f"rooms/{quote(room_id)}/redact/{quote(event_id)}/{uuid.uuid4()}", {}
        )

    async def join(self, room: str, **query: str) -> None:
        """Join; on a busy machine one homeserver may give up waiting for the other."""
        async for attempt in stamina.retry_context(on=_is_not_reached, timeout=120, wait_max=5.0):
            with attempt:
                await self.call("POST", f"join/{quote(room)}", {}, params=query)

    async def create_room(self, **options: Any) -> str:
        """Make a public room; its ID."""
        request = {"preset": "public_chat", **options}
        return str((await self.call("POST", "createRoom", request))["room_id"])

    async def upgrade(self, room_id: str, version: str = "12") -> str:
        """Upgrade a room of ours; the ID of the new one."""
        path = f"rooms/{quote(room_id)}/upgrade"
        return str((await self.call("POST", path, {"new_version": version}))["replacement_room"])

    async def events(self, room_id: str) -> list[Event]:
        """All events of a room, oldest first, as its homeserver tells them now.

        Synapse on SQLite takes minutes for a page of a thousand where a room has many relations.
        """
        events: list[Event] = []
        position: str | None = None
        while True:
            parameters = {"dir": "f", "limit": "250"} | ({"from": position} if position else {})
            path = f"rooms/{quote(room_id)}/messages"
            page = await self.call_inside("GET", path, params=parameters)
            events += page["chunk"]
            position = page.get("end")
            if not page["chunk"] or position is None:
                return events


def _is_not_reached(error: Exception) -> bool:
    return isinstance(error, CaseError) and "was answered 502" in str(error)


def _is_outside(error: Exception) -> bool:
    return isinstance(error, CaseError) and "not in room" in str(error)


def pong(ping: str, ping_server: str, ms: Any) -> Event:
    """The content of a pong as maubot/echo writes it, whatever is claimed."""
    claim = {"ms": ms, "from": ping_server}
    return {
        "msgtype": "m.notice",
        "body": f"@somebody:{ping_server}: Pong! (ping took {ms} ms to arrive)",
        "pong": {**claim, "ping": ping},
        "m.relates_to": {"rel_type": "xyz.maubot.pong", "event_id": ping, **claim},
    }


def make_event(event_id: str, sender: str, content: Event, origin_server_ts: int) -> Event:
    """A message as a sync tells it."""
    return {
        "type": "m.room.message",
        "event_id": event_id,
        "sender": sender,
        "origin_server_ts": origin_server_ts,
        "content": content,
    }
