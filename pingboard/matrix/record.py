"""Record: what our homeserver said -> judged, in order -> the store.

Everything that is judged comes through one bounded queue: sync responses, pages of history, pings
that were looked up. One task takes it from there, and commits it with the sync token that it leads
up to: a crash at any moment leaves either both or none, so nothing is lost and nothing counts
twice. Receiving goes on meanwhile, and however long this takes no round trip gets longer.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import structlog

from pingboard.matrix.pings import SentPings
from pingboard.matrix.pongs import PongMatcher
from pingboard.matrix.protocol import Event, is_join_of, read_membership, read_redaction
from pingboard.matrix.rooms import JoinedRooms
from pingboard.matrix.store_writer import Writer
from pingboard.matrix.sync import SyncBatch, Timeline
from pingboard.model import PONG_TIMEOUT_MS, Batch, Gap
from pingboard.store.pings import find_pings

MAX_QUEUED_EVENTS = 5_000
"""Events that may wait to be recorded: about 15 MB."""

MAX_COMMIT_EVENTS = 1_000
"""Events in one transaction; while commits are slow, each takes all that has come meanwhile."""

MAX_JUDGED_AT_ONCE = 100
"""Events that are judged before the event loop can stamp the next arrival: a few milliseconds."""

MISSED_EVENTS_MS = 86_400_000
"""How far back history is asked for what our homeserver missed."""

GAP_MARGIN_MS = 7 * 86_400_000
"""How much older than what a gap follows its events may claim to be: clocks are set, ours too.

Such a gap ends at a token; what is too old ends it where a homeserver does not heed tokens.
"""

FULL_TIMELINE = 100
"""Events in a timeline that is limited because there are more: Synapse's own limit."""

SHORTEST_PAUSE_NS = 60_000_000_000
LONGEST_PAUSE_NS = 60 * SHORTEST_PAUSE_NS

Judge = Callable[[], Awaitable[Batch]]
"""Judges what was fetched, when its turn has come."""

log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class _Work:
    judge: Judge
    events: int
    next_batch: str | None
    on_stored: Callable[[Batch], None]


class Recorder:
    """Judges and commits in the order of `put`; `run` does the work."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._queue: deque[_Work] = deque()
        self._queued_events = 0
        self._changed = asyncio.Condition()

    async def put(
        self,
        judge: Judge,
        events: int,
        on_stored: Callable[[Batch], None],
        next_batch: str | None = None,
    ) -> None:
        """Queue what is to be judged, as soon as there is room; `on_stored` is told the outcome.

        `events` is how many it is about, `next_batch` the sync token that it leads up to.
        """
        async with self._changed:
            await self._changed.wait_for(
                lambda: not self._queue or self._queued_events + events <= MAX_QUEUED_EVENTS
            )
            self._queue.append(_Work(judge, events, next_batch, on_stored))
            self._queued_events += events
            self._changed.notify_all()

    async def record(self, judge: Judge, events: int = 0) -> Batch:
        """Queue what is to be judged, and return the outcome once it is stored."""
        stored: asyncio.Future[Batch] = asyncio.get_running_loop().create_future()

        def on_stored(batch: Batch) -> None:
            if not stored.done():  # whoever waited may have been cancelled
                stored.set_result(batch)

        await self.put(judge, events, on_stored)
        return await stored

    async def run(self) -> None:
        """Record without end."""
        while True:
            await self._record(await self._take())

    async def _take(self) -> list[_Work]:
        """Take what is queued, up to `MAX_COMMIT_EVENTS`."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._queue)
            works = [self._queue.popleft()]
            events = works[0].events
            while self._queue and events + self._queue[0].events <= MAX_COMMIT_EVENTS:
                works.append(self._queue.popleft())
                events += works[-1].events
            self._queued_events -= events
            self._changed.notify_all()
        return works

    async def _record(self, works: list[_Work]) -> None:
        batches = [await work.judge() for work in works]
        tokens = [work.next_batch for work in works if work.next_batch is not None]
        await self._writer.record(merge_batches(batches), tokens[-1] if tokens else None)
        for work, judged in zip(works, batches, strict=True):
            work.on_stored(judged)


