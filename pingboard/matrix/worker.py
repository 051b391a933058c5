"""The stream of room events -> the store.

Each sync response becomes one `Batch`, committed together with its token: a crash at any moment
leaves either both or none, so nothing is lost and nothing counts twice.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import structlog

from pingboard.matrix.login import log_in
from pingboard.matrix.pinger import Pinger, SentPing
from pingboard.matrix.protocol import read_event
from pingboard.matrix.session import Account, SyncBatch, Timeline
from pingboard.matrix.verify import verify
from pingboard.model import (
    PONG_TIMEOUT_MS,
    Batch,
    HomeserverError,
    Ping,
    PingboardError,
    Pong,
    Rejected,
    Sample,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import timedelta

    from pingboard.matrix.protocol import Event
    from pingboard.store.ingest import Ingest

MAX_LOOKUPS = 10
"""How many unknown pings one batch asks our homeserver for: whoever invents pings can't make us
flood it."""

P = ParamSpec("P")
T = TypeVar("T")

log = structlog.get_logger()


class Worker:
    """Listens in the rooms and pings them. `start`, then `run` until cancelled, then `close`."""

    def __init__(
        self,
        ingest: Ingest,
        account: Account,
        rooms: Sequence[str],
        *,
        interval: timedelta,
        vantage: str,
    ) -> None:
        self._account = account
        self._wanted_rooms = rooms
        self._interval = interval
        self._vantage = vantage
        self._ingest = ingest
        # One thread writes, so the event loop stamps arrivals while the disk is busy.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="pingboard-writer")
        self._pings: dict[str, tuple[Ping, SentPing | None]] = {}
        self._rooms: list[str] = []

    async def start(self) -> None:
        """Log in and join the rooms; raises ConfigurationError and HomeserverError."""
        self._session = await log_in(self._account, self._ingest)
        for room in self._wanted_rooms:
            room_id = await self._session.join(room)
            alias = room if room.startswith("#") else None
            await self._write(self._ingest.record_room, room_id, alias)
            self._rooms.append(room_id)
            log.info("joined", room=room, room_id=room_id)
        saved = await self._write(self._ingest.saved_session)
        self._since = saved.next_batch or await self._session.position()
        self._pinger = Pinger(self._session, self._interval)

    async def run(self) -> None:
        """Ping and record until cancelled; AccountError where the homeserver turns us away."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._pinging = {
                    room_id: tasks.create_task(self._pinger.run(room_id)) for room_id in self._rooms
                }
                tasks.create_task(self._listen())
        except* PingboardError as errors:
            raise errors.exceptions[0] from None

    async def close(self) -> None:
        """Finish the write under way and let go of the homeserver."""
        self._writer.shutdown()
        if hasattr(self, "_session"):
            await self._session.aclose()

    async def _listen(self) -> None:
        async for sync in self._session.batches(self._since, self._rooms):
            for room_id in sync.left_rooms:
                log.error("no longer in the room, pinging stops", room_id=room_id)
                self._pinging[room_id].cancel()
            batch = await self._read(sync)
            await self._write(self._ingest.record, batch, sync.next_batch)
            if batch.samples or batch.rejected:
                counts = {"pongs": len(batch.samples), "rejected": len(batch.rejected)}
                log.debug("recorded", **counts)
            self._forget_old(sync.arrived_ts)

    async def _read(self, sync: SyncBatch) -> Batch:
        """What a sync response says, verified."""
        pings: list[Ping] = []
        pongs: list[Pong] = []
        rejected: list[Rejected] = []
        for timeline in sync.timelines:
            if timeline.limited:
                log.warning("events were left out of the timeline", room_id=timeline.room_id)
            for read in self._read_timeline(timeline, sync):
                if isinstance(read, Ping):
                    pings.append(read)
                elif isinstance(read, Pong):
                    pongs.append(read)
                else:
                    rejected.append(read)
        await self._find_pings(pongs)
        samples = []
        for pong in pongs:
            ping, sent = self._pings.get(pong.ping_event_id, (None, None))
            reason = verify(pong, ping)
            if reason is not None:
                rejected.append(Rejected(pong.room_id, pong.server, reason, pong.seen_ts))
            elif ping is not None:
                samples.append(Sample(ping, pong, _round_trip_ms(sent, sync.arrived_ns)))
        return Batch(pings, samples, rejected)

    def _read_timeline(
        self, timeline: Timeline, sync: SyncBatch
    ) -> Iterable[Ping | Pong | Rejected]:
        for event in timeline.events:
            read = read_event(event, timeline.room_id, sync.arrived_ts)
            if isinstance(read, Ping):
                read = self._learn(read, event, sync.arrived_ns)
            if read is not None:
                yield read

    def _learn(self, ping: Ping, event: Event, arrived_ns: int) -> Ping:
        """Remember a ping for the pongs to come; recognise our own by its transaction ID."""
        sent = None
        if event["sender"] == self._session.user_id:
            ping = dataclasses.replace(ping, vantage=self._vantage)
            unsigned = event.get("unsigned")
            tx_id = unsigned.get("transaction_id") if isinstance(unsigned, dict) else None
            sent = self._pinger.sent(tx_id) if isinstance(tx_id, str) else None
            if sent is not None:
                sent.void_if_stalled(arrived_ns)
                ping = dataclasses.replace(ping, sent_ts=sent.sent_ts)
        self._pings.setdefault(ping.event_id, (ping, sent))
        return ping

    async def _find_pings(self, pongs: Sequence[Pong]) -> None:
        """Learn the pings that pongs name and we did not see: from the store, or by asking."""
        for room_id in {pong.room_id for pong in pongs}:
            named = {pong.ping_event_id for pong in pongs if pong.room_id == room_id}
            unknown = sorted(named - self._pings.keys())
            stored = await self._write(self._ingest.find_pings, room_id, unknown)
            self._pings.update({event_id: (ping, None) for event_id, ping in stored.items()})
            for event_id in [one for one in unknown if one not in stored][:MAX_LOOKUPS]:
                await self._look_up(room_id, event_id)

    async def _look_up(self, room_id: str, event_id: str) -> None:
        try:
            event = await self._session.event(room_id, event_id)
        except HomeserverError as error:
            log.warning("can't look a ping up", error=str(error))
            return
        origin_ts = (event or {}).get("origin_server_ts")
        if event is None or not isinstance(origin_ts, int):
            return
        # We did not see it arrive, so its own time stands for our receipt.
        ping = read_event(event, room_id, origin_ts)
        if isinstance(ping, Ping) and ping.event_id == event_id:
            self._pings[event_id] = (ping, None)

    def _forget_old(self, now_ts: int) -> None:
        oldest_ts = now_ts - 2 * PONG_TIMEOUT_MS
        for event_id in [key for key, (ping, _) in self._pings.items() if ping.seen_ts < oldest_ts]:
            del self._pings[event_id]

    async def _write(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        call = functools.partial(work, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._writer, call)


def _round_trip_ms(sent: SentPing | None, arrived_ns: int) -> int | None:
    if sent is None or sent.void:
        return None
    return round((arrived_ns - sent.sent_ns) / 1e6)
