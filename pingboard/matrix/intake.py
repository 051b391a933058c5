"""What our homeserver says -> what is to be stored: sync responses and pages of history, judged.

Between the stream and the ledger: it sees where events were left out, asks the store and our
homeserver for pings that pongs name and we did not see, and bounds how often.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

import structlog

from pingboard.matrix import clock
from pingboard.matrix.gaps import events_since
from pingboard.matrix.holes import Holes
from pingboard.matrix.protocol import read_membership, read_redacted_ping, read_redaction
from pingboard.model import Batch, Gap, HomeserverError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pingboard.matrix.ledger import Arrived, Ledger
    from pingboard.matrix.protocol import Event
    from pingboard.matrix.rooms import Rooms
    from pingboard.matrix.session import Session
    from pingboard.matrix.stream import SyncBatch, Timeline
    from pingboard.matrix.writer import Writer

MAX_LOOKUPS = 10
"""How many unknown pings one response makes us ask our homeserver for: whoever invents pings
can't make us flood it. The others wait for theirs as pending."""

MAX_TOLD = 10_000
"""Events remembered that a limited timeline brought, and that its gap brings again."""

MAX_LAST_LOOKUPS = 100
"""The same once a gap is closed, when nothing else can bring them any more."""

HOLE_MS = 86_400_000
"""How far back is looked for what our homeserver missed."""

log = structlog.get_logger()


