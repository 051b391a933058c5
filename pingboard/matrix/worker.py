"""Wires the parts: pings out, sync responses in, through one queue to the store.

sync -> record -> the store         pings, backfill, rooms beside them
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta

import structlog

from pingboard.matrix import clock
from pingboard.matrix.backfill import Backfill, PingLookup
from pingboard.matrix.bot import Bot
from pingboard.matrix.pings import Pinger, SentPings
from pingboard.matrix.pongs import PongMatcher
from pingboard.matrix.record import Recorder, TimelineReader
from pingboard.matrix.retry import retry_until_answered
from pingboard.matrix.rooms import JoinedRooms
from pingboard.matrix.session import Account, Session
from pingboard.matrix.store_writer import Writer
from pingboard.matrix.sync import SyncBatch, sync_batches
from pingboard.model import (
    AccountError,
    Batch,
    HomeserverError,
    LeaseError,
    PingboardError,
    RoomState,
    WorkerState,
)
from pingboard.store.backlog import read_heard_times, read_open_gaps, read_pending
from pingboard.store.hours import prepare_closing, store_closing
from pingboard.store.retention import drop_samples
from pingboard.store.rooms import record_room_state
from pingboard.store.status import read_status, record_worker

JOIN_HOLD_MS = 1_000
"""So briefly while rooms are being joined, because the sync under way leaves them out."""

REPORT_S = 10.0
CLOSING_PAUSE_S = 60.0
EXPIRE_PAUSE_S = 5.0
SAVE_S = 10.0
"""How often the token of responses that say nothing is stored."""

UNREACHABLE_S = 90.0
"""Without an answered sync for so long, our homeserver is not reachable."""

log = structlog.get_logger()


async def _nothing() -> None:
    """Do nothing, where nobody else can be active."""


class Worker:
    """Listens in the rooms and pings them. `run` until cancelled, then `close`.

    `guard` runs beside everything, and what it raises ends the worker. `may_ping` says before each
    ping whether no other worker can be active.
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
        guard: Callable[[], Coroutine[None, None, None]] = _nothing,
        may_ping: Callable[[], bool] = lambda: True,
        retention: timedelta | None = None,
        bots: Sequence[Bot] = (),
    ) -> None:
        self._writer = writer
        self._account = account
        self._configured_rooms = rooms
        self._interval = interval
        self._vantage = vantage
        self._backfill_ms = round(backfill.total_seconds() * 1000)
        self._retention = retention
        self._guard = guard
        self._may_ping = may_ping
        self._bots = bots
        self._sent = SentPings()
        self._pinging: dict[str, asyncio.Task[None]] = {}
        self._replaced: set[str] = set()
        """rooms of which an upgrade was followed, maybe before they were joined again"""
        self._lateness = clock.LoopLateness()
        self._synced_ts: int | None = None
        self._synced_ns = 0
        self._is_locked = False
        self._is_changed = asyncio.Event()
        self._has_room = asyncio.Event()
        self._first_tries = set(rooms)
        self._waiting_state = WorkerState.STARTING
        self._state = WorkerState.STOPPED
        self._state_ts = clock.now_ts()

    async def run(self) -> None:
        """Log in, join, ping and record until cancelled. What is away is waited for.

        Raises ConfigurationError, and AccountError where the homeserver turns us away.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(self._measure())
                tasks.create_task(self._report())
                tasks.create_task(self._lateness.run())
                tasks.create_task(self._guard())
                tasks.create_task(self._close_hours())
        except* AccountError as errors:
            await self._tell(WorkerState.AUTH)
            raise errors.exceptions[0] from None
        except* LeaseError as errors:
            # Another worker writes: to tell how we are would be refused for as long as it does.
            self._state = WorkerState.STOPPED
            raise errors.exceptions[0] from None
        except* PingboardError as errors:
            raise errors.exceptions[0] from None

    async def _measure(self) -> None:
        self._session = await self._log_in()
        session, writer = self._session, self._writer
        self._pinger = Pinger(session, self._sent, self._interval, writer, self._may_ping)
        self._rooms = JoinedRooms(session, writer, self._replace_room)
        await self._rooms.listen_where_known(self._configured_rooms)
        self._saved = await writer.saved_session()
        pending = await writer.call(read_pending)
        self._pongs = PongMatcher(session.user_id, self._vantage, self._sent, pending)
        self._recorder = Recorder(writer)
        self._lookup = PingLookup(session, writer, self._pongs, self._recorder)
        self._reader = TimelineReader(
            session.user_id,
            writer,
            self._pongs,
            self._sent,
            self._rooms,
            backfill_ms=self._backfill_ms,
            heard=await self._read_heard_times(),
            synced_ts=await self._read_synced_ts(),
        )
        self._backfill = Backfill(session, writer, self._reader, self._recorder, self._lookup)
        # What is pending since an earlier run may name a ping that no gap brings any more.
        unfinished = [candidate.pong.room_id for candidate in pending]
        unfinished += [gap.room_id for gap in await writer.call(read_open_gaps)]
        self._backfill.notice(unfinished)
        for room in self._configured_rooms:
            self._tasks.create_task(self._join(room))
        for work in (
            self._receive(),
            self._recorder.run(),
            self._lookup.run(),
            self._backfill.run(),
            self._rooms.run(),
            self._expire(),
        ):
            self._tasks.create_task(work)
        if self._retention is not None:
            self._tasks.create_task(self._drop_samples(self._retention))
        for bot in self._bots:
            self._tasks.create_task(bot.run(self._session))

    async def _read_heard_times(self) -> dict[str, int]:
        """None of another account, or of a homeserver that was set up anew."""
        if self._saved.next_batch is None:
            return {}
        return await self._writer.call(read_heard_times)

    async def _read_synced_ts(self) -> int:
        """When the last sync of an earlier run arrived; now where there was none."""
        workers = (await self._writer.call(read_status)).workers
        synced = [worker.synced_ts for worker in workers if worker.vantage == self._vantage]
        return next((ts for ts in synced if ts is not None), clock.now_ts())

    async def _log_in(self) -> Session:
        async def tell(error: HomeserverError) -> None:
            self._waiting_state = _waiting_state(error, WorkerState.UNREACHABLE)
            self._is_changed.set()

        session = await retry_until_answered(
            lambda: Session.open(self._account, self._writer), on_fault=tell
        )
        self._waiting_state = WorkerState.STARTING
        return session

    async def close(self) -> None:
        """Finish the write under way and let go of the homeserver."""
        if self._state not in (WorkerState.AUTH, WorkerState.STOPPED):
            # No later event will tell that these measure nothing.
            await self._writer.record(Batch(voided=self._sent.take_unexpected()))
            await self._tell(WorkerState.STOPPED)
        if hasattr(self, "_session"):
            await self._session.aclose()

    async def _join(self, room: str) -> None:
        async def tell(error: HomeserverError) -> None:
            self._first_tries.discard(room)
            self._waiting_state = _waiting_state(error, WorkerState.JOINING)
            self._is_changed.set()

        room_id = await self._rooms.join(room, tell)
        self._first_tries.discard(room)
        if not self._has_room.is_set():
            self._synced_ns = clock.now_ns()  # as good as a sync: from now on one can be late
            self._has_room.set()
        # Many rooms are not pinged all at once.
        share = self._configured_rooms.index(room) / len(self._configured_rooms)
        self._begin_pinging(room_id, share * self._interval.total_seconds())

    async def _receive(self) -> None:
        """Stamp, and ask again at once: nothing here may take longer than a queue."""
        await self._has_room.wait()
        since, save_ns = self._saved.next_batch, 0
        stream = sync_batches(
            self._session, since, self._rooms.members, self._hold_ms, self._note_fault
        )
        async for sync in stream:
            self._sent.hear(sync)
            await self._pinger.hear(sync)
            self._synced_ts, self._synced_ns = sync.arrived_ts, sync.arrived_ns
            self._is_locked = False
            if self._state is not WorkerState.RUNNING:
                self._is_changed.set()
            if not (sync.timelines or sync.left_rooms) and sync.arrived_ns < save_ns:
                continue
            save_ns = sync.arrived_ns + round(SAVE_S * 1e9)
            events = sum(len(timeline.events) for timeline in sync.timelines)
            await self._recorder.put(
                functools.partial(self._reader.read_sync, sync),
                events,
                functools.partial(self._follow_up, sync),
                sync.next_batch,
            )

    async def _note_fault(self, error: HomeserverError) -> None:
        self._is_locked = error.errcode == "M_USER_LOCKED"
        self._pinger.note_outage()
        self._is_changed.set()

    def _follow_up(self, sync: SyncBatch, batch: Batch) -> None:
        """Do what a response calls for once it is stored; nothing here waits."""
        with_gap = [gap.room_id for gap in batch.gaps]
        # Not earlier: it would look for them before they are there.
        self._backfill.notice(with_gap)
        for timeline in sync.timelines:
            self._rooms.note_tombstones(timeline.room_id, [*timeline.state, *timeline.events])
            # Bots hear what was said just now, not what a gap left of it.
            if timeline.room_id not in with_gap:
                for bot, event in itertools.product(self._bots, timeline.events):
                    bot.hear(event, timeline.room_id, self._session.user_id)
        for room_id in self._pinging.keys() & set(sync.left_rooms):
            self._tasks.create_task(self._leave(room_id))

    async def _expire(self) -> None:
        """Give up, now and then, on pongs that were pending for too long."""
        while True:
            await asyncio.sleep(EXPIRE_PAUSE_S)
            await self._recorder.record(self._give_up)

    async def _give_up(self) -> Batch:
        return self._pongs.expire(clock.now_ns(), self._backfill.is_filling)

    def _hold_ms(self) -> int:
        if self._first_tries:
            return JOIN_HOLD_MS
        return self._sent.hold_ms()

    async def _leave(self, room_id: str) -> None:
        with contextlib.suppress(HomeserverError):
            if room_id in await self._session.joined_rooms():
                return  # joined again since the sync was asked for
        self._stop_pinging(room_id)
        log.error(
            "no longer in the room, so pinging stops; invite the account again and restart",
            room_id=room_id,
        )
        await self._writer.call(record_room_state, room_id, RoomState.LEFT)

    def _replace_room(self, room_id: str, successor: str) -> None:
        self._replaced.add(room_id)
        self._stop_pinging(room_id)
        self._begin_pinging(successor)

    def _begin_pinging(self, room_id: str, delay_s: float = 0.0) -> None:
        if room_id not in self._pinging and room_id not in self._replaced:
            self._pinging[room_id] = self._tasks.create_task(self._pinger.run(room_id, delay_s))

    def _stop_pinging(self, room_id: str) -> None:
        if (task := self._pinging.pop(room_id, None)) is not None:
            task.cancel()

    async def _report(self) -> None:
        """Tell the store how we are, for those who only read it; at once where that is better."""
        while True:
            self._is_changed.clear()
            await self._tell(self._how_we_are())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REPORT_S):
                    await self._is_changed.wait()

    def _how_we_are(self) -> WorkerState:
        if not self._has_room.is_set():
            return self._waiting_state
        if self._is_locked:
            return WorkerState.LOCKED
        if clock.now_ns() - self._synced_ns > UNREACHABLE_S * 1e9:
            return WorkerState.UNREACHABLE
        return WorkerState.STARTING if self._synced_ts is None else WorkerState.RUNNING

    async def _close_hours(self) -> None:
        """Close past hours."""
        while True:
            closing = await self._writer.call_beside(prepare_closing, clock.now_ts())
            # Stored a while later, so that who follows new pongs has read those of the hour.
            is_behind = len(closing.hours) > 1
            await asyncio.sleep(1 if is_behind else CLOSING_PAUSE_S)
            await self._writer.call(store_closing, closing)

    async def _drop_samples(self, retention: timedelta) -> None:
        """Drop what is older than the operator wants to keep."""
        kept_ms = round(retention.total_seconds() * 1000)
        while True:
            await asyncio.sleep(CLOSING_PAUSE_S)
            while await self._writer.call(drop_samples, self._session.agreed_ts() - kept_ms):
                pass

    async def _tell(self, state: WorkerState) -> None:
        if state is not self._state:
            self._state, self._state_ts = state, clock.now_ts()
        late_ms = self._lateness.take_ms()
        await self._writer.call(
            record_worker, self._vantage, state, self._state_ts, self._synced_ts, late_ms
        )
        void = self._sent.take_void().elements()
        void_rounds = [(self._vantage, reason) for reason in void]
        await self._writer.record(Batch(void_rounds=void_rounds))


def _waiting_state(error: HomeserverError, refused: WorkerState) -> WorkerState:
    """What we wait for after a fault; `refused` where our homeserver answers, but says no."""
    if error.errcode == "M_USER_LOCKED":
        return WorkerState.LOCKED
    return WorkerState.UNREACHABLE if error.errcode is None else refused
