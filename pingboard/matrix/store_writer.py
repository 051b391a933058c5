"""The worker's way to the store: one thread writes, and a write that fails for now is repeated.

The event loop goes on stamping arrivals while the disk is busy, full, or the database away. What
is written comes in order and is the same however often it is repeated, so nothing counts twice.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import stamina

from pingboard.matrix.retry import log_waiting
from pingboard.store import backlog, editions, hours, pings, retention, rooms, status, watches
from pingboard.store.engine import PassingStoreError, explained

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pingboard.model import Batch, Gap, Pending, Ping, RoomState, VoidReason, WorkerState
    from pingboard.store.editions import Edition
    from pingboard.store.engine import Engine
    from pingboard.store.hours import Closing
    from pingboard.store.ingest import Ingest, SavedSession
    from pingboard.store.watches import Watch

MAX_PAUSE_S = 30.0

P = ParamSpec("P")
T = TypeVar("T")


class Writer:
    """The store's calls that a worker makes, off the event loop, each until it succeeds.

    StoreError where trying again can't help.
    """

    def __init__(self, engine: Engine, ingest: Ingest) -> None:
        self._engine = engine
        self._ingest = ingest
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pingboard-writer")
        self._turn = asyncio.Lock()
        self._outage = log_waiting("the database")

    def close(self) -> None:
        """Finish the write under way."""
        self._thread.shutdown()

    async def record(self, batch: Batch, next_batch: str | None = None) -> None:
        """Commit a batch, with the sync token that it leads up to."""
        await self._do(self._ingest.record, batch, next_batch)

    async def record_if_any(self, batch: Batch) -> None:
        """Commit a batch if there is anything in it."""
        if any(getattr(batch, part.name) for part in dataclasses.fields(batch)):
            await self.record(batch)

    async def record_edition(self, new: Edition) -> None:
        """Keep an edition."""
        await self._do(editions.insert_edition, self._engine, new)

    async def add_watch(self, new: Watch) -> bool:
        """Keep a room's watch; return False where it has too many."""
        return await self._do(watches.add_watch, self._engine, new)

    async def remove_watch(self, room_id: str, homeserver: str) -> bool:
        """Drop a room's watch; return False where there was none."""
        return await self._do(watches.remove_watch, self._engine, room_id, homeserver)

    async def move_watches(self, room_id: str, successor: str) -> None:
        """Let the room that replaced a room have its watches."""
        await self._do(watches.move_watches, self._engine, room_id, successor)

    async def record_told(self, told: Watch) -> None:
        """Remember when a room was told about a homeserver."""
        await self._do(watches.record_told, self._engine, told)

    async def record_room(
        self, room_id: str, alias: str | None = None, predecessor: str | None = None
    ) -> None:
        """Remember a joined room."""
        await self._do(self._ingest.record_room, room_id, alias, predecessor)

    async def record_room_state(self, room_id: str, state: RoomState) -> None:
        """Remember whether a room can be measured in."""
        await self._do(self._ingest.record_room_state, room_id, state)

    async def record_worker(
        self,
        vantage: str,
        state: WorkerState,
        since_ts: int,
        synced_ts: int | None,
        late_ms: int,
    ) -> None:
        """Remember how the worker is."""
        await self._do(self._ingest.record_worker, vantage, state, since_ts, synced_ts, late_ms)

    async def record_void_rounds(self, vantage: str, counts: Mapping[VoidReason, int]) -> None:
        """Count rounds of ours that measure nothing."""
        if counts:
            await self._do(status.record_void_rounds, self._engine, vantage, counts)

    async def prepare_closing(self, now_ts: int) -> Closing:
        """Pack some hours that can be closed. This only reads: writing goes on meanwhile."""
        return await self._read(hours.prepare_closing, self._engine, now_ts)

    async def store_closing(self, closing: Closing) -> int:
        """Close those hours that have not changed since; return how many."""
        return await self._do(hours.store_closing, self._engine, closing)

    async def drop_samples(self, before_ts: int) -> bool:
        """Drop an hour's single samples from before a time; False when there is nothing left."""
        return await self._do(retention.drop_samples, self._engine, before_ts)

    async def saved_session(self) -> SavedSession:
        """What the last run of this account left behind."""
        return await self._do(self._ingest.saved_session)

    async def save_login(self, device_id: str, access_token: str) -> None:
        """Keep a login."""
        await self._do(self._ingest.save_login, device_id, access_token)

    async def find_pings(self, room_id: str, event_ids: Sequence[str]) -> dict[str, Ping]:
        """The stored pings among these events of a room."""
        return await self._do(pings.find_pings, self._engine, room_id, event_ids)

    async def latest_pings(self, room_id: str) -> list[str]:
        """The event IDs of the last pings of a room."""
        return await self._do(pings.find_latest_pings, self._engine, room_id)

    async def pending_pongs(self) -> list[Pending]:
        """Pongs whose ping was not known when an earlier run stopped."""
        return await self._do(backlog.read_pending, self._engine)

    async def open_gaps(self) -> list[Gap]:
        """The gaps that are not filled yet."""
        return await self._do(backlog.read_open_gaps, self._engine)

    async def rooms_with_history(self) -> set[str]:
        """The rooms whose history before the first sync has been asked for."""
        return await self._do(backlog.read_rooms_with_history, self._engine)

    async def last_synced_ts(self, vantage: str) -> int | None:
        """When the last answered sync of a worker arrived, as far as it told."""
        workers = (await self._do(status.read_status, self._engine)).workers
        return next((one.synced_ts for one in workers if one.vantage == vantage), None)

    async def alias_of(self, room_id: str) -> str | None:
        """The alias that the operator configured a room by."""
        return await self._do(rooms.read_alias, self._engine, room_id)

    async def room_ids(self) -> set[str]:
        """Every room that was ever joined."""
        return await self._do(rooms.read_room_ids, self._engine)

    async def answered_since(self, room_id: str, since_ts: int) -> dict[str, int]:
        """The servers that answered a ping of ours since then."""
        return await self._do(pings.find_answered_since, self._engine, room_id, since_ts)

    async def _do(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        # Also while it is repeated nobody overtakes: what settles a pong comes after what kept it.
        async with self._turn:
            return await self._until_done(self._thread, functools.partial(work, *args, **kwargs))

    async def _read(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._until_done(None, functools.partial(work, *args, **kwargs))

    async def _until_done(self, thread: Executor | None, work: Callable[[], T]) -> T:
        call = functools.partial(_explained, work)
        async for attempt in stamina.retry_context(
            on=PassingStoreError,
            attempts=None,
            timeout=None,
            wait_initial=0.5,
            wait_max=MAX_PAUSE_S,
        ):
            with attempt:
                try:
                    answer = await asyncio.get_running_loop().run_in_executor(thread, call)
                except PassingStoreError as error:
                    self._outage.note(error)
                    raise
                self._outage.end()
                return answer
        raise AssertionError("attempts are unlimited")


def _explained(call: Callable[[], T]) -> T:
    with explained():
        return call()
