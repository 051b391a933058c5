"""The worker's way to the store: one thread writes, and a write that fails for now is repeated.

The event loop goes on stamping arrivals while the disk is busy, full, or the database away. What
is written comes in order and is the same however often it is repeated, so nothing counts twice.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

import stamina
import structlog

from pingboard.matrix.retry import log_waiting
from pingboard.model import Batch, DamagedHourError
from pingboard.store.engine import Engine, PassingStoreError, explained
from pingboard.store.ingest import Ingest, SavedSession, make_batch_number

MAX_PAUSE_S = 30.0

log = structlog.get_logger()

P = ParamSpec("P")
T = TypeVar("T")


class Writer:
    """Calls the store off the event loop, one call after the other, each until it succeeds.

    StoreError where trying again can't help.
    """

    def __init__(self, engine: Engine, ingest: Ingest) -> None:
        self._engine = engine
        self._ingest = ingest
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pingboard-writer")
        self._turn = asyncio.Lock()
        self._outage = log_waiting("the database")
        self._told_damage: set[str] = set()

    def close(self) -> None:
        """Finish the write under way."""
        self._thread.shutdown()

    async def call(
        self, work: Callable[Concatenate[Engine, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call a function of the store with the database."""
        return await self._call_in_turn(functools.partial(work, self._engine, *args, **kwargs))

    async def call_beside(
        self, work: Callable[Concatenate[Engine, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call one that only reads, and for long: writing goes on meanwhile."""
        return await self._until_done(None, functools.partial(work, self._engine, *args, **kwargs))

    async def record(self, batch: Batch, next_batch: str | None = None) -> None:
        """Commit a batch, with the sync token that it leads up to; nothing where both are empty."""
        if next_batch is not None or any(
            getattr(batch, part.name) for part in dataclasses.fields(batch)
        ):
            number = make_batch_number()
            record = functools.partial(self._ingest.record, batch, next_batch, number=number)
            self.tell_damage(await self._call_in_turn(record))

    async def record_room(self, room_id: str, alias: str | None, predecessor: str | None) -> None:
        record = functools.partial(self._ingest.record_room, room_id, alias, predecessor)
        self.tell_damage(await self._call_in_turn(record))

    def tell_damage(self, damaged: Iterable[DamagedHourError]) -> None:
        """Log what is wrong with hours that can't be read, once each; all else goes on."""
        for error in damaged:
            if error.description not in self._told_damage:
                self._told_damage.add(error.description)
                log.error("what belongs to a damaged hour is left out", error=str(error))

    async def saved_session(self) -> SavedSession:
        """Return what the last run of this account left behind."""
        return await self._call_in_turn(self._ingest.saved_session)

    async def save_login(self, device_id: str, access_token: str) -> None:
        save = functools.partial(self._ingest.save_login, device_id, access_token)
        await self._call_in_turn(save)

    async def _call_in_turn(self, work: Callable[[], T]) -> T:
        # Also while it is repeated nobody overtakes: what settles a pong comes after what kept it.
        async with self._turn:
            return await self._until_done(self._thread, work)

    async def _until_done(self, thread: Executor | None, work: Callable[[], T]) -> T:
        async for attempt in stamina.retry_context(
            on=PassingStoreError,
            attempts=None,
            timeout=None,
            wait_initial=0.5,
            wait_max=MAX_PAUSE_S,
        ):
            with attempt:
                try:
                    loop = asyncio.get_running_loop()
                    answer = await loop.run_in_executor(thread, explained()(work))
                except PassingStoreError as error:
                    self._outage.note(error)
                    raise
                self._outage.end()
                return answer
        raise AssertionError("attempts are unlimited")
