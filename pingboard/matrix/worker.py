"""The stream of room events -> the store.

Each response becomes one `Batch`, committed together with the token that it leads up to: a crash
at any moment leaves either both or none, so nothing is lost and nothing counts twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from typing import TYPE_CHECKING, Protocol

import structlog

from pingboard.matrix import clock
from pingboard.matrix.gaps import GapFiller
from pingboard.matrix.intake import Intake
from pingboard.matrix.ledger import Ledger
from pingboard.matrix.patience import patiently
from pingboard.matrix.pinger import Pinger
from pingboard.matrix.rooms import Rooms
from pingboard.matrix.session import Session
from pingboard.matrix.stream import batches
from pingboard.model import (
    AccountError,
    HomeserverError,
    PingboardError,
    RoomState,
    WorkerState,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import timedelta

    from pingboard.matrix.protocol import Event
    from pingboard.matrix.session import Account
    from pingboard.matrix.stream import SyncBatch
    from pingboard.matrix.writer import Writer

HOLD_MS = 30_000
"""How long our homeserver may hold a sync open."""

WATCH_S = 60.0
WATCH_HOLD_MS = 2_000
"""So long after a ping it may do so more briefly: a sync that does not come back in time shows
that our homeserver is held up, and that what arrives then measures nothing."""

JOIN_HOLD_MS = 1_000
"""So briefly while rooms are being joined, because the sync under way leaves them out."""

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
    """Listens in the rooms and pings them. `run` until cancelled, then `close`.

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
        retention: timedelta | None = None,
        attendants: Sequence[Attendant] = (),
    ) -> None:
        self._writer = writer
        self._account = account
        self._configured_rooms = rooms
        self._interval = interval
        self._vantage = vantage
        self._backfill_ms = round(backfill.total_seconds() * 1000)
        self._retention = retention
        self._on_alive = on_alive
        self._attendants = attendants
        self._pinging: dict[str, asyncio.Task[None]] = {}
        self._synced_ts: int | None = None
        self._synced_ns = 0
        self._is_changed = asyncio.Event()
        self._has_room = asyncio.Event()
        self._first_tries = set(rooms)
        self._heard: set[str] = set()
        """rooms that are pinged, or were"""
        self._waiting_state = WorkerState.STARTING
        self._state = WorkerState.STOPPED
        self._state_ts = _now_ts()

    async def run(self) -> None:
        """Log in, join, ping and record until cancelled. What is away is waited for.

        Raises ConfigurationError, and AccountError where the homeserver turns us away.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(self._measure())
                tasks.create_task(self._report())
                tasks.create_task(self._seal())
        except* AccountError as errors:
            await self._tell(WorkerState.AUTH)
            raise errors.exceptions[0] from None
        except* PingboardError as errors:
            raise errors.exceptions[0] from None

    async def _measure(self) -> None:
        self._session = await self._log_in()
        self._pinger = Pinger(self._session, self._interval, self._writer.record_room_state)
        self._rooms = Rooms(self._session, self._writer)
        pending = await self._writer.pending_pongs()
        self._intake = Intake(
            self._session,
            self._writer,
            self._rooms,
            Ledger(self._session.user_id, self._vantage, self._pinger.sent, pending),
            backfill_ms=self._backfill_ms,
            with_history=await self._writer.rooms_with_history(),
        )
        self._filler = GapFiller(
            self._session,
            open_gaps=self._writer.open_gaps,
            read=self._intake.read_page,
            store=self._writer.record,
            finish=self._intake.finish_history,
            latest_pings=self._writer.latest_pings,
        )
        # What waits since an earlier run may wait for a ping that no gap brings any more.
        unfinished = [one.pong.room_id for one in pending]
        unfinished += [gap.room_id for gap in await self._writer.open_gaps()]
        self._filler.notice(unfinished)
        for room in self._configured_rooms:
            self._tasks.create_task(self._join(room))
        self._tasks.create_task(self._listen())
        self._tasks.create_task(self._filler.run())
        for attendant in self._attendants:
            self._tasks.create_task(attendant.run(self._session))

    async def _log_in(self) -> Session:
        async def tell(error: HomeserverError) -> None:
            self._waiting_state = _waiting_state(error, WorkerState.UNREACHABLE)
            self._is_changed.set()

        session = await patiently(lambda: Session.open(self._account, self._writer), on_fault=tell)
        self._waiting_state = WorkerState.STARTING
        return session

    async def close(self) -> None:
        """Finish the write under way and let go of the homeserver."""
        if self._state not in (WorkerState.AUTH, WorkerState.STOPPED):
            await self._tell(WorkerState.STOPPED)
        if hasattr(self, "_session"):
            await self._session.aclose()

    async def _join(self, room: str) -> None:
        async def tell(error: HomeserverError) -> None:
            self._first_tries.discard(room)
            self._waiting_state = _waiting_state(error, WorkerState.JOINING)
            self._is_changed.set()

        await self._rooms.join(room, tell)
        self._first_tries.discard(room)
        self._has_room.set()

    async def _listen(self) -> None:
        await self._has_room.wait()
        self._synced_ns = clock.now_ns()  # as good as a sync: from now on it can be late
        self._begin_pinging_new()
        saved = await self._writer.saved_session()
        stream = batches(self._session, saved.next_batch, self._rooms.joined, self._hold_ms)
        async for sync in stream:
            self._pinger.homeserver_answers()
            if sync.stalled:
                self._pinger.void_all()
            for room_id in sync.left_rooms:
                await self._leave(room_id)
            batch = self._intake.without_found(await self._intake.read_sync(sync))
            await self._writer.record(batch, sync.next_batch)
            # Only now: told earlier, it could look for them before they are there.
            with_gap = [gap.room_id for gap in batch.gaps]
            self._filler.notice(with_gap)
            self._synced_ts, self._synced_ns = sync.arrived_ts, sync.arrived_ns
            if self._state is not WorkerState.RUNNING:
                self._is_changed.set()
            self._tell_attendants(sync, with_gap)
            await self._follow_upgrades(sync)
            # Only now: the sync that was under way as a room was joined tells nothing of it.
            self._begin_pinging_new()
            given_up = self._intake.expire(sync.arrived_ts, self._filler.is_filling)
            await self._writer.record_if_any(given_up)

    def _tell_attendants(self, sync: SyncBatch, with_gap: list[str]) -> None:
        """What was said just now, not what a gap left of it."""
        for timeline in sync.timelines:
            if timeline.room_id not in with_gap:
                for attendant, event in itertools.product(self._attendants, timeline.events):
                    attendant.hear(event, timeline.room_id, self._session.user_id)

    def _hold_ms(self) -> int:
        if self._first_tries:
            return JOIN_HOLD_MS
        return WATCH_HOLD_MS if self._pinger.sent_within(WATCH_S) else HOLD_MS

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

    def _begin_pinging_new(self) -> None:
        for room_id in self._rooms.joined:
            if room_id not in self._heard:
                self._heard.add(room_id)
                self._begin_pinging(room_id)

    def _begin_pinging(self, room_id: str) -> None:
        self._heard.add(room_id)
        self._pinging[room_id] = self._tasks.create_task(self._pinger.run(room_id))

    def _stop_pinging(self, room_id: str) -> None:
        if (task := self._pinging.pop(room_id, None)) is not None:
            task.cancel()

    async def _report(self) -> None:
        """Tell the store how we are, for those who only read it; at once where that is better."""
        while True:
            self._is_changed.clear()
            await self._tell(self._how_we_are())
            await self._on_alive()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REPORT_S):
                    await self._is_changed.wait()

    def _how_we_are(self) -> WorkerState:
        if not self._has_room.is_set():
            return self._waiting_state
        if clock.now_ns() - self._synced_ns > UNREACHABLE_S * 1e9:
            return WorkerState.UNREACHABLE
        return WorkerState.STARTING if self._synced_ts is None else WorkerState.RUNNING

    async def _seal(self) -> None:
        """Pack past hours and months, bit by bit: what arrives is written in between."""
        while True:
            is_later = False
            while await self._writer.seal(_now_ts()):
                is_later = True
            while await self._writer.count_month(_now_ts()):
                pass
            if is_later:  # by an hour, so that there may be more to fold
                await self._writer.fold(_now_ts())
            if self._retention is not None:
                kept_ms = round(self._retention.total_seconds() * 1000)
                while await self._writer.retire(_now_ts() - kept_ms):
                    pass
            await asyncio.sleep(SEAL_PAUSE_S)

    async def _tell(self, state: WorkerState) -> None:
        if state is not self._state:
            self._state, self._state_ts = state, _now_ts()
        await self._writer.record_worker(self._vantage, state, self._state_ts, self._synced_ts)
        if hasattr(self, "_pinger"):
            await self._writer.record_void_rounds(self._vantage, self._pinger.take_void())


def _waiting_state(error: HomeserverError, refused: WorkerState) -> WorkerState:
    """What we wait for after a fault; `refused` where our homeserver answers, but says no."""
    if error.errcode == "M_USER_LOCKED":
        return WorkerState.LOCKED
    return WorkerState.UNREACHABLE if error.errcode is None else refused


def _now_ts() -> int:
    return time.time_ns() // 1_000_000
