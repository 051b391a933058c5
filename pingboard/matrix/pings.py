"""Our own pings: sending them, and which of their pongs measure a round trip.

Each sync response shows that all of what came to our homeserver before it was told to us. So two
responses less than `MAX_STALL_S` apart bound how late anything in the second can be, whoever was
held up: our homeserver, the network, or we ourselves. While pongs are awaited, syncs are therefore
held so briefly that a longer pause is a stall; then the ping is void from there on.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from pingboard.matrix import clock
from pingboard.matrix.protocol import ping_content
from pingboard.matrix.retry import Outage
from pingboard.matrix.session import REFUSED_STATES, Session
from pingboard.matrix.store_writer import Writer
from pingboard.matrix.sync import HOLD_MS, MAX_STALL_S, SyncBatch
from pingboard.model import (
    PONG_TIMEOUT_MS,
    EncryptedRoomError,
    HomeserverError,
    Ping,
    RateLimitedError,
    RoomState,
    VoidReason,
)
from pingboard.store.rooms import record_room_state

JITTER = 0.2
"""A pause is the interval, give or take this share of it, so that rounds don't beat in time with
other workers' or with anything periodic on a homeserver."""

REPEATS_S = (1.0, 4.0, 15.0)
"""Pauses before a send whose fate is not known is repeated, with the same transaction ID."""

MAY_PAUSE_S = 1.0
"""How often it is asked whether we may ping, where we may not."""

DENIED_PAUSE_S = 600.0
"""How long a room that does not let us send is left alone."""

WATCH_HOLD_MS = 500
"""How long it may hold a sync open while pongs are awaited: half of `MAX_STALL_S`; the other half
is for the answer."""

WATCH_S = 10.0
"""So long after a ping anybody's pong is awaited; of servers that answered lately, longer."""

RECENT_PINGS = 3
"""A server that answered one of so many pings before is awaited until a pong is too late."""

_STALL_NS = round(MAX_STALL_S * 1e9)
_WATCH_NS = round(WATCH_S * 1e9)
_TIMEOUT_NS = PONG_TIMEOUT_MS * 1_000_000

log = structlog.get_logger()


@dataclass(slots=True)
class SentPing:
    """A ping of ours on its way."""

    room_id: str
    on_void: Callable[[SentPing, VoidReason], None]
    """told once, when it turns out to be void"""
    sent_ns: int = 0
    """`clock.now_ns()` just before the request"""
    was_tried: bool = False
    """whether a request was made that may have sent it"""
    awaited: set[str] = field(default_factory=set)
    """the servers that answered lately, and have not answered this one"""
    answered: set[str] = field(default_factory=set)
    void: VoidReason | None = None
    """why it yields no round trips; None while it does"""
    silent_ns: int | None = None
    """no arrival after it is a measurement: 0 where none ever is"""
    ping: Ping | None = None
    """the event, once it was seen in the room or found in its history"""
    appeared_ns: int | None = None
    """`clock.now_ns()` of its arrival, if it was seen to arrive"""
    is_expected: bool = False
    """whether the store was told who should answer it"""
    send_ended: asyncio.Event = field(default_factory=asyncio.Event)

    def stamp(self) -> None:
        """Note that it is sent now."""
        self.was_tried = True
        self.sent_ns = clock.now_ns()

    def give_up(self, reason: VoidReason, since_ns: int = 0) -> None:
        """Make it void; what arrived until `since_ns` stands. The first reason counts."""
        if self.void is None:
            self.void = reason
            self.on_void(self, reason)
        self.be_silent(since_ns)

    def be_silent(self, since_ns: int) -> None:
        """Measure nothing that arrives after that."""
        self.silent_ns = since_ns if self.silent_ns is None else min(self.silent_ns, since_ns)

    def appear(self, ping: Ping, arrived_ns: int | None) -> None:
        """Note that it was seen in the room, or (None) found in its history.

        A homeserver can tell an event twice; only the first time counts.
        """
        if self.ping is not None:
            return
        self.ping, self.appeared_ns = ping, arrived_ns
        if arrived_ns is None:
            self.give_up(VoidReason.MISSED)
        else:
            self.void_if_late(arrived_ns)

    def void_if_late(self, now_ns: int) -> None:
        """Give its round trips up where our own homeserver took too long over it."""
        if now_ns - self.sent_ns >= _STALL_NS:
            self.give_up(VoidReason.SLOW)

    def answer(self, server: str) -> None:
        """Note that a server has answered."""
        self.answered.add(server)
        self.awaited.discard(server)

    def is_watched(self, now_ns: int) -> bool:
        """Whether pongs are awaited that would measure something."""
        age_ns = now_ns - self.sent_ns
        if not self.was_tried or self.silent_ns is not None or age_ns >= _TIMEOUT_NS:
            return False
        return bool(self.awaited) or age_ns < _WATCH_NS

    def round_trip_ms(self, arrived_ns: int) -> int | None:
        """From our send to a pong's arrival; None where something may have lengthened it."""
        if self.silent_ns is not None and arrived_ns > self.silent_ns:
            return None
        return round((arrived_ns - self.sent_ns) / 1e6)


