"""Makes the editions that are due, and tells the room of them if it shall."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog

from pingboard import editions
from pingboard.matrix import replies
from pingboard.model import HomeserverError, PingboardError, from_ts
from pingboard.store.engine import explained

if TYPE_CHECKING:
    from datetime import datetime

    from pingboard.boards import Boards
    from pingboard.matrix.protocol import Event
    from pingboard.matrix.session import Session
    from pingboard.matrix.writer import Writer
    from pingboard.schedule import Schedule
    from pingboard.store.editions import Edition

CHECK_S = 60.0
"""Also before the first look: by then a worker that was down knows which gaps it has to fill."""

NEWS = timedelta(days=1)
"""An edition that is made up later is announced no more."""

log = structlog.get_logger()


class Press:
    """Looks every minute whether an edition is due."""

    def __init__(
        self, boards: Boards, writer: Writer, schedule: Schedule, *, announces: bool
    ) -> None:
        self._boards = boards
        self._writer = writer
        self._schedule = schedule
        self._announces = announces
        self._silent: set[str] = set()
        """weeks in which nothing was heard"""

    def hear(self, event: Event, room_id: str, user_id: str) -> None:
        """Nothing that is said in a room matters here."""

    async def run(self, session: Session) -> None:
        """Make editions until cancelled."""
        while True:
            await asyncio.sleep(CHECK_S)
            try:
                await self.make_due(session, _now())
            except PingboardError as error:
                log.warning("no edition", error=str(error))

    async def make_due(self, session: Session | None, now: datetime) -> None:
        """Make each edition that is due, the oldest first."""
        for name, close in await asyncio.to_thread(self._due, now):
            if name in self._silent:
                continue
            made = await asyncio.to_thread(self._make, name, close)
            if made is None:
                self._silent.add(name)
                continue
            await self._writer.record_edition(made)
            log.info("edition closed", edition=name)
            if self._announces and session is not None and now - close < NEWS:
                await self._announce(session, made)

    def _due(self, now: datetime) -> list[tuple[str, datetime]]:
        with explained():
            return editions.due(self._boards.engine, self._schedule, now)

    def _make(self, name: str, close: datetime) -> Edition | None:
        with explained():
            return editions.make(self._boards, name, close)

    async def _announce(self, session: Session, edition: Edition) -> None:
        for room in json.loads(edition.json)["rooms"]:
            best: dict[str, Any] = next(iter(room["boards"].values()))
            content = replies.announcement(edition.name, best["standings"])
            try:
                await session.send(room["id"], content, f"pingboard-edition-{edition.name}")
            except HomeserverError as error:
                log.warning("edition not announced", room_id=room["id"], error=str(error))


def _now() -> datetime:
    return from_ts(time.time_ns() // 1_000_000)
