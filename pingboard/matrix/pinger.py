"""Sends pings, and knows when each was sent: the start of every round trip.

A ping whose send was delayed is void: its round trips would be inflated for every pong server
alike, so they are no samples.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from pingboard.matrix import clock
from pingboard.matrix.protocol import ping_content
from pingboard.matrix.session import REFUSED_STATES
from pingboard.matrix.stream import STALL_S
from pingboard.model import (
    PONG_TIMEOUT_MS,
    EncryptedRoomError,
    HomeserverError,
    RateLimitedError,
    RoomState,
    VoidReason,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import timedelta

    from pingboard.matrix.session import Session

JITTER = 0.2
"""A pause is the interval, give or take this share of it, so that rounds don't beat in time with
other workers' or with anything periodic on a homeserver."""

REPEATS_S = (1.0, 4.0, 15.0)
"""Pauses before a send whose fate is not known is repeated, with the same transaction ID."""

DENIED_PAUSE_S = 600.0
"""How long a room that does not let us send is left alone."""

log = structlog.get_logger()


@dataclass(slots=True)
class SentPing:
    """A ping of ours on its way."""

    sent_ns: int = 0
    """`clock.now_ns()` just before the request"""
    sent_ts: int = 0
    """the same moment by the wall clock, ms since the epoch"""
    void: VoidReason | None = None
    """why it yields no round trips; None while it does"""
    was_tried: bool = False
    """whether a request was made that may have sent it"""
    has_appeared: bool = False
    """whether it was seen in the room"""
    is_told: bool = False
    """whether it was counted as void"""

    def stamp(self) -> None:
        """It is sent now."""
        self.was_tried = True
        self.sent_ns, self.sent_ts = clock.now_ns(), time.time_ns() // 1_000_000

    def give_up(self, reason: VoidReason) -> None:
        """Make it void; the first reason counts."""
        self.void = self.void or reason

    def appear(self, arrived_ns: int | None) -> None:
        """It was seen in the room at a moment, or (None) found in its history."""
        self.has_appeared = True
        if arrived_ns is None:
            self.give_up(VoidReason.MISSED)
        else:
            self.void_if_late(arrived_ns)

    def void_if_late(self, now_ns: int) -> None:
        """Give its round trips up where our own homeserver took too long over it."""
        if now_ns - self.sent_ns > STALL_S * 1e9:
            self.give_up(VoidReason.SLOW)


class Pinger:
    """Pings rooms at an interval, and remembers each ping until no pong can count any more.

    `on_state` is told when a room begins, or ceases, to let us send.
    """

    def __init__(
        self,
        session: Session,
        interval: timedelta,
        on_state: Callable[[str, RoomState], Awaitable[None]],
    ) -> None:
        self._session = session
        self._interval_s = interval.total_seconds()
        self._on_state = on_state
        self._sent: dict[str, SentPing] = {}
        self._denied: dict[str, RoomState] = {}
        self._answers = asyncio.Event()
        self._answers.set()

    def homeserver_answers(self) -> None:
        """Our homeserver has answered a sync: it can be pinged through, again."""
        self._answers.set()

    def sent(self, tx_id: str) -> SentPing | None:
        """The ping of a transaction ID; None for one that this process did not send."""
        return self._sent.get(tx_id)

    def void_all(self) -> None:
        """Our homeserver was held up: nothing that is under way measures anything else now."""
        for ping in self._sent_within(PONG_TIMEOUT_MS / 1000):
            ping.give_up(VoidReason.STALLED)

    def take_void(self) -> Counter[VoidReason]:
        """How many pings have turned out void since this was last asked, by reason."""
        untold = [one for one in self._sent.values() if one.void is not None and not one.is_told]
        for one in untold:
            one.is_told = True
        return Counter(one.void for one in untold if one.void is not None)

    def sent_within(self, seconds: float) -> bool:
        """Whether a ping was sent so lately that its pongs are still coming in."""
        return bool(self._sent_within(seconds))

    def _sent_within(self, seconds: float) -> list[SentPing]:
        since_ns = clock.now_ns() - seconds * 1e9
        return [ping for ping in self._sent.values() if ping.sent_ns >= since_ns]

    async def run(self, room_id: str) -> None:
        """Ping a room, one ping after the other, until it is encrypted."""
        while True:
            pause_s = await self._ping(room_id)
            if self._denied.get(room_id) is RoomState.ENCRYPTED:
                return
            await asyncio.sleep(pause_s * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311
            # While it is away one of us knocks, the sync, ever more rarely.
            await self._answers.wait()

    async def _ping(self, room_id: str) -> float:
        """Send one ping; return how long to wait for the next, in seconds."""
        self._forget_old()
        nonce = secrets.token_hex(4)
        tx_id = f"pingboard-{nonce}-{time.time_ns()}"
        ping = self._sent[tx_id] = SentPing(clock.now_ns())
        try:
            await self._send(room_id, nonce, tx_id, ping)
        except HomeserverError as error:
            is_limited = isinstance(error, RateLimitedError)
            ping.give_up(VoidReason.LIMITED if is_limited else VoidReason.REFUSED)
            state = REFUSED_STATES.get(error.errcode or "")
            if isinstance(error, EncryptedRoomError):
                state = RoomState.ENCRYPTED
            if state is not None:
                await self._deny(room_id, state, error)
                return max(self._interval_s, DENIED_PAUSE_S)
            log.warning("ping not sent", room_id=room_id, error=str(error))
            if error.errcode is None:
                self._answers.clear()
            wished_s = error.retry_after_s if isinstance(error, RateLimitedError) else 0.0
            return max(self._interval_s, wished_s)
        ping.void_if_late(clock.now_ns())
        if self._denied.pop(room_id, None) is not None:
            await self._on_state(room_id, RoomState.JOINED)
        return self._interval_s

    async def _send(self, room_id: str, nonce: str, tx_id: str, ping: SentPing) -> None:
        """Send, and repeat while it is not known whether it was sent.

        The transaction ID makes it one ping, however often it is sent; but when it was sent is
        then anybody's guess, so it is void.
        """
        for pause_s in REPEATS_S:
            try:
                await self._session.send_ping(room_id, ping_content(nonce), tx_id, ping.stamp)
            except HomeserverError as error:
                if error.errcode is not None or not ping.was_tried:
                    raise
                ping.give_up(VoidReason.RETRIED)
                log.warning("ping perhaps not sent, trying again", error=str(error))
            else:
                return
            await asyncio.sleep(pause_s)
            if ping.has_appeared:
                return
        await self._session.send_ping(room_id, ping_content(nonce), tx_id, ping.stamp)

    async def _deny(self, room_id: str, state: RoomState, error: HomeserverError) -> None:
        if self._denied.get(room_id) is not state:
            log.error("can't ping", room_id=room_id, error=str(error))
            self._denied[room_id] = state
            await self._on_state(room_id, state)

    def _forget_old(self) -> None:
        oldest_ns = clock.now_ns() - 2 * PONG_TIMEOUT_MS * 1_000_000
        for tx_id in [tx_id for tx_id, ping in self._sent.items() if ping.sent_ns < oldest_ns]:
            del self._sent[tx_id]
