"""A member of a real room, for tests of what we make of what it says."""

from __future__ import annotations

from typing import Any

from faults.user import User


class Member(User):
    """Its pongs are the block alone: with a relation, Synapse takes them only for events it has."""

    async def pong(
        self, room_id: str, ping: str, ms: Any = 100, ping_server: str | None = None
    ) -> str:
        block = {"ms": ms, "from": ping_server or self.server, "ping": ping}
        return await self.send(room_id, {"msgtype": "m.notice", "body": "pong", "pong": block})
