"""The stream of room events -> the store.

Each response becomes one `Batch`, committed together with the token that it leads up to: a crash
at any moment leaves either both or none, so nothing is lost and nothing counts twice.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import time
from typing import TYPE_CHECKING, Protocol

import structlog

from pingboard.matrix.gaps import GapFiller, events_since
from pingboard.matrix.ledger import Ledger
from pingboard.matrix.login import log_in
from pingboard.matrix.pinger import Pinger
from pingboard.matrix.protocol import read_membership, read_redaction
from pingboard.matrix.rooms import Rooms
from pingboard.model import (
    AccountError,
    AccountLostError,
    Batch,
    Gap,
    HomeserverError,
    PingboardError,
    RoomState,
    WorkerState,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import timedelta

    from pingboard.matrix.protocol import Event
    from pingboard.matrix.session import Account, Session, SyncBatch, Timeline
    from pingboard.matrix.writer import Writer

MAX_LOOKUPS = 10
"""How many unknown pings one response makes us ask our homeserver for: whoever invents pings
can't make us flood it. The others wait for theirs as pending."""

MAX_LAST_LOOKUPS = 100
"""The same once a gap is closed, when nothing else can bring them any more."""

HOLD_MS = 30_000
"""How long our homeserver may hold a sync open."""

WATCH_S = 60.0
WATCH_HOLD_MS = 2_000
"""So long after a ping it may do so more briefly: a sync that does not come back in time shows
that our homeserver is held up, and that what arrives then measures nothing."""

REPORT_S = 10.0
SEAL_PAUSE_S = 300.0
UNREACHABLE_S = 90.0
"""Without an answered sync for so long, our homeserver is not reachable."""

log = structlog.get_logger()


class Attendant(Protocol):
    """Does something beside the measuring, on the worker's session; it never raises."""

    def hear(self, event: Event, room_id: str, user_id: str) -> None:
        """Look at an event as it arrives; `user_id` is our own."""

    async def run(self, session: Session) -> None:
        """Work until cancelled."""


