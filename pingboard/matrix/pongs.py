"""Match pongs to pings: the events of one response -> a `Batch` for the store.

Remembers the pings of the last minutes, who answered them, and the pongs whose ping is not known
yet. All of it is bounded, whatever a room sends; what is forgotten is in the store.
"""

from __future__ import annotations

import dataclasses
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pingboard.matrix import clock
from pingboard.matrix.pings import SentPings
from pingboard.matrix.protocol import Event, read_event, transaction_id
from pingboard.matrix.rooms import Members
from pingboard.matrix.verify import is_implausible, verify
from pingboard.model import (
    PONG_TIMEOUT_MS,
    Batch,
    Pending,
    Ping,
    PingKey,
    Pong,
    Provenance,
    Rejected,
    Rejection,
    Sample,
    hash_event_id,
    is_possible_time,
)

MAX_PINGS = 20_000
"""Pings remembered; older ones are looked up in the store."""

MAX_ANSWERS = 200_000
"""Answers remembered of all pings: about 30 MB. Those of older pings the store tells apart."""

MAX_NO_PINGS = 1_000
"""Events remembered that are no pings, whatever pongs say."""

MAX_PENDING = 1_000
"""Pending pongs of one server; a server that invents pings can't take more."""


@dataclass(slots=True)
class KnownPing:
    """A ping, and what came of it so far."""

    ping: Ping
    arrived_ns: int | None = None
    """`clock.now_ns()` of its arrival, if it was seen to arrive"""
    answers: dict[str, int] = field(default_factory=dict)
    """pong server -> hash of the event ID of its first pong"""


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


