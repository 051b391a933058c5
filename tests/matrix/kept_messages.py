"""A session without a homeserver."""

from __future__ import annotations

from typing import Any


class KeptMessages:
    """Keeps what would be sent: room IDs and contents."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []

    async def send(self, room_id: str, content: dict[str, Any], tx_id: str) -> str:
        assert content["msgtype"] == "m.notice"
        self.sent.append((room_id, content))
        return "$sent"