class Intake:
    """One for all rooms of a worker. `with_history` are the rooms whose past was asked for."""

    def __init__(
        self,
        session: Session,
        writer: Writer,
        rooms: Rooms,
        ledger: Ledger,
        *,
        backfill_ms: int,
        with_history: set[str],
    ) -> None:
        self._session = session
        self._writer = writer
        self._rooms = rooms
        self._ledger = ledger
        self._backfill_ms = backfill_ms
        self._with_history = with_history
        self._told: dict[str, None] = {}
        self._holes = Holes()

    async def read_sync(self, sync: SyncBatch) -> Batch:
        """What a sync response says of all rooms, judged."""
        parts = [await self._read_timeline(timeline, sync) for timeline in sync.timelines]
        return Batch(
            **{
                part.name: [item for batch in parts for item in getattr(batch, part.name)]
                for part in dataclasses.fields(Batch)
            }
        )

    async def _read_timeline(self, timeline: Timeline, sync: SyncBatch) -> Batch:
        room_id = timeline.room_id
        gaps = self._gaps_before(timeline, sync)
        members = self._rooms.members[room_id]
        if timeline.limited and sync.since is not None:
            members.replace(await self._rooms.ask_members(room_id))
        for event in timeline.events:
            if (change := read_membership(event)) is not None:
                members.change(change[0], is_joined=change[1])
        redacted = self._read_redactions(timeline.events, room_id)
        if gaps:
            # Part of what we did not see arrive: its newest end.
            batch = await self.read_page(timeline.events, gaps[0])
            self._remember(timeline.events)
        else:
            arrived = self._read_new(timeline, sync)
            await self._find_pings(room_id, self._ledger.unknown_pings(arrived), MAX_LOOKUPS)
            batch = self._ledger.judge(arrived, members)
        # The wide ones first: the last that is recorded is filled first.
        gaps = [*self._holes_behind(timeline, sync), *gaps]
        return dataclasses.replace(batch, gaps=gaps, redacted=redacted)

    def _read_new(self, timeline: Timeline, sync: SyncBatch) -> Arrived:
        room_id, arrived_ts = timeline.room_id, sync.arrived_ts
        if sync.is_past:
            return self._ledger.read_history(timeline.events, room_id, arrived_ts)
        return self._ledger.read_live(timeline.events, room_id, sync.arrived_ns, arrived_ts)

    def _gaps_before(self, timeline: Timeline, sync: SyncBatch) -> list[Gap]:
        """The gap that a timeline leaves before it: events left out, or a room's whole past.

        From `next_batch`, not from the timeline's own `prev_batch`: the events of a timeline are
        those farthest from the room's beginning, the token before them counts those that came to
        our homeserver earlier, so what came late from another one can be neither among the former
        nor before the latter.
        """
        room_id, position = timeline.room_id, sync.next_batch
        if room_id not in self._with_history:
            self._with_history.add(room_id)
            oldest_ts = sync.arrived_ts - self._backfill_ms
            return [Gap(room_id, position, None, oldest_ts, sync.arrived_ts)]
        if timeline.limited:
            log.warning("events were left out, filling the gap", room_id=room_id)
            return [Gap(room_id, position, sync.since, None, sync.arrived_ts)]
        return []

    def _holes_behind(self, timeline: Timeline, sync: SyncBatch) -> list[Gap]:
        """The last day, where our homeserver itself may have missed something."""
        if sync.since is None or not self._holes.is_due(timeline, sync.arrived_ns):
            return []
        oldest_ts = sync.arrived_ts - min(HOLE_MS, self._backfill_ms)
        return [Gap(timeline.room_id, sync.next_batch, None, oldest_ts, sync.arrived_ts)]

    async def read_page(self, events: Sequence[Event], gap: Gap) -> Batch:
        """What a stretch of history says, oldest first, judged as far as its pings are known."""
        new = [event for event in events if event.get("event_id") not in self._told]
        wanted = events_since(new, gap.oldest_ts)
        arrived = self._ledger.read_history(wanted, gap.room_id, gap.opened_ts)
        unknown = self._ledger.unknown_pings(arrived)
        self._ledger.learn((await self._writer.find_pings(gap.room_id, unknown)).values())
        redacted = self._read_redactions(events, gap.room_id)
        return dataclasses.replace(self._ledger.judge(arrived), redacted=redacted)

    def _remember(self, events: Sequence[Event]) -> None:
        """Not to count again what is rejected; what counts is stored once in any case."""
        self._told |= dict.fromkeys(str(event.get("event_id")) for event in events)
        for event_id in list(self._told)[:-MAX_TOLD]:
            del self._told[event_id]

    def _read_redactions(self, events: Sequence[Event], room_id: str) -> list[tuple[str, str]]:
        found = [event_id for event in events if (event_id := read_redaction(event)) is not None]
        if found:
            self._ledger.redact(room_id, found)
        return [(room_id, event_id) for event_id in found]

    async def finish_history(self, room_id: str) -> bool:
        """A room's gaps are closed: look up what pongs still wait for, and decide them.

        False where our homeserver can't be asked just now.
        """
        wanted = self._ledger.waiting_for(room_id)
        could_ask = await self._find_pings(room_id, wanted, MAX_LAST_LOOKUPS)
        nothing_new = self._ledger.read_history([], room_id, _now_ts())
        await self._writer.record_if_any(self._ledger.judge(nothing_new))
        return could_ask

    async def _find_pings(self, room_id: str, unknown: Sequence[str], most: int) -> bool:
        """Know the pings that pongs name and we did not see: from the store, or by asking.

        False where our homeserver could not be asked for all of the first `most`.
        """
        if not unknown:
            return True
        stored = await self._writer.find_pings(room_id, unknown)
        self._ledger.learn(stored.values())
        asked = [one for one in unknown if one not in stored][:most]
        return all([await self._look_up(room_id, event_id) for event_id in asked])

    async def _look_up(self, room_id: str, event_id: str) -> bool:
        try:
            event = await self._session.event(room_id, event_id)
        except HomeserverError as error:
            log.warning("can't look a ping up", error=str(error))
            return False
        if event is not None:
            found = self._ledger.read_history([event], room_id, _now_ts())
            redacted = read_redacted_ping(event, room_id, clock.now_ts())
            if redacted is not None:
                self._ledger.learn([redacted])
            elif event_id not in [ping.event_id for ping in found.pings]:
                self._ledger.learn_no_ping(room_id, event_id)
        return True

    def without_found(self, batch: Batch) -> Batch:
        """A batch without pongs whose ping the gap filler has found since it was judged."""
        waiting = [one for one in batch.pending if self._ledger.waits(one)]
        return dataclasses.replace(batch, pending=waiting)

    def expire(self, now_ts: int, is_filling: Callable[[str], bool]) -> Batch:
        """The pongs that have waited too long for their ping."""
        return self._ledger.expire(now_ts, is_filling)


def _now_ts() -> int:
    return time.time_ns() // 1_000_000
