"""The echo bot: answers every `!ping` in its rooms as maubot/echo does.

With it a server admin joins the game: its homeserver is then ranked by everybody who pings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from pingboard.matrix.protocol import Event, is_join_of, pong_content, read_answerable
from pingboard.matrix.retry import Outage, retry_until_answered
from pingboard.matrix.session import Session
from pingboard.matrix.sync import HOLD_MS, SyncBatch, read_position, sync_batches
from pingboard.model import (
    PONG_TIMEOUT_MS,
    EncryptedRoomError,
    HomeserverError,
    PingboardError,
    RateLimitedError,
)

MAX_ATTEMPTS = 5

log = structlog.get_logger()


class EchoBot:
    """One account in one or more rooms; `run` until cancelled.

    A room that can't be joined yet is tried again. One that is encrypted, or that the bot is
    removed from, is done with; without any room left the bot ends.
    """

    def __init__(self, session: Session, rooms: Sequence[str]) -> None:
        self._session = session
        self._configured = rooms
        self._joining = set(rooms)
        self._rooms: list[str] = []
        self._is_changed = asyncio.Event()
        self._answering: set[asyncio.Task[None]] = set()
        self._outage = Outage("pongs are not sent", "pongs are sent again")

    async def run(self) -> None:
        """Answer until cancelled; AccountError where the homeserver turns us away.

        What was said in a room before the bot joined it is not answered.
        """
        # The position comes first: a ping sent right after we are seen to join is answered.
        self._since = await read_position(self._session)
        try:
            async with asyncio.TaskGroup() as tasks:
                for room in self._configured:
                    tasks.create_task(self._join(room))
                tasks.create_task(self._keep_listening())
        except* PingboardError as errors:
            raise errors.exceptions[0] from None

    async def _join(self, room: str) -> None:
        room_id = await retry_until_answered(
            lambda: self._session.join(room), waiting_for=f"to join {room}"
        )
        is_encrypted = await retry_until_answered(lambda: self._session.is_encrypted(room_id))
        self._joining.discard(room)
        if is_encrypted:
            self._drop(room_id, "the room is encrypted, so no ping can be read or answered there")
        else:
            self._rooms.append(room_id)
            self._is_changed.set()
            log.info("answering pings", room=room)

    def _drop(self, room_id: str, why: str) -> None:
        log.error(why, room_id=room_id)
        if room_id in self._rooms:
            self._rooms.remove(room_id)
        if not self._rooms and not self._joining:
            raise PingboardError("no room of PINGBOARD_ROOMS is left to answer pings in")

    async def _keep_listening(self) -> None:
        """Ask anew when a room is joined: the sync under way would tell its pings late."""
        await self._is_changed.wait()
        while True:
            self._is_changed.clear()
            listening = asyncio.create_task(self._listen())
            changing = asyncio.create_task(self._is_changed.wait())
            try:
                await asyncio.wait({listening, changing}, return_when=asyncio.FIRST_COMPLETED)
                if listening.done():
                    listening.result()
            finally:
                listening.cancel()
                changing.cancel()
                await asyncio.gather(listening, changing, return_exceptions=True)

    async def _listen(self) -> None:
        async for sync in sync_batches(self._session, self._since, self._rooms, lambda: HOLD_MS):
            self._hear(sync)
            for room_id in sync.left_rooms:
                self._drop(room_id, "removed from the room; invite the bot again and restart it")
            for room_id in list(self._rooms):
                if await self._session.is_encrypted(room_id):
                    self._drop(room_id, "the room became encrypted, so no ping can be read there")
            self._since = sync.next_batch

    def _hear(self, sync: SyncBatch) -> None:
        for timeline in sync.timelines:
            for event in _since_join(timeline.events, self._session.user_id):
                self._answer(event, timeline.room_id, sync.arrived_ts)

    def _answer(self, event: Event, room_id: str, arrived_ts: int) -> None:
        answerable = read_answerable(event, room_id, arrived_ts)
        if answerable is None or answerable.sender == self._session.user_id:
            return
        one_way_ms = arrived_ts - answerable.ping.origin_server_ts
        if one_way_ms > PONG_TIMEOUT_MS:  # nobody counts it any more
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
            except EncryptedRoomError:
                return  # said where it is noticed
            except RateLimitedError as error:
                await asyncio.sleep(error.retry_after_s)
            except HomeserverError as error:
                self._outage.note(error)
                if error.errcode is not None:
                    return
                await asyncio.sleep(1.0)
            else:
                self._outage.end()
                return


def _since_join(events: Sequence[Event], user_id: str) -> Sequence[Event]:
    """The events after the one by which we joined, where it is among them; else all."""
    joins = [index for index, event in enumerate(events) if is_join_of(event, user_id)]
    return events[joins[-1] + 1 :] if joins else events
