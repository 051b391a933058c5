"""Tells a room when a homeserver that it watches falls silent, comes back, or changes its pace.

In: the watches of the store, and change-points. Out: a notice, at most one a day for each
homeserver of a room.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from pingboard import homeservers
from pingboard.matrix.bot import make_notice
from pingboard.model import (
    BoardName,
    HomeserverError,
    PingboardError,
    UnknownHomeserverError,
    UnknownRoomError,
    Window,
    from_ts,
    to_ts,
)
from pingboard.render.change_point import describe_change
from pingboard.store.engine import explained
from pingboard.store.watches import Watch, read_watches

if TYPE_CHECKING:
    from pingboard.boards import Boards
    from pingboard.homeservers import Change
    from pingboard.matrix.protocol import Event
    from pingboard.matrix.session import Session
    from pingboard.matrix.writer import Writer

CHECK_S = 600.0
"""Change-points are hours: to look more often would find no more."""

MIN_PAUSE = timedelta(days=1)
"""From one notice about a homeserver in a room to the next."""

log = structlog.get_logger()


class WatchBot:
    """Tells rooms about the homeservers that they watch."""

    def __init__(self, boards: Boards, writer: Writer) -> None:
        self._boards = boards
        self._writer = writer

    def hear(self, event: Event, room_id: str, user_id: str) -> None:
        """Nothing that is said in a room matters here."""

    async def run(self, session: Session) -> None:
        """Look for changes until cancelled."""
        while True:
            await asyncio.sleep(CHECK_S)
            try:
                await self.tell_due(session, from_ts(time.time_ns() // 1_000_000))
            except PingboardError as error:
                log.warning("watches not looked at", error=str(error))

    async def tell_due(self, session: Session, now: datetime) -> None:
        """Tell each room what it has not been told."""
        for watch in await asyncio.to_thread(self._read_watches):
            if now - from_ts(watch.told_ts) < MIN_PAUSE:
                continue
            change = await asyncio.to_thread(self._find_news, watch, now)
            if change is None:
                continue
            words = describe_change(change.kind, change.at, change.ratio)
            tx_id = f"pingboard-watch-{watch.homeserver}-{to_ts(change.at)}"
            try:
                await session.send(
                    watch.room_id, make_notice(f"{watch.homeserver}: {words}."), tx_id
                )
            except HomeserverError as error:
                log.warning("watch not told", room_id=watch.room_id, error=str(error))
                continue
            await self._writer.record_told(watch._replace(told_ts=to_ts(now)))

    def _read_watches(self) -> list[Watch]:
        with explained():
            return read_watches(self._boards.engine)

    def _find_news(self, watch: Watch, now: datetime) -> Change | None:
        """Return a homeserver's last change, if it is younger than what the room was told last."""
        window = Window.named("7d", now)
        try:
            with explained():
                profile = homeservers.read_profile(
                    self._boards, watch.room_id, window, watch.homeserver, now=now
                )
                board = next((name for name in BoardName if profile.places[name]), None)
                if board is None:
                    return None
                changes = homeservers.read_changes(
                    self._boards, watch.room_id, window, watch.homeserver, board
                )
        except (UnknownHomeserverError, UnknownRoomError):
            return None
        return changes[-1] if changes and to_ts(changes[-1].at) > watch.told_ts else None
