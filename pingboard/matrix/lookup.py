"""Look up the pings that pending pongs name: in the store, then by asking our homeserver.

A few at a time, beside receiving and recording: whoever invents pings delays nobody's pong.
"""

from __future__ import annotations

import asyncio
import functools
from collections import OrderedDict
from typing import TYPE_CHECKING

from pingboard.matrix import clock
from pingboard.matrix.protocol import read_redacted_ping
from pingboard.matrix.retry import Outage
from pingboard.model import Batch, HomeserverError, Ping

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from pingboard.matrix.backfill import Judge
    from pingboard.matrix.pongs import PongMatcher
    from pingboard.matrix.protocol import Event
    from pingboard.matrix.session import Session
    from pingboard.matrix.store_writer import Writer

PAUSE_S = 1.0
"""Between lookups. Most pongs that come before their ping have it before the first."""

MAX_LOOKUPS = 5
"""Pings of a room that our homeserver is asked for at once."""

MAX_LAST_LOOKUPS = 100
"""The same once a gap is closed, when nothing else can bring them any more."""

MAX_FOUND = 500
"""Pings of a room that are looked for in the store at once."""

MAX_ASKED = 10_000
"""Pings remembered that it was asked for: nobody makes us ask for the same again and again."""


class PingLookup:
    """One for all rooms of a worker. `record` commits what a lookup decides."""

    def __init__(
        self,
        session: Session,
        writer: Writer,
        pongs: PongMatcher,
        record: Callable[[Judge], Awaitable[Batch]],
    ) -> None:
        self._session = session
        self._writer = writer
        self._pongs = pongs
        self._record = record
        self._outage = Outage("pings can't be looked up", "pings are looked up again")
        self._asked: OrderedDict[tuple[str, str], None] = OrderedDict()

    async def run(self) -> None:
        """Look up what is pending without end."""
        while True:
            await asyncio.sleep(PAUSE_S)
            for room_id in self._pongs.pending.rooms():
                pings = self._pongs.pending.pings(room_id)
                new = [ping for ping in pings if (room_id, ping) not in self._asked]
                await self._look_up(room_id, new, MAX_LOOKUPS)

    async def finish_room(self, room_id: str) -> bool:
        """Look up what is pending in a room whose gaps are closed, and decide it.

        False where our homeserver can't be asked just now.
        """
        return await self._look_up(room_id, self._pongs.pending.pings(room_id), MAX_LAST_LOOKUPS)

    async def _look_up(self, room_id: str, event_ids: Sequence[str], limit: int) -> bool:
        """Find out what these events are, and judge the pongs that name them.

        Our homeserver is asked for at most so many; False where it can't be.
        """
        if not event_ids:
            return True
        pings = await self._writer.find_pings(room_id, event_ids[:MAX_FOUND])
        events: dict[str, Event] = {}
        is_answered = True
        for event_id in [name for name in event_ids if name not in pings][:limit]:
            try:
                event = await self._session.event(room_id, event_id)
            except HomeserverError as error:
                self._outage.note(error)
                is_answered = False
                break
            self._outage.end()
            self._remember(room_id, event_id)
            if event is not None:
                events[event_id] = event
        if pings or events:
            stored = list(pings.values())
            await self._record(functools.partial(self._judge, room_id, stored, events))
        return is_answered

    async def _judge(self, room_id: str, pings: list[Ping], events: dict[str, Event]) -> Batch:
        self._pongs.learn(pings)
        now_ts = clock.now_ts()
        history = self._pongs.read_history(events.values(), room_id, now_ts)
        known = {ping.event_id for ping in history.pings}
        for event_id, event in events.items():
            redacted = read_redacted_ping(event, room_id, now_ts)
            if redacted is not None:
                self._pongs.learn([redacted])
            elif event_id not in known:
                self._pongs.learn_no_ping(room_id, event_id)
        return self._pongs.judge(self._pongs.read_history([], room_id, now_ts))

    def _remember(self, room_id: str, event_id: str) -> None:
        self._asked[room_id, event_id] = None
        if len(self._asked) > MAX_ASKED:
            self._asked.popitem(last=False)
