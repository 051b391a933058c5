"""An echo bot that lives in this process and answers in every room that its account is in.

Unlike `pingboard echo` it can be slow, lie, or keep silent, as a case wants.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from faults.claims import CaseError
from faults.user import Event, User

_FILTER = json.dumps(
    {
        "presence": {"types": []},
        "account_data": {"types": []},
        "room": {
            "account_data": {"types": []},
            "ephemeral": {"types": []},
            "state": {"types": []},
            "timeline": {"types": ["m.room.message"], "limit": 100},
        },
    }
)


@dataclass(slots=True)
class Manner:
    """How a bot answers in one room."""

    is_silent: bool = False
    delay_s: float = 0.0
    claim: Callable[[int], Any] = int
    """the milliseconds that it measured -> those that it claims"""


HONEST = Manner()


class Bot:
    """Answers pings until cancelled, also while its homeserver comes and goes."""

    def __init__(self, user: User) -> None:
        self.user = user
        self.manners: dict[str, Manner] = {}
        """by room ID; honest where there is none"""
        self._answers: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Answer whatever is new; what was missed while the homeserver was down included."""
        since: str | None = None
        while True:
            try:
                parameters = {"filter": _FILTER, "timeout": "20000" if since else "0"}
                parameters |= {"since": since} if since else {}
                sync = await self.user.call("GET", "sync", params=parameters)
            except (aiohttp.ClientError, TimeoutError, CaseError, ValueError):
                await asyncio.sleep(0.2)
                continue
            if since is not None:
                self._answer_all(sync)
            since = sync["next_batch"]

    def _answer_all(self, sync: Event) -> None:
        for room_id, room in sync.get("rooms", {}).get("join", {}).items():
            for event in room["timeline"]["events"]:
                body = event["content"].get("body")
                manner = self.manners.get(room_id, HONEST)
                if isinstance(body, str) and body.startswith("!ping") and not manner.is_silent:
                    answer = asyncio.create_task(self._answer(room_id, event, manner))
                    self._answers.add(answer)
                    answer.add_done_callback(self._answers.discard)

    async def _answer(self, room_id: str, event: Event, manner: Manner) -> None:
        took_ms = time.time_ns() // 1_000_000 - event["origin_server_ts"]
        await asyncio.sleep(manner.delay_s)
        ping_server = event["sender"].partition(":")[2]
        claimed = manner.claim(took_ms)
        try:
            await self.user.pong(room_id, event["event_id"], claimed, ping_server)
        except (aiohttp.ClientError, TimeoutError, CaseError):
            return  # a bot whose homeserver fails drops the pong