class TimelineReader:
    """What timelines and pages of history say -> what is to be stored.

    `heard` are the rooms whose past this account has asked for already, with when the last events
    came from each; `synced_ts` is when the last sync of an earlier run arrived.
    """

    def __init__(
        self,
        user_id: str,
        writer: Writer,
        pongs: PongMatcher,
        sent: SentPings,
        rooms: JoinedRooms,
        *,
        backfill_ms: int,
        heard: dict[str, int],
        synced_ts: int,
    ) -> None:
        self._user_id = user_id
        self._writer = writer
        self._pongs = pongs
        self._sent = sent
        self._rooms = rooms
        self._backfill_ms = backfill_ms
        # What was imported may be newer than all that we have heard.
        self._heard = {room_id: min(ts, synced_ts) for room_id, ts in heard.items()}
        self._followed = dict(self._heard)
        """since when nothing of a room, or of one that replaces it, is to be missing"""
        self._left = {room for room, ts in heard.items() if ts < synced_ts - PONG_TIMEOUT_MS}
        """rooms that we are, or may be, out of while we listen in others"""
        self._since: str | None = None
        """the token that the first sync began from"""
        self._listened: set[str] = set()
        self._schedule = BackfillSchedule()

    async def read_sync(self, sync: SyncBatch) -> Batch:
        """Judge what a sync response says of all rooms."""
        late = Batch(gaps=self._gaps_before_listening(sync))
        read = [await self._read_timeline(each, sync) for each in sync.timelines]
        self._left.update(sync.left_rooms)
        return merge_batches([late, *read])

    async def read_page(self, events: Sequence[Event], gap: Gap) -> Batch:
        """Judge a stretch of history, oldest first, as far as its pings are known."""
        batches = []
        # A gap that ends at a token has nothing in it that is too old, whatever its date.
        wanted_ts = gap.oldest_ts if gap.until is None else None
        for chunk in _chunks(events_since(events, wanted_ts)):
            history = self._pongs.read_history(chunk, gap.room_id, gap.opened_ts)
            if unknown := self._pongs.unknown_pings(history):
                stored = await self._writer.call(find_pings, gap.room_id, unknown)
                self._pongs.learn(stored.values())
            batches.append(self._pongs.judge(history))
            await asyncio.sleep(0)
        redacted = self._read_redactions(events, gap.room_id)
        return dataclasses.replace(merge_batches(batches), redacted=redacted)

    async def _read_timeline(self, timeline: Timeline, sync: SyncBatch) -> Batch:
        room_id = timeline.room_id
        gaps = self._gaps_before(timeline, sync)
        self._heard[room_id] = sync.arrived_ts
        self._left.discard(room_id)
        if timeline.limited and sync.since is not None:
            self._rooms.ask_members(room_id)
        for event in timeline.events:
            if (change := read_membership(event)) is not None:
                self._rooms.members[room_id].change(change[0], is_joined=change[1])
        redacted = self._read_redactions(timeline.events, room_id)
        if gaps:
            # Part of what we did not see arrive: its newest end.
            batch = await self.read_page(timeline.events, gaps[0])
        else:
            batch = await self._read_new(timeline, sync)
        # The wide ones first: the last that is recorded is filled first.
        gaps = [*self._find_missed(timeline, sync), *gaps]
        return dataclasses.replace(batch, gaps=gaps, redacted=redacted)

    async def _read_new(self, timeline: Timeline, sync: SyncBatch) -> Batch:
        room_id, arrived_ts = timeline.room_id, sync.arrived_ts
        members = self._rooms.members[room_id]
        if any(event.get("sender") == self._user_id for event in timeline.events):
            await self._sent.wait_for_sends(room_id)
        batches = []
        for chunk in _chunks(timeline.events):
            if sync.is_past:
                arrived = self._pongs.read_history(chunk, room_id, arrived_ts)
            else:
                arrived = self._pongs.read_live(chunk, room_id, sync.arrived_ns, arrived_ts)
            batches.append(self._pongs.judge(arrived, members))
            await asyncio.sleep(0)
        return merge_batches(batches)

    def _gaps_before_listening(self, sync: SyncBatch) -> list[Gap]:
        """Return what earlier syncs left out of known rooms that are listened in only from now on.

        Where an earlier run knew a room by the same name, it is listened in from the first sync;
        but that run may have listened in others alone.
        """
        is_first, late = not self._listened, sync.rooms - self._listened
        self._listened |= sync.rooms
        if is_first:
            self._since = sync.since
            left = sorted(late & self._left)
            self._left.difference_update(left)
            return [self._gap_since_left(room_id, sync) for room_id in left]
        gaps = []
        for room_id in sorted(late & self._heard.keys()):
            oldest_ts = self._unheard_ts(room_id, sync) - GAP_MARGIN_MS
            gaps.append(Gap(room_id, sync.next_batch, self._since, oldest_ts, sync.arrived_ts))
        return gaps

    def _gap_since_left(self, room_id: str, sync: SyncBatch) -> Gap:
        oldest_ts = self._unheard_ts(room_id, sync) - PONG_TIMEOUT_MS
        return Gap(room_id, sync.next_batch, None, oldest_ts, sync.arrived_ts)

    def _unheard_ts(self, room_id: str, sync: SyncBatch) -> int:
        """From when on events of a room may be missing, `PINGBOARD_BACKFILL` at the least."""
        return min(self._heard[room_id], sync.arrived_ts - self._backfill_ms)

    def _followed_ts(self, room_id: str, sync: SyncBatch) -> int:
        """From when on events of a new room are wanted; of one that replaces another, all."""
        followed = [
            self._followed[known_id]
            for known_id in self._rooms.lineages[room_id]
            if known_id in self._followed
        ]
        self._followed[room_id] = min([sync.arrived_ts, *followed])
        return min(self._followed[room_id], sync.arrived_ts - self._backfill_ms)

    def _gaps_before(self, timeline: Timeline, sync: SyncBatch) -> list[Gap]:
        """Return the gap that a timeline leaves before it: events left out, or the whole past.

        From `next_batch`, not from the timeline's own `prev_batch`: the events of a timeline are
        those farthest from the room's beginning, the token before them counts those that came to
        our homeserver earlier, so what came late from another one can be neither among the former
        nor before the latter.
        """
        room_id, position = timeline.room_id, sync.next_batch
        if room_id not in self._heard:
            oldest_ts = self._followed_ts(room_id, sync)
            return [Gap(room_id, position, None, oldest_ts, sync.arrived_ts)]
        is_return = any(is_join_of(event, self._user_id) for event in timeline.events)
        if is_return or room_id in self._left:
            # All that came while we were out is missing.
            return [self._gap_since_left(room_id, sync)]
        if timeline.limited:
            log.warning("events were left out, filling the gap", room_id=room_id)
            oldest_ts = self._unheard_ts(room_id, sync) - GAP_MARGIN_MS
            return [Gap(room_id, position, sync.since, oldest_ts, sync.arrived_ts)]
        return []

    def _find_missed(self, timeline: Timeline, sync: SyncBatch) -> list[Gap]:
        """Return the last day, where our homeserver itself may have missed something."""
        if sync.since is None or not self._schedule.is_due(timeline, sync.arrived_ns):
            return []
        oldest_ts = sync.arrived_ts - min(MISSED_EVENTS_MS, self._backfill_ms)
        return [Gap(timeline.room_id, sync.next_batch, None, oldest_ts, sync.arrived_ts)]

    def _read_redactions(self, events: Sequence[Event], room_id: str) -> list[tuple[str, str]]:
        event_ids = [redacts for event in events if (redacts := read_redaction(event)) is not None]
        if event_ids:
            self._pongs.pending.redact(room_id, event_ids)
        return [(room_id, event_id) for event_id in event_ids]