class SentPings:
    """Every ping of ours until no pong can count any more, of all rooms."""

    def __init__(self) -> None:
        self._pings: dict[str, SentPing] = {}
        """by transaction ID, the oldest first"""
        self._by_event: dict[str, SentPing] = {}
        self._recent: dict[str, deque[SentPing]] = defaultdict(lambda: deque(maxlen=RECENT_PINGS))
        self._void_counts: Counter[VoidReason] = Counter()
        self._unexpected: list[Ping] = []
        self._heard_ns = 0
        """when the last sync response arrived"""

    def begin(self, room_id: str, tx_id: str) -> SentPing:
        """Note that a ping is about to be sent."""
        self._forget_old()
        recent = self._recent[room_id]
        awaited = {server for ping in recent for server in ping.answered}
        ping = SentPing(room_id, self._note_void, clock.now_ns(), awaited=awaited)
        recent.append(ping)
        self._pings[tx_id] = ping
        return ping

    def name(self, ping: SentPing, event_id: str) -> None:
        """Note the event ID that our homeserver gave it."""
        self._by_event[event_id] = ping

    def find(self, event_id: str, tx_id: str | None = None) -> SentPing | None:
        """Find the ping of an event; None for one that this process did not send.

        Not every homeserver tells the transaction ID in a sync.
        """
        ping = self._by_event.get(event_id)
        if ping is None and tx_id is not None:
            ping = self._pings.get(tx_id)
            if ping is not None:
                self.name(ping, event_id)
        return ping

    async def wait_for_sends(self, room_id: str) -> None:
        """Wait for the event IDs of what is being sent to a room, while they can matter.

        A homeserver may tell an event in a sync before it answers the send.
        """
        for ping in list(self._pings.values()):
            is_sending = ping.was_tried and not ping.send_ended.is_set()
            if ping.room_id != room_id or not is_sending or ping.void is not None:
                continue
            left_s = MAX_STALL_S - (clock.now_ns() - ping.sent_ns) / 1e9
            try:
                async with asyncio.timeout(max(left_s, 0.0)):
                    await ping.send_ended.wait()
            except TimeoutError:
                ping.void_if_late(clock.now_ns())

    def hear(self, sync: SyncBatch) -> None:
        """Find out from a response's arrival whether anything was held up before it."""
        # Those under way at the response before: the silence since may have outlasted them.
        for ping in self._under_way(self._heard_ns):
            since_ns = max(self._heard_ns, ping.sent_ns)
            if sync.arrived_ns - since_ns < _STALL_NS:
                continue
            # Where all have answered that should, nothing is spoilt.
            if ping.is_watched(since_ns) and (ping.awaited or not ping.answered):
                ping.give_up(VoidReason.STALLED, since_ns)
            else:
                ping.be_silent(since_ns)
        self._heard_ns = sync.arrived_ns

    def hold_ms(self) -> int:
        """Return how long our homeserver may hold the next sync open while nothing happens."""
        now_ns = clock.now_ns()
        if any(ping.is_watched(now_ns) for ping in self._pings.values()):
            return WATCH_HOLD_MS
        # In a sync that is held for long no stall can be seen: what still comes is not measured.
        for ping in self._under_way(now_ns):
            ping.be_silent(now_ns)
        return HOLD_MS

    def take_void(self) -> Counter[VoidReason]:
        """Return how many pings have turned out void since this was last asked, by reason."""
        counts, self._void_counts = self._void_counts, Counter()
        return counts

    def take_unexpected(self) -> list[Ping]:
        """Return the pings that turned out void after pongs were expected of them."""
        unexpected, self._unexpected = self._unexpected, []
        return unexpected

    def _note_void(self, ping: SentPing, reason: VoidReason) -> None:
        self._void_counts[reason] += 1
        if ping.is_expected and ping.ping is not None:
            self._unexpected.append(ping.ping)

    def _under_way(self, now_ns: int) -> list[SentPing]:
        return [
            ping
            for ping in self._pings.values()
            if ping.was_tried and now_ns - ping.sent_ns < _TIMEOUT_NS
        ]

    def _forget_old(self) -> None:
        # Until a response tells what became of them, however long that takes.
        oldest_ns = self._heard_ns - 2 * _TIMEOUT_NS
        self._pings = {
            tx_id: ping for tx_id, ping in self._pings.items() if ping.sent_ns >= oldest_ns
        }
        kept = set(map(id, self._pings.values()))
        self._by_event = {
            event_id: ping for event_id, ping in self._by_event.items() if id(ping) in kept
        }


