"""New pongs and changed ranks, told to everyone who listens: one poller for all of them.

The poller asks the database, so it does not matter which process the worker is; it runs only while
somebody listens. A pong's event ID is its number in the store's journal, the same for ever: who
was cut off names the last one seen, and gets what came since from the database and the rest from
here, none missed and none twice. A board is ranked once for all who listen to its room.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict, Field

from pingboard.boards import Boards, Question
from pingboard.model import (
    DEFAULT_WINDOW,
    BoardName,
    Provenance,
    Standing,
    StoreError,
    Window,
)
from pingboard.store.journal import VersionWatch, can_resume
from pingboard.store.rooms import read_lineage_ids
from pingboard.store.samples import CHUNK_ROWS, StoredSample, read_new
from pingboard.web.schemas import Milliseconds

POLL_S = 0.5
MIN_RANK_PAUSE_S = 1.0
"""Changes of rank are told at most once in so long."""

MAX_RANK_SHARE = 0.02
"""Of a core, for comparing ranks: where boards take long, they are compared less often."""

MAX_LISTENERS = 1000
MAX_QUEUED = 5000
"""Events that wait for one slow listener; then it is cut off, and may resume."""

MAX_RANK_CHANGES = 500
"""Of a room, told one by one; of more at once a `Reset` tells."""

MAX_BATCH = 500
HEARTBEAT_S = 15.0
"""After so long without an event there is an empty batch."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class NewPong:
    id: int
    sample: StoredSample


class RankChange(BaseModel):
    """A homeserver that moved on a board."""

    model_config = ConfigDict(frozen=True)

    room_id: str
    board: BoardName
    homeserver: str
    rank: int | None = Field(description="null where it left the board.")
    previous_rank: int | None = Field(description="null where it is new there.")
    median_ms: Milliseconds | None = Field(description="null where it left the board.")


@dataclass(frozen=True, slots=True)
class Start:
    """From here on nothing is missed."""

    id: int


@dataclass(frozen=True, slots=True)
class Reset:
    """Something is not told: the listener has to read again what it needs."""

    id: int
    reason: str
    room_id: str


LiveEvent = NewPong | RankChange | Start | Reset
_END = None
Ranks = dict[str, Standing]
_Call = Callable[..., Awaitable[Any]]
"""Runs a function with its arguments in the poller's thread."""


@dataclass(slots=True, eq=False)
class _Listener:
    rooms: frozenset[str]
    room_id: str
    since: float = math.inf
    """the version behind which it is told from the queue; nothing before it is set"""
    queue: asyncio.Queue[LiveEvent | None] = field(
        default_factory=lambda: asyncio.Queue(MAX_QUEUED)
    )
    has_ended: bool = False

    def wants(self, event: LiveEvent | None) -> bool:
        """Whether it is of the room that is listened to."""
        if isinstance(event, NewPong):
            return event.sample.ping.room_id in self.rooms and _is_new(event.sample)
        return not isinstance(event, RankChange | Reset) or event.room_id == self.room_id

    def has_had(self, event: LiveEvent | None) -> bool:
        """Whether the database gives it to the listener, or it belongs to before."""
        if isinstance(event, NewPong):
            return event.id <= self.since
        return isinstance(event, RankChange | Reset) and self.since == math.inf

    async def take(self) -> list[LiveEvent]:
        """What waits, or what comes next; empty where nothing does, or after the end."""
        events: list[LiveEvent] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HEARTBEAT_S):
                event = await self.queue.get()
                while event is not _END:
                    events.append(event)
                    if self.queue.empty() or len(events) == MAX_BATCH:
                        return events
                    event = self.queue.get_nowait()
                self.has_ended = True
        return events

    def tell(self, event: LiveEvent | None) -> None:
        """Without waiting: a slow listener must not hold up the others."""
        if self.queue.full():
            while not self.queue.empty():
                self.queue.get_nowait()
            event = _END
        self.queue.put_nowait(event)


