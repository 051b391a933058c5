"""The echo bot: answers every `!ping` in its rooms as maubot/echo does.

With it a server admin joins the game: its homeserver is then ranked by everybody who pings.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from pingboard.matrix.protocol import Event, pong_content, read_answerable
from pingboard.matrix.stream import batches, position
from pingboard.model import HomeserverError, RateLimitedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pingboard.matrix.session import Session

MAX_AGE_MS = 600_000
"""An older ping gets no answer: nobody counts it any more."""

MAX_ATTEMPTS = 5

HOLD_MS = 30_000
"""How long our homeserver may hold a sync open."""

log = structlog.get_logger()


class EchoBot:
    """One account in one or more rooms; `start`, then `run` until cancelled."""

    def __init__(self, session: Session, rooms: Sequence[str]) -> None:
        self._session = session
        self._wanted_rooms = rooms
        self._rooms: list[str] = []
        self._answering: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Join the rooms; what was said in them before is not answered."""
        # The position comes first: a ping sent right after we are seen to join is answered.
        self._since = await position(self._session)
        for room in self._wanted_rooms:
            self._rooms.append(await self._session.join(room))
            log.info("answering pings", room=room)

    async def run(self) -> None:
        """Answer until cancelled; AccountError where the homeserver turns us away."""
        async for sync in batches(self._session, self._since, self._rooms, lambda: HOLD_MS):
            for timeline in sync.timelines:
                for event in timeline.events:
                    self._answer(event, timeline.room_id, sync.arrived_ts)

    def _answer(self, event: Event, room_id: str, arrived_ts: int) -> None:
        answerable = read_answerable(event, room_id, arrived_ts)
        if answerable is None or answerable.sender == self._session.user_id:
            return
        one_way_ms = arrived_ts - answerable.ping.origin_server_ts
        if one_way_ms > MAX_AGE_MS:
            return
        # Not awaited: a slow answer must not delay the arrival stamps of the next pings.
        task = asyncio.create_task(
            self._send(room_id, pong_content(answerable, one_way_ms), answerable.ping.event_id)
        )
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _send(self, room_id: str, content: Event, ping_event_id: str) -> None:
        """Send with a transaction ID of the ping: repeated after a fault, it stays one pong."""
        for _ in range(MAX_ATTEMPTS):
            try:
                await self._session.send(room_id, content, f"pong-{ping_event_id[1:]}")
            except RateLimitedError as error:
                await asyncio.sleep(error.retry_after_s)
            except HomeserverError as error:
                log.warning("pong not sent", error=str(error))
                await asyncio.sleep(1.0)
            else:
                return
