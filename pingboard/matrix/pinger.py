"""Sends pings, and knows when each was sent: the start of every round trip.

A ping whose send was delayed is void: its round trips would be inflated for every pong server
alike, so they are no samples.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from pingboard.matrix.protocol import ping_content
from pingboard.model import PONG_TIMEOUT_MS, HomeserverError, RateLimitedError

if TYPE_CHECKING:
    from datetime import timedelta

    from pingboard.matrix.session import Session

JITTER = 0.2
"""A pause is the interval, give or take this share of it, so that rounds don't beat in time with
other workers' or with anything periodic on a homeserver."""

STALL_S = 2.0
"""Our own homeserver answers a send, and shows us the ping, well within this when it is well."""

log = structlog.get_logger()


@dataclass(slots=True)
class SentPing:
    """A ping of ours on its way."""

    sent_ns: int
    """`time.monotonic_ns()` just before the request"""
    sent_ts: int
    """the same moment by the wall clock, ms since the epoch"""
    void: bool = False

    def void_if_stalled(self, now_ns: int) -> None:
        """Give its round trips up where our own homeserver took too long over it."""
        self.void = self.void or now_ns - self.sent_ns > STALL_S * 1e9


class Pinger:
    """Pings rooms at an interval, and remembers each ping until no pong can count any more."""

    def __init__(self, session: Session, interval: timedelta) -> None:
        self._session = session
        self._interval_s = interval.total_seconds()
        self._sent: dict[str, SentPing] = {}

    def sent(self, tx_id: str) -> SentPing | None:
        """The ping of a transaction ID; None for one that this process did not send."""
        return self._sent.get(tx_id)

    async def run(self, room_id: str) -> None:
        """Ping a room, one ping after the other, without end."""
        while True:
            pause_s = await self._ping(room_id)
            await asyncio.sleep(pause_s * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311

    async def _ping(self, room_id: str) -> float:
        """Send one ping; return how long to wait for the next, in seconds."""
        self._forget_old()
        nonce = secrets.token_hex(4)
        tx_id = f"pingboard-{nonce}-{time.time_ns()}"
        ping = self._sent[tx_id] = SentPing(time.monotonic_ns(), time.time_ns() // 1_000_000)
        try:
            await self._session.send(room_id, ping_content(nonce), tx_id)
        except HomeserverError as error:
            ping.void = True
            log.warning("ping not sent", room=room_id, error=str(error))
            wished = error.retry_after_s if isinstance(error, RateLimitedError) else 0.0
            return max(self._interval_s, wished)
        ping.void_if_stalled(time.monotonic_ns())
        return self._interval_s

    def _forget_old(self) -> None:
        oldest_ns = time.monotonic_ns() - 2 * PONG_TIMEOUT_MS * 1_000_000
        for tx_id in [tx_id for tx_id, ping in self._sent.items() if ping.sent_ns < oldest_ns]:
            del self._sent[tx_id]