class _Request(NamedTuple):
    at_ns: int
    pause_ns: int
    """until the next at the earliest"""


class BackfillSchedule:
    """When to ask for what our homeserver itself missed: it, or another one, was away for hours.

    What it fetches from others when it is asked for history comes before all tokens (Synapse:
    "backfilled"), in no sync and in no gap that ends at one. A timeline that is limited, though
    short, shows that it has missed events. A homeserver that always gives short ones seems to miss
    some all the time, so it is asked ever more rarely.
    """

    def __init__(self) -> None:
        self._incomplete: set[str] = set()
        self._requests: dict[str, _Request] = {}

    def is_due(self, timeline: Timeline, now_ns: int) -> bool:
        """Whether to ask for history now; `now_ns` is `clock.now_ns()`.

        Each of a hundred homeservers that come back can be a reason, so of several in a minute the
        later wait; and where it never ends, twice as long each time.
        """
        room_id = timeline.room_id
        if timeline.limited and len(timeline.events) < FULL_TIMELINE:
            self._incomplete.add(room_id)
        if room_id not in self._incomplete:
            return False
        pause_ns = SHORTEST_PAUSE_NS
        if (last := self._requests.get(room_id)) is not None:
            since_ns = now_ns - last.at_ns
            if since_ns < last.pause_ns:
                return False
            if since_ns < 2 * last.pause_ns:
                pause_ns = min(2 * last.pause_ns, LONGEST_PAUSE_NS)
        self._incomplete.discard(room_id)
        self._requests[room_id] = _Request(now_ns, pause_ns)
        return True


def events_since(events: Sequence[Event], oldest_ts: int | None) -> list[Event]:
    """Those that say they are from then or later; all where it does not matter."""
    return [event for event in events if oldest_ts is None or _timestamp(event) >= oldest_ts]


def _chunks(events: Sequence[Event]) -> Iterator[Sequence[Event]]:
    for start in range(0, len(events), MAX_JUDGED_AT_ONCE):
        yield events[start : start + MAX_JUDGED_AT_ONCE]


def merge_batches(batches: Iterable[Batch]) -> Batch:
    """Return one batch of the contents of all, in their order."""
    batches = list(batches)
    return Batch(
        **{
            part.name: [item for batch in batches for item in getattr(batch, part.name)]
            for part in dataclasses.fields(Batch)
        }
    )


def _timestamp(event: Event) -> int:
    value = event.get("origin_server_ts")
    return value if isinstance(value, int) else 0
