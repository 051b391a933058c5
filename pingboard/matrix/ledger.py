"""Decides what counts: events of one response -> a `Batch` for the store.

Remembers the pings of the last minutes, who answered them, and the pongs whose ping is not known
yet. All of it is bounded, whatever a room sends; what is forgotten is in the store.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pingboard.matrix import clock
from pingboard.matrix.protocol import read_event, transaction_id
from pingboard.matrix.verify import is_implausible, verify
from pingboard.matrix.waiting import Waiting
from pingboard.model import (
    PONG_TIMEOUT_MS,
    Batch,
    Pending,
    Ping,
    Pong,
    Provenance,
    Rejected,
    Rejection,
    Sample,
    is_possible_time,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pingboard.matrix.members import Members
    from pingboard.matrix.pinger import SentPing
    from pingboard.matrix.protocol import Event

MAX_PINGS = 20_000
"""Pings remembered; older ones are looked up in the store."""

MAX_NO_PINGS = 1_000
"""Events remembered that are no pings, whatever pongs say."""


@dataclass(slots=True)
class KnownPing:
    """A ping, and what came of it so far."""

    ping: Ping
    sent: SentPing | None = None
    """for our own pings that this process sent"""
    arrived_ns: int | None = None
    """`clock.now_ns()` of its arrival, if it was seen to arrive"""
    answers: dict[str, str] = field(default_factory=dict)
    """pong server -> event ID of its first pong"""


@dataclass(slots=True)
class Arrived:
    """What one response brought of one room, read but not yet judged."""

    room_id: str
    provenance: Provenance
    arrived_ns: int | None = None
    """None for history: it did not arrive, it was fetched"""
    pings: list[Ping] = field(default_factory=list)
    pongs: list[Pong] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    bots: dict[str, str] = field(default_factory=dict)
    """event ID of a pong -> user ID of its sender"""


class Ledger:
    """One for all rooms of a worker."""

    def __init__(
        self,
        user_id: str,
        vantage: str,
        sent: Callable[[str], SentPing | None],
        pending: Iterable[Pending] = (),
    ) -> None:
        self._user_id = user_id
        self._vantage = vantage
        self._sent = sent
        self._known: OrderedDict[tuple[str, str], KnownPing] = OrderedDict()
        self._no_pings: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._waiting = Waiting()
        self._unvoided: list[KnownPing] = []
        for one in pending:
            self._waiting.add(one)

    def read_live(
        self, events: Iterable[Event], room_id: str, arrived_ns: int, arrived_ts: int
    ) -> Arrived:
        """What a sync brought: seen when it arrived, whatever time the events claim."""
        arrived = Arrived(room_id, Provenance.LIVE, arrived_ns)
        for event in events:
            self._read(event, arrived, arrived_ts)
        return arrived

    def read_history(self, events: Iterable[Event], room_id: str, latest_ts: int) -> Arrived:
        """What was fetched: seen when it says it was sent, but not after `latest_ts`."""
        arrived = Arrived(room_id, Provenance.GAP_FILL)
        for event in events:
            claimed_ts = event.get("origin_server_ts")
            seen_ts = latest_ts
            if isinstance(claimed_ts, int) and is_possible_time(claimed_ts, clock.now_ts()):
                seen_ts = min(claimed_ts, latest_ts)
            self._read(event, arrived, seen_ts)
        return arrived

    def unknown_pings(self, arrived: Arrived) -> list[str]:
        """The pings that pongs name, and that are neither known nor among what arrived."""
        here = {ping.event_id for ping in arrived.pings}
        named = {pong.ping_event_id for pong in arrived.pongs} - here
        keys = [(arrived.room_id, name) for name in sorted(named)]
        return [key[1] for key in keys if key not in self._known and key not in self._no_pings]

    def learn(self, pings: Iterable[Ping]) -> None:
        """Know these pings, from the store. What waits for them is decided by the next `judge`."""
        for ping in pings:
            self._know(KnownPing(ping))

    def learn_no_ping(self, room_id: str, event_id: str) -> None:
        """Know that an event of the room is no ping, whatever a pong says."""
        self._no_pings[room_id, event_id] = None
        self._waiting.find((room_id, event_id))
        if len(self._no_pings) > MAX_NO_PINGS:
            self._no_pings.popitem(last=False)

    def judge(self, arrived: Arrived, members: Members | None = None) -> Batch:
        """What arrived, as it is to be stored; what now can be decided of earlier pongs too."""
        released = self._waiting.take_found()
        candidates = released + [Pending(pong, arrived.provenance) for pong in arrived.pongs]
        samples: list[Sample] = []
        rejected = list(arrived.rejected)
        waiting: list[Pending] = []
        for one in sorted(candidates, key=lambda one: one.pong.seen_ts):
            verdict = self._decide(one, arrived)
            if isinstance(verdict, Sample):
                samples.append(verdict)
                if is_implausible(verdict):
                    rejected.append(_reject(verdict.pong, Rejection.IMPLAUSIBLE))
            elif isinstance(verdict, Pending):
                waiting.append(verdict)
            elif verdict is not None:
                rejected.append(verdict)
        if members is not None:
            for sample in samples:
                if sample.ping.vantage is not None and sample.pong.event_id in arrived.bots:
                    bot = arrived.bots[sample.pong.event_id]
                    members.hear(bot, sample.pong.server, sample.pong.seen_ts)
        return Batch(
            pings=arrived.pings,
            samples=samples,
            rejected=rejected,
            expected=self._expect(arrived, members) if members is not None else [],
            voided=self._take_void(),
            pending=waiting,
            settled=[one.pong for one in released],
        )

    def expire(self, now_ts: int, is_filling: Callable[[str], bool]) -> Batch:
        """Give up on pongs whose ping did not come: after 10 min, or once history is filled."""
        rooms = [room_id for room_id in self._waiting.rooms() if not is_filling(room_id)]
        old = self._waiting.take_older(now_ts - PONG_TIMEOUT_MS, rooms)
        given_up = [one.pong for one in old]
        rejected = [_reject(pong, Rejection.UNKNOWN_PING) for pong in given_up]
        return Batch(rejected=rejected, settled=given_up)

    def waiting_for(self, room_id: str) -> list[str]:
        """The pings (event IDs) of a room that pongs wait for, those of most servers first."""
        return self._waiting.pings(room_id)

    def waits(self, one: Pending) -> bool:
        """Whether a pong still waits for its ping: it may have come in the meantime."""
        return one in self._waiting

    def redact(self, room_id: str, event_ids: Iterable[str]) -> None:
        """Forget pongs that were taken back while they waited for their ping."""
        self._waiting.redact(room_id, event_ids)

    def _read(self, event: Event, arrived: Arrived, seen_ts: int) -> None:
        read = read_event(event, arrived.room_id, seen_ts, clock.now_ts())
        if isinstance(read, Ping):
            arrived.pings.append(self._recognise(read, event, arrived.arrived_ns))
        elif isinstance(read, Pong):
            arrived.pongs.append(read)
            arrived.bots[read.event_id] = event["sender"]
        elif read is not None:
            arrived.rejected.append(read)

    def _recognise(self, ping: Ping, event: Event, arrived_ns: int | None) -> Ping:
        """Know a ping for the pongs to come; our own ones by sender and transaction ID."""
        sent = None
        if event["sender"] == self._user_id:
            tx_id = transaction_id(event)
            sent = self._sent(tx_id) if tx_id is not None else None
            if sent is not None:
                sent.appear(arrived_ns)
            sent_ts = sent.sent_ts if sent is not None else None
            ping = dataclasses.replace(ping, vantage=self._vantage, sent_ts=sent_ts)
        self._know(KnownPing(ping, sent, arrived_ns))
        return ping

    def _know(self, known: KnownPing) -> None:
        key = (known.ping.room_id, known.ping.event_id)
        # The same event can come twice, and the first time told when it was seen.
        if key in self._known:
            return
        self._known[key] = known
        self._waiting.find(key)
        if len(self._known) > MAX_PINGS:
            self._known.popitem(last=False)

    def _decide(self, one: Pending, arrived: Arrived) -> Sample | Rejected | Pending | None:
        """A sample, a rejection, the same pong if it has to wait, None for it once more."""
        pong = one.pong
        known = self._known.get((pong.room_id, pong.ping_event_id))
        if (pong.room_id, pong.ping_event_id) in self._no_pings:
            return _reject(pong, Rejection.NOT_A_PING)
        if known is None:
            return one if self._waiting.add(one) else _reject(pong, Rejection.UNKNOWN_PING)
        if one.provenance is Provenance.GAP_FILL:
            # The ping may have been seen by a clock that was set since. And two claimed times can
            # contradict each other; an answer never precedes its question.
            pong = _without_clock_step(pong, known.ping)
            pong = dataclasses.replace(pong, seen_ts=max(pong.seen_ts, known.ping.seen_ts))
        # A pong that had to wait came before its ping was seen: there is no send to count from.
        arrived_ns = arrived.arrived_ns if pong.event_id in arrived.bots else None
        if arrived_ns is not None and known.arrived_ns is not None:
            # Both were seen to arrive, so a wall clock that was set in between does not matter.
            since_ms = (arrived_ns - known.arrived_ns) // 1_000_000
            pong = dataclasses.replace(pong, seen_ts=known.ping.seen_ts + since_ms)
        elif arrived_ns is not None:
            pong = _without_clock_step(pong, known.ping)
        reason = verify(pong, known.ping)
        if reason is not None:
            return _reject(pong, reason)
        first = known.answers.setdefault(pong.server, pong.event_id)
        if first != pong.event_id:
            return _reject(pong, Rejection.DUPLICATE)
        return Sample(known.ping, pong, _round_trip_ms(known.sent, arrived_ns), one.provenance)

    def _expect(self, arrived: Arrived, members: Members) -> list[tuple[Ping, list[str]]]:
        expected = []
        for ping in arrived.pings:
            known = self._known.get((ping.room_id, ping.event_id))
            if known is None or known.sent is None or known.sent.void:
                continue
            expected.append((ping, members.expected(ping.seen_ts)))
            self._unvoided.append(known)
        return expected

    def _take_void(self) -> list[Ping]:
        """Pings of ours that turned out void after pongs were expected of them."""
        void = [one.ping for one in self._unvoided if one.sent is not None and one.sent.void]
        newest_ts = max((one.ping.seen_ts for one in self._unvoided), default=0)
        self._unvoided = [
            one
            for one in self._unvoided
            if one.sent is not None
            and not one.sent.void
            and newest_ts - one.ping.seen_ts <= PONG_TIMEOUT_MS
        ]
        return void


def _without_clock_step(pong: Pong, ping: Ping) -> Pong:
    """A pong that came before its ping or too late by our clock alone: it was set in between.

    One of the two was not seen to arrive by this process, so there are only the events' own times
    to tell; where they contradict each other too, ours stands.
    """
    claimed_ms = pong.origin_server_ts - ping.origin_server_ts
    is_ours_odd = not 0 <= pong.seen_ts - ping.seen_ts <= PONG_TIMEOUT_MS
    if is_ours_odd and 0 <= claimed_ms <= PONG_TIMEOUT_MS:
        return dataclasses.replace(pong, seen_ts=ping.seen_ts + claimed_ms)
    return pong


def _reject(pong: Pong, reason: Rejection) -> Rejected:
    return Rejected(pong.room_id, pong.server, reason, pong.seen_ts)


def _round_trip_ms(sent: SentPing | None, arrived_ns: int | None) -> int | None:
    if sent is None or sent.void or arrived_ns is None:
        return None
    return round((arrived_ns - sent.sent_ns) / 1e6)