class LiveUpdates:
    """What is new in one database. Used from one event loop; `stop` from any thread."""

    def __init__(self, boards: Boards, clock: Callable[[], datetime]) -> None:
        self._boards = boards
        self._clock = clock
        self._listeners: set[_Listener] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._poller: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[None] | None = None
        """of a poller that goes on: done once it knows the version behind which it tells"""
        self._version = 0
        self._ranks: dict[tuple[str, BoardName], Ranks] = {}
        self._comparing = asyncio.Lock()
        """One at a time: what one finds changed, the other must not take for what was before."""
        self._stopped = False

    @property
    def listeners(self) -> int:
        return len(self._listeners)

    @property
    def is_full(self) -> bool:
        return len(self._listeners) >= MAX_LISTENERS

    async def listen(self, room_id: str, after: int | None) -> AsyncGenerator[list[LiveEvent]]:
        """A `Start`, and what is new in a room and its lineage since then, or since `after`.

        In batches, so that much costs little; an empty one where nothing came for a while.
        """
        names = await asyncio.to_thread(read_lineage_ids, self._boards.engine, room_id)
        listener = _Listener(frozenset(names), room_id)
        # Before all else: the poller ends when there is nobody.
        self._listeners.add(listener)
        try:
            await self._start()
            async with self._comparing:
                if (room_id, BoardName.RESPONSE) not in self._ranks:
                    # What the first change is a change from.
                    await asyncio.to_thread(self._compare_ranks, {room_id})
            # The queue gets everything behind this version, the database has all up to it.
            listener.since = version = self._version
            yield [Start(version if after is None else after)]
            if after is not None:
                async for missed in self._catch_up(listener, after, version):
                    yield missed
            while not self._stopped and not listener.has_ended:
                batch = await listener.take()
                if batch or not listener.has_ended:
                    yield batch
        finally:
            self._listeners.discard(listener)

    def stop(self) -> None:
        """End every stream; those who listen come back later and resume."""
        self._stopped = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended already
                self._loop.call_soon_threadsafe(self._tell_all, [_END])

    async def _start(self) -> None:
        if self._ready is None:
            self._loop = asyncio.get_running_loop()
            self._ready = self._loop.create_future()
            self._poller = self._loop.create_task(self._poll(self._ready))
        # A listener that leaves meanwhile must not take it from the others.
        await asyncio.shield(self._ready)

    async def _catch_up(
        self, listener: _Listener, after: int, until: int
    ) -> AsyncIterator[list[LiveEvent]]:
        engine = self._boards.engine
        if not await asyncio.to_thread(can_resume, engine, after):
            reason = "what came since the last event seen is not known any more"
            yield [Reset(until, reason, listener.room_id)]
            return
        while after < until:
            rows = await asyncio.to_thread(read_new, engine, after, until)
            missed = [NewPong(number, sample) for number, sample in rows]
            events = [event for event in missed if listener.wants(event)]
            for start in range(0, len(events), MAX_BATCH):
                yield list[LiveEvent](events[start : start + MAX_BATCH])
            if len(rows) < CHUNK_ROWS:
                return
            after = rows[-1][0]

    async def _poll(self, ready: asyncio.Future[None]) -> None:
        # A thread of its own, because the watch keeps a connection that belongs to one.
        with ThreadPoolExecutor(1, thread_name_prefix="pingboard-live") as thread:
            call = functools.partial(asyncio.get_running_loop().run_in_executor, thread)
            watch = VersionWatch(self._boards.engine)
            try:
                self._version = await call(watch.version)
                self._ranks.clear()
                ready.set_result(None)
                await self._poll_until_alone(watch, call)
            except Exception as error:
                if ready.done():
                    raise
                ready.set_exception(error)
                ready.exception()  # read, also where everybody has left meanwhile
            finally:
                self._ready = None  # who comes from here on starts another
                await call(watch.close)

    async def _poll_until_alone(self, watch: VersionWatch, call: _Call) -> None:
        ranked_version, rank_at = -1, 0.0
        while self._listeners and not self._stopped:
            try:
                version = await call(watch.version)
                self._boards.follow(version)  # perhaps nobody else asks
                await self._tell_pongs(version, call)
                if ranked_version != version and time.monotonic() >= rank_at:
                    spent_s = await self._tell_ranks(call)
                    ranked_version, rank_at = version, time.monotonic() + choose_pause(spent_s)
            except StoreError as error:  # logged once an outage by shared_boards
                log.debug("can't look for new pongs", error=str(error))
            except Exception as error:  # noqa: BLE001 (a bad pass is not fatal: the next looks again)
                log.warning("can't look for new pongs", error=str(error))
            await asyncio.sleep(POLL_S)

    async def _tell_pongs(self, version: int, call: _Call) -> None:
        while self._version < version:
            rows = await call(read_new, self._boards.engine, self._version, version)
            self._tell_all(NewPong(number, sample) for number, sample in rows)
            self._version = rows[-1][0] if len(rows) == CHUNK_ROWS else version

    async def _tell_ranks(self, call: _Call) -> float:
        """Tell everybody who moved; return the processor time that it took, in seconds."""
        async with self._comparing:
            rooms = {listener.room_id for listener in self._listeners}
            # Of a room that nobody listens to any more, what was before is forgotten.
            self._ranks = {key: ranks for key, ranks in self._ranks.items() if key[0] in rooms}
            begun_s = await call(time.thread_time)
            self._tell_all(await call(self._compare_ranks, rooms))
            spent_s: float = await call(time.thread_time) - begun_s
            return spent_s

    def _tell_all(self, events: Iterable[LiveEvent | None]) -> None:
        for event in events:
            for listener in self._listeners:
                if listener.wants(event) and not listener.has_had(event):
                    listener.tell(event)

    def _compare_ranks(self, rooms: Iterable[str]) -> list[LiveEvent]:
        """Who moved in these rooms since the last time; nobody the first time."""
        events: list[LiveEvent] = []
        for room_id in rooms:
            changes = self._compare_room(room_id)
            if len(changes) > MAX_RANK_CHANGES:
                # More would fill the queue of each listener, and so cut off all of them.
                events.append(Reset(self._version, "too many ranks changed at once", room_id))
            else:
                events += changes
        return events

    def _compare_room(self, room_id: str) -> list[RankChange]:
        changes: list[RankChange] = []
        now = self._clock()
        window = Window.named(DEFAULT_WINDOW, now)
        for board in BoardName:
            # Not a board that is shared with requests: it may be of before the change.
            question = Question(board, window, now, room_id)
            standings = Boards.ask(self._boards, question).standings
            ranks = {row.homeserver: row for row in standings}
            before = self._ranks.get((room_id, board))
            self._ranks[room_id, board] = ranks
            if before is not None:
                changes += compare(room_id, board, before, ranks)
        return changes


def choose_pause(spent_s: float) -> float:
    """Return how long to wait before ranks are compared again, by what the last time took."""
    return max(MIN_RANK_PAUSE_S, spent_s / MAX_RANK_SHARE)


def compare(room_id: str, board: BoardName, before: Ranks, now: Ranks) -> list[RankChange]:
    """Who moved between two boards: by the new rank, those who left it last."""
    moved = [
        RankChange(
            room_id=room_id,
            board=board,
            homeserver=name,
            rank=row.rank,
            previous_rank=previous,
            median_ms=row.median_ms,
        )
        for name, row in now.items()
        if (previous := before[name].rank if name in before else None) != row.rank
    ]
    left = [
        RankChange(
            room_id=room_id,
            board=board,
            homeserver=name,
            rank=None,
            previous_rank=row.rank,
            median_ms=None,
        )
        for name, row in before.items()
        if name not in now
    ]
    return moved + left


def _is_new(sample: StoredSample) -> bool:
    """An import brings years of pongs; nobody waits for these."""
    return sample.provenance != Provenance.IMPORT