class Pinger:
    """Pings rooms at an interval; `may_ping` is asked before each ping."""

    def __init__(
        self,
        session: Session,
        pings: SentPings,
        interval: timedelta,
        writer: Writer,
        may_ping: Callable[[], bool],
    ) -> None:
        self._session = session
        self._pings = pings
        self._interval_s = interval.total_seconds()
        self._writer = writer
        self._may_ping = may_ping
        self._denied: dict[str, RoomState] = {}
        self._outages: dict[str, Outage] = {}
        self._unanswered: Counter[str] = Counter()
        """how many pings of a room our homeserver did not answer, the last ones in a row"""
        self._send_outage = Outage(
            "pings are not answered, though syncs are", "pings are answered again"
        )
        self._heard_rooms: frozenset[str] = frozenset()
        self._heard = asyncio.Condition()
        self._is_answering = False

    async def hear(self, sync: SyncBatch) -> None:
        """Note that our homeserver has answered a sync: it can be pinged through, again."""
        if self._is_answering and sync.rooms == self._heard_rooms:
            return
        async with self._heard:
            self._is_answering, self._heard_rooms = True, sync.rooms
            self._heard.notify_all()

    def note_outage(self) -> None:
        """Note that syncs are not answered either: pings that were not have had the same fault."""
        self._unanswered.clear()

    async def run(self, room_id: str, delay_s: float = 0.0) -> None:
        """Ping a room, one ping after the other, until it is encrypted.

        It begins `delay_s` later, also after each wait for our homeserver: many rooms do not begin
        at once.
        """
        await asyncio.sleep(delay_s)
        while True:
            # A ping is only sent where its pongs are listened for. And while our homeserver is
            # away one of us knocks, the sync, ever more rarely.
            if not self._can_ping(room_id):
                async with self._heard:
                    await self._heard.wait_for(lambda: self._can_ping(room_id))
                await asyncio.sleep(delay_s)
                continue
            if not self._may_ping():
                await asyncio.sleep(MAY_PAUSE_S)
                continue
            pause_s = await self._ping(room_id)
            if self._denied.get(room_id) is RoomState.ENCRYPTED:
                return
            await asyncio.sleep(pause_s * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311

    def _can_ping(self, room_id: str) -> bool:
        return self._is_answering and room_id in self._heard_rooms

    async def _ping(self, room_id: str) -> float:
        """Send one ping; return how long to wait for the next, in seconds."""
        nonce = secrets.token_hex(4)
        tx_id = f"pingboard-{nonce}-{time.time_ns()}"
        ping = self._pings.begin(room_id, tx_id)
        try:
            event_id = await self._send(room_id, nonce, tx_id, ping)
            self._pings.name(ping, event_id)
            ping.void_if_late(clock.now_ns())
        except HomeserverError as error:
            is_limited = isinstance(error, RateLimitedError)
            ping.give_up(VoidReason.LIMITED if is_limited else VoidReason.REFUSED)
            return await self._note_refusal(room_id, error)
        finally:
            ping.send_ended.set()
        self._note_answer(room_id)
        if (outage := self._outages.pop(room_id, None)) is not None:
            outage.end()
        if self._denied.pop(room_id, None) is not None:
            await self._writer.call(record_room_state, room_id, RoomState.JOINED)
        return self._interval_s

    async def _note_refusal(self, room_id: str, error: HomeserverError) -> float:
        """Tell of a ping that was not sent; return how long to wait for the next, in seconds."""
        if error.errcode is None:
            self._note_silence(room_id, error)
            return self._interval_s
        self._note_answer(room_id)
        state = REFUSED_STATES.get(error.errcode or "")
        if isinstance(error, EncryptedRoomError):
            state = RoomState.ENCRYPTED
        if state is not None:
            if self._denied.get(room_id) is not state:
                log.error("can't ping", room_id=room_id, error=str(error))
                self._denied[room_id] = state
                await self._writer.call(record_room_state, room_id, state)
            if state is RoomState.LOCKED:  # of syncs too, and the first that is answered says so
                self._is_answering = False
                return self._interval_s
            return max(self._interval_s, DENIED_PAUSE_S)
        self._outages.setdefault(
            room_id, Outage("pings are refused", "pings are sent again", room_id=room_id)
        ).note(error)
        wished_s = error.retry_after_s if isinstance(error, RateLimitedError) else 0.0
        return max(self._interval_s, wished_s)

    def _note_silence(self, room_id: str, error: HomeserverError) -> None:
        """Note a ping that our homeserver did not answer, so that the next waits for a sync."""
        # That it is away is said by the sync, which waits for it. But where none fails between
        # three pings, two were answered, and the second was asked after the first ping: sends
        # alone fail.
        self._is_answering = False
        self._unanswered[room_id] += 1
        if self._unanswered[room_id] >= 3:
            self._send_outage.note(error)
        else:
            log.debug("ping not sent", room_id=room_id, error=str(error))

    def _note_answer(self, room_id: str) -> None:
        self._unanswered.pop(room_id, None)
        if not self._unanswered:
            self._send_outage.end()

    async def _send(self, room_id: str, nonce: str, tx_id: str, ping: SentPing) -> str:
        """Send, and repeat while it is not known whether it was sent; return the event ID.

        The transaction ID makes it one ping, however often it is sent; but when it was sent is
        then anybody's guess, so it is void.
        """
        for pause_s in REPEATS_S:
            try:
                return await self._session.send_ping(
                    room_id, ping_content(nonce), tx_id, ping.stamp
                )
            except HomeserverError as error:
                if error.errcode is not None or not ping.was_tried:
                    raise
                ping.give_up(VoidReason.RETRIED)
                log.debug("ping perhaps not sent, trying again", error=str(error))
            await asyncio.sleep(pause_s)
            if ping.ping is not None:
                return ping.ping.event_id
        return await self._session.send_ping(room_id, ping_content(nonce), tx_id, ping.stamp)