class Worker:
    """Listens in the rooms and pings them. `start`, then `run` until cancelled, then `close`.

    `on_alive` is called every `REPORT_S` while event loop and store are well; it may raise what
    should end the worker.
    """

    def __init__(
        self,
        writer: Writer,
        account: Account,
        rooms: Sequence[str],
        *,
        interval: timedelta,
        vantage: str,
        backfill: timedelta,
        on_alive: Callable[[], Awaitable[None]],
        attendants: Sequence[Attendant] = (),
    ) -> None:
        self._writer = writer
        self._account = account
        self._wanted_rooms = rooms
        self._interval = interval
        self._vantage = vantage
        self._backfill_ms = round(backfill.total_seconds() * 1000)
        self._on_alive = on_alive
        self._attendants = attendants
        self._pinging: dict[str, asyncio.Task[None]] = {}
        self._synced_ts: int | None = None
        self._state = WorkerState.STOPPED
        self._state_ts = _now_ts()

    async def start(self) -> None:
        """Log in and join the rooms; raises ConfigurationError and HomeserverError."""
        self._session = await log_in(self._account, self._writer.ingest)
        self._rooms = Rooms(self._session, self._writer)
        await self._rooms.join(self._wanted_rooms)
        self._pinger = Pinger(self._session, self._interval, self._writer.record_room_state)
        pending = await self._writer.pending_pongs()
        self._ledger = Ledger(self._session.user_id, self._vantage, self._pinger.sent, pending)
        self._filler = GapFiller(
            self._session,
            open_gaps=self._writer.open_gaps,
            read=self._read_page,
            store=self._writer.record,
            finish=self._finish_history,
            latest_pings=self._writer.latest_pings,
        )
        # What waits since an earlier run may wait for a ping that no gap brings any more.
        unfinished = [one.pong.room_id for one in pending]
        unfinished += [gap.room_id for gap in await self._writer.open_gaps()]
        self._filler.notice(unfinished)
        self._with_history = await self._writer.rooms_with_history()

    async def run(self) -> None:
        """Ping and record until cancelled; AccountLostError where we are turned away."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                for room_id in self._rooms.joined:
                    self._begin_pinging(room_id)
                tasks.create_task(self._listen())
                tasks.create_task(self._filler.run())
                tasks.create_task(self._report())
                tasks.create_task(self._seal())
                for attendant in self._attendants:
                    tasks.create_task(attendant.run(self._session))
        except* AccountError as errors:
            await self._tell(WorkerState.AUTH)
            raise AccountLostError(str(errors.exceptions[0])) from None
        except* PingboardError as errors:
            raise errors.exceptions[0] from None

    async def close(self) -> None:
        """Finish the write under way and let go of the homeserver."""
        if self._state in (WorkerState.RUNNING, WorkerState.UNREACHABLE):
            await self._tell(WorkerState.STOPPED)
        if hasattr(self, "_session"):
            await self._session.aclose()

    async def _listen(self) -> None:
        saved = await self._writer.saved_session()
        stream = self._session.batches(saved.next_batch, self._rooms.joined, self._hold_ms)
        async for sync in stream:
            if sync.stalled:
                self._pinger.void_all()
            for room_id in sync.left_rooms:
                await self._leave(room_id)
            batch = await self._read_sync(sync)
            # What the gap filler has found a ping for since it was read waits no more.
            waiting = [one for one in batch.pending if self._ledger.waits(one)]
            batch = dataclasses.replace(batch, pending=waiting)
            await self._writer.record(batch, sync.next_batch)
            # Only now: told earlier, it could look for them before they are there.
            self._filler.notice([gap.room_id for gap in batch.gaps])
            self._synced_ts = sync.arrived_ts
            await self._follow_upgrades(sync)
            await self._writer.record_if_any(
                self._ledger.expire(sync.arrived_ts, self._filler.is_filling)
            )

    def _hold_ms(self) -> int:
        return WATCH_HOLD_MS if self._pinger.sent_within(WATCH_S) else HOLD_MS

    async def _read_sync(self, sync: SyncBatch) -> Batch:
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
            batch = await self._read_page(timeline.events, gaps[0])
        else:
            arrived = self._ledger.read_live(
                timeline.events, room_id, sync.arrived_ns, sync.arrived_ts
            )
            await self._find_pings(room_id, self._ledger.unknown_pings(arrived), MAX_LOOKUPS)
            batch = self._ledger.judge(arrived, members)
            for attendant, event in itertools.product(self._attendants, timeline.events):
                attendant.hear(event, room_id, self._session.user_id)
        return dataclasses.replace(batch, gaps=gaps, redacted=redacted)

    def _gaps_before(self, timeline: Timeline, sync: SyncBatch) -> list[Gap]:
        """The gap that a timeline leaves before it: events left out, or a room's whole past."""
        room_id, position = timeline.room_id, timeline.prev_batch
        if position is None:
            return []
        if room_id not in self._with_history:
            self._with_history.add(room_id)
            oldest_ts = sync.arrived_ts - self._backfill_ms
            return [Gap(room_id, position, None, oldest_ts, sync.arrived_ts)]
        if timeline.limited:
            log.warning("events were left out, filling the gap", room_id=room_id)
            return [Gap(room_id, position, sync.since, None, sync.arrived_ts)]
        return []

    async def _read_page(self, events: Sequence[Event], gap: Gap) -> Batch:
        """What a stretch of history says, oldest first, judged as far as its pings are known."""
        wanted = events_since(events, gap.oldest_ts)
        arrived = self._ledger.read_history(wanted, gap.room_id, gap.opened_ts)
        unknown = self._ledger.unknown_pings(arrived)
        self._ledger.learn((await self._writer.find_pings(gap.room_id, unknown)).values())
        redacted = self._read_redactions(events, gap.room_id)
        return dataclasses.replace(self._ledger.judge(arrived), redacted=redacted)

    def _read_redactions(self, events: Sequence[Event], room_id: str) -> list[tuple[str, str]]:
        found = [event_id for event in events if (event_id := read_redaction(event)) is not None]
        if found:
            self._ledger.redact(room_id, found)
        return [(room_id, event_id) for event_id in found]

    async def _finish_history(self, room_id: str) -> bool:
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
            if event_id not in [ping.event_id for ping in found.pings]:
                self._ledger.learn_no_ping(room_id, event_id)
        return True

    async def _follow_upgrades(self, sync: SyncBatch) -> None:
        for timeline in sync.timelines:
            successor = await self._rooms.follow(
                timeline.room_id, [*timeline.state, *timeline.events]
            )
            if successor is not None:
                self._stop_pinging(timeline.room_id)
                self._begin_pinging(successor)

    async def _leave(self, room_id: str) -> None:
        log.error(
            "no longer in the room, so pinging stops; invite the account again and restart",
            room_id=room_id,
        )
        self._stop_pinging(room_id)
        await self._writer.record_room_state(room_id, RoomState.LEFT)

    def _begin_pinging(self, room_id: str) -> None:
        self._pinging[room_id] = self._tasks.create_task(self._pinger.run(room_id))

    def _stop_pinging(self, room_id: str) -> None:
        if (task := self._pinging.pop(room_id, None)) is not None:
            task.cancel()

    async def _report(self) -> None:
        """Tell the store how we are, for those who only read it."""
        while True:
            last_ts = self._synced_ts or self._state_ts
            is_late = _now_ts() - last_ts > UNREACHABLE_S * 1000
            await self._tell(WorkerState.UNREACHABLE if is_late else WorkerState.RUNNING)
            await self._on_alive()
            await asyncio.sleep(REPORT_S)

    async def _seal(self) -> None:
        """Pack past hours; a batch at a time, so that what arrives is written in between."""
        while True:
            while await self._writer.seal(_now_ts()):
                pass
            await asyncio.sleep(SEAL_PAUSE_S)

    async def _tell(self, state: WorkerState) -> None:
        if state is not self._state:
            self._state, self._state_ts = state, _now_ts()
        await self._writer.record_worker(self._vantage, state, self._state_ts, self._synced_ts)


def _now_ts() -> int:
    return time.time_ns() // 1_000_000