class PongMatcher:
    """One for all rooms of a worker; `user_id` is our own."""

    def __init__(
        self, user_id: str, vantage: str, sent: SentPings, pending: Iterable[Pending] = ()
    ) -> None:
        self._user_id = user_id
        self._vantage = vantage
        self._sent = sent
        self._known: OrderedDict[tuple[str, str], KnownPing] = OrderedDict()
        self._no_pings: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._answer_count = 0
        self.pending = PendingPongs()
        for pong in pending:
            self.pending.add(pong)

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
            if isinstance(claimed_ts, int) and is_possible_time(claimed_ts, clock.latest_ts()):
                seen_ts = min(claimed_ts, latest_ts)
            self._read(event, arrived, seen_ts)
        return arrived

    def unknown_pings(self, arrived: Arrived) -> list[str]:
        """Return the pings that pongs name, and that are neither known nor among what arrived."""
        here = {ping.event_id for ping in arrived.pings}
        named = {pong.ping_event_id for pong in arrived.pongs} - here
        keys = [(arrived.room_id, event_id) for event_id in sorted(named)]
        return [key[1] for key in keys if key not in self._known and key not in self._no_pings]

    def learn(self, pings: Iterable[Ping]) -> None:
        """Know these pings, from the store. What waits for them is decided by the next `judge`."""
        for ping in pings:
            self._know(KnownPing(ping))

    def learn_no_ping(self, room_id: str, event_id: str) -> None:
        """Know that an event of the room is no ping, whatever a pong says."""
        self._no_pings[room_id, event_id] = None
        self.pending.resolve((room_id, event_id))
        if len(self._no_pings) > MAX_NO_PINGS:
            self._no_pings.popitem(last=False)

    def judge(self, arrived: Arrived, members: Members | None = None) -> Batch:
        """What arrived, as it is to be stored; what now can be decided of earlier pongs too."""
        released = self.pending.take_resolved()
        candidates = released + [Pending(pong, arrived.provenance) for pong in arrived.pongs]
        samples: list[Sample] = []
        rejected = arrived.rejected
        pending: list[Pending] = []
        for candidate in sorted(candidates, key=lambda candidate: candidate.pong.seen_ts):
            verdict = self._decide(candidate, arrived)
            if isinstance(verdict, Sample):
                samples.append(verdict)
                if is_implausible(verdict):
                    rejected.append(_reject(verdict.pong, Rejection.IMPLAUSIBLE))
            elif isinstance(verdict, Pending):
                pending.append(verdict)
            else:
                rejected.append(_reject(candidate.pong, verdict))
        if members is not None:
            for sample in samples:
                if sample.ping.vantage is not None and sample.pong.event_id in arrived.bots:
                    bot = arrived.bots[sample.pong.event_id]
                    members.hear(bot, sample.pong.server, sample.pong.seen_ts)
        return Batch(
            pings=[self._forget_void_send(ping) for ping in arrived.pings],
            samples=samples,
            rejected=rejected,
            expected=self._expect(arrived, members) if members is not None else [],
            voided=self._sent.take_unexpected(),
            pending=pending,
            no_longer_pending=[candidate.pong for candidate in released],
        )

    def expire(self, now_ns: int, is_filling: Callable[[str], bool]) -> Batch:
        """Give up on pongs whose ping did not come within 10 min, nor with history.

        `now_ns` is `clock.now_ns()`. Also expect no pongs any more of pings that have turned out
        void in silence.
        """
        rooms = [room_id for room_id in self.pending.rooms() if not is_filling(room_id)]
        old = self.pending.take_older(now_ns - PONG_TIMEOUT_MS * 1_000_000, rooms)
        given_up = [candidate.pong for candidate in old]
        rejected = [_reject(pong, Rejection.UNKNOWN_PING) for pong in given_up]
        return Batch(
            rejected=rejected, no_longer_pending=given_up, voided=self._sent.take_unexpected()
        )

    def _read(self, event: Event, arrived: Arrived, seen_ts: int) -> None:
        read = read_event(event, arrived.room_id, seen_ts, clock.latest_ts())
        if isinstance(read, Ping):
            arrived.pings.append(self._recognise(read, event, arrived.arrived_ns))
        elif isinstance(read, Pong):
            arrived.pongs.append(read)
            arrived.bots[read.event_id] = event["sender"]
        elif read is not None:
            arrived.rejected.append(read)

    def _recognise(self, ping: Ping, event: Event, arrived_ns: int | None) -> Ping:
        """Know a ping for the pongs to come, and tell whether it is ours."""
        if event["sender"] == self._user_id:
            sent = self._sent.find(ping.event_id, transaction_id(event))
            sent_ts = None
            if sent is not None and arrived_ns is not None:
                # As the clock stood at the arrival: it may have been set since the send.
                sent_ts = ping.seen_ts - (arrived_ns - sent.sent_ns) // 1_000_000
            ping = dataclasses.replace(ping, vantage=self._vantage, sent_ts=sent_ts)
            if sent is not None:
                sent.appear(ping, arrived_ns)
        self._know(KnownPing(ping, arrived_ns))
        return ping

    def _know(self, known: KnownPing) -> None:
        key = (known.ping.room_id, known.ping.event_id)
        # The same event can come twice, and the first time told when it was seen.
        if key in self._known:
            return
        self._known[key] = known
        self.pending.resolve(key)
        while len(self._known) > MAX_PINGS or self._answer_count > MAX_ANSWERS:
            _, forgotten = self._known.popitem(last=False)
            self._answer_count -= len(forgotten.answers)

    def _find_known(self, pong: Pong) -> KnownPing | None:
        key = (pong.room_id, pong.ping_event_id)
        if key not in self._known:
            # Ours that are under way are never forgotten, whatever else there is to remember.
            sent = self._sent.find(pong.ping_event_id)
            if sent is not None and sent.ping is not None:
                self._know(KnownPing(sent.ping, sent.appeared_ns))
        return self._known.get(key)

    def _is_first(self, known: KnownPing, pong: Pong) -> bool:
        """Whether it is its server's first pong to that ping, or that one told again."""
        key = hash_event_id(pong.event_id)
        first = known.answers.get(pong.server)
        if first is None:
            server = sys.intern(pong.server)
            known.answers[server] = key
            self._answer_count += 1
        return first is None or first == key

    def _decide(self, candidate: Pending, arrived: Arrived) -> Sample | Pending | Rejection:
        """Return a sample, the same pong if it has to wait, or why it does not count."""
        pong = candidate.pong
        known = self._find_known(pong)
        if (pong.room_id, pong.ping_event_id) in self._no_pings:
            return Rejection.NOT_A_PING
        if known is None:
            return candidate if self.pending.add(candidate) else Rejection.UNKNOWN_PING
        if candidate.provenance is Provenance.GAP_FILL:
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
        elif known.arrived_ns is not None and candidate.provenance is Provenance.LIVE:
            # It was pending, so it came before its ping did, whatever our clock said then.
            pong = dataclasses.replace(pong, seen_ts=min(pong.seen_ts, known.ping.seen_ts))
        elif arrived_ns is not None and pong.seen_ts < known.ping.seen_ts:
            # Our clock was set back. That it came late is never for the pong to deny.
            pong = _without_clock_step(pong, known.ping)
        reason = verify(pong, known.ping)
        if reason is not None:
            return reason
        # A gap is read backwards: which of its pongs is the first the store can tell.
        is_history = candidate.provenance is Provenance.GAP_FILL
        if not self._is_first(known, pong) and not is_history:
            return Rejection.DUPLICATE
        sent = self._sent.find(pong.ping_event_id)
        round_trip_ms = None
        if sent is not None:
            sent.answer(pong.server)
            round_trip_ms = sent.round_trip_ms(arrived_ns) if arrived_ns is not None else None
        return Sample(known.ping, pong, round_trip_ms, candidate.provenance)

    def _forget_void_send(self, ping: Ping) -> Ping:
        """A ping as it is stored: nothing is measured from when a void one was sent."""
        sent = self._sent.find(ping.event_id)
        is_void = sent is not None and sent.void is not None
        return dataclasses.replace(ping, sent_ts=None) if is_void else ping

    def _expect(self, arrived: Arrived, members: Members) -> list[tuple[Ping, list[str]]]:
        """Who should answer our pings, said once for each; of a void one nobody is missed."""
        expected = []
        for ping in arrived.pings:
            sent = self._sent.find(ping.event_id)
            if sent is None or sent.void is not None or sent.is_expected:
                continue
            sent.is_expected = True
            expected.append((ping, members.expected(ping.seen_ts)))
        return expected


