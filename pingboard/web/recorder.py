"""Tells a response that can be kept from one that can't, on its way out."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import Message, Send


class Recorder:
    """Holds a response back until it is known to be one that can be kept; else passes it on."""

    def __init__(self, send: Send, method: str, land: Callable[[], None]) -> None:
        self._send = send
        self._method = method
        self._land = land
        self.start: Message = {}
        self.body = b""
        self.passed_on = False
        self.is_uncacheable = False
        """a success that says no-store or is a stream: its path is not worth waiting for"""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.start = message
            headers = dict(message["headers"])
            # A stream has no length; its start must not wait for its first part.
            is_kept = b"content-length" in headers
            is_kept &= b"no-store" not in headers.get(b"cache-control", b"")
            self.is_uncacheable = message["status"] == 200 and not is_kept
            self.passed_on = message["status"] != 200 or not is_kept
        if self.passed_on:
            await self._pass_on(message)
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")

    async def give_up(self) -> None:
        """Send what was held back as it is."""
        if not self.passed_on:
            self.passed_on = True
            await self._pass_on(self.start)
            await self._pass_on({"type": "http.response.body", "body": self.body})

    async def _pass_on(self, message: Message) -> None:
        self._land()
        if self._method == "HEAD" and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await self._send(message)