def _reject(pong: Pong, reason: Rejection) -> Rejected:
    return Rejected(hash_event_id(pong.event_id), pong.room_id, pong.server, reason, pong.seen_ts)


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


class PendingPongs:
    """Pongs by the ping that they name, and which of those pings have become known."""

    def __init__(self) -> None:
        self._pongs: dict[PingKey, dict[str, Pending]] = {}
        """by the pong's event ID: history can bring it again"""
        self._since_ns: dict[tuple[PingKey, str], int] = {}
        """since when each is pending, `clock.now_ns()`; by its ping and event ID"""
        self._count_of: dict[str, int] = {}
        self._resolved: dict[PingKey, None] = {}

    def add(self, candidate: Pending) -> bool:
        """Keep a pong until its ping is known; False where its server has too many pending."""
        pong = candidate.pong
        ping = pong.room_id, pong.ping_event_id
        candidates = self._pongs.get(ping, {})
        if pong.event_id in candidates:
            return True
        if self._count_of.get(pong.server, 0) >= MAX_PENDING:
            return False
        self._count_of[pong.server] = self._count_of.get(pong.server, 0) + 1
        candidates[pong.event_id] = candidate
        self._pongs[ping] = candidates
        self._since_ns[ping, pong.event_id] = clock.now_ns()
        return True

    def resolve(self, ping: PingKey) -> None:
        """Note that it is known now what a ping is, so that its pongs are judged next."""
        if ping in self._pongs:
            self._resolved[ping] = None

    def take_resolved(self) -> list[Pending]:
        """Take the pongs of the pings resolved since the last time."""
        candidates = [candidate for ping in self._resolved for candidate in self._take(ping)]
        self._resolved.clear()
        return candidates

    def take_older(self, since_ns: int, rooms: Iterable[str]) -> list[Pending]:
        """Take the pongs of these rooms that have been pending since before a time."""
        chosen = set(rooms)
        old = [
            self._pongs[ping][event_id]
            for (ping, event_id), began_ns in self._since_ns.items()
            if ping[0] in chosen and began_ns < since_ns
        ]
        self._drop(old)
        return old

    def redact(self, room_id: str, event_ids: Iterable[str]) -> None:
        """Forget pongs that were redacted while they were pending."""
        redacted = set(event_ids)
        self._drop(
            [
                candidate
                for candidate in self._of_room(room_id)
                if candidate.pong.event_id in redacted
            ]
        )

    def rooms(self) -> set[str]:
        """Return the rooms in which pongs are pending."""
        return {room_id for room_id, _ in self._pongs}

    def pings(self, room_id: str) -> list[str]:
        """Return the pings (event IDs) that pending pongs of a room name.

        Those that most servers name come first: a liar is alone with what it invents.
        """
        servers: dict[str, set[str]] = {}
        for candidate in self._of_room(room_id):
            servers.setdefault(candidate.pong.ping_event_id, set()).add(candidate.pong.server)
        return sorted(servers, key=lambda event_id: -len(servers[event_id]))

    def _of_room(self, room_id: str) -> list[Pending]:
        return [
            candidate
            for (of_room, _), candidates in self._pongs.items()
            if of_room == room_id
            for candidate in candidates.values()
        ]

    def _take(self, ping: PingKey) -> list[Pending]:
        candidates = list(self._pongs.get(ping, {}).values())
        self._drop(candidates)
        return candidates

    def _drop(self, candidates: list[Pending]) -> None:
        for pong in [candidate.pong for candidate in candidates]:
            ping = pong.room_id, pong.ping_event_id
            del self._pongs[ping][pong.event_id]
            if not self._pongs[ping]:
                del self._pongs[ping]
            del self._since_ns[ping, pong.event_id]
            self._count_of[pong.server] -= 1
