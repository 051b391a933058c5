"""Events, and what a worker makes of them: its own reader and a real store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select

from faults.user import Event, make_event
from pingboard.matrix import clock
from pingboard.matrix.pings import SentPings
from pingboard.matrix.pongs import PongMatcher
from pingboard.matrix.record import TimelineReader
from pingboard.matrix.rooms import JoinedRooms, Members
from pingboard.matrix.store_writer import Writer
from pingboard.matrix.sync import SyncBatch, Timeline
from pingboard.model import Batch, Gap
from pingboard.store.engine import Engine
from pingboard.store.ingest import Ingest
from pingboard.store.schema import sample, server
from tests.samples import START_TS

ROOM = "!room"
PREDECESSOR = "!predecessor"
US = "@pingboard:one.example"


def ping_event(event_id: str, sender: str = "@a:one.example", **more: Any) -> Event:
    return make_event(event_id, sender, {"msgtype": "m.text", "body": "!ping abc"}, START_TS) | more


def pong_event(event_id: str, ping: str, server: str = "two.example", ms: int = 100) -> Event:
    """A pong of the block alone; by its own time it takes as long as it claims."""
    block = {"ms": ms, "from": "one.example", "ping": ping}
    return make_event(
        event_id, f"@bot:{server}", {"msgtype": "m.notice", "pong": block}, START_TS + ms
    )


def membership_event(user_id: str, membership: str) -> Event:
    event = make_event(f"${membership}", user_id, {"membership": membership}, START_TS)
    return event | {"type": "m.room.member", "state_key": user_id}


class Reading:
    """A worker's reading of one room; times are seconds after `START_TS`.

    `heard_s` are the rooms known from an earlier run, which synced until `synced_s`.
    """

    def __init__(
        self, engine: Engine, heard_s: Mapping[str, int] | None = None, synced_s: int = 0
    ) -> None:
        heard_s = {ROOM: 0} if heard_s is None else heard_s
        self._engine = engine
        ingest = Ingest(engine, US)
        ingest.record_room(ROOM)
        self.writer = Writer(engine, ingest)
        sent = SentPings()
        self._pongs = PongMatcher(US, "test", sent)
        # Nothing is asked of a homeserver here.
        rooms = JoinedRooms(None, self.writer, lambda *_: None)  # type: ignore[arg-type]
        rooms.members[ROOM] = Members({})
        rooms.lineages[ROOM] = [ROOM, PREDECESSOR]
        self._reader = TimelineReader(
            US,
            self.writer,
            self._pongs,
            sent,
            rooms,
            backfill_ms=7 * 86_400_000,
            heard={room_id: START_TS + s * 1000 for room_id, s in heard_s.items()},
            synced_ts=START_TS + synced_s * 1000,
        )
        self._syncs = 0

    async def sync(
        self, *events: Event, at_s: int, limited: bool = False, kicked: bool = False
    ) -> list[Gap]:
        """Record what a sync response brings; return the gaps before it."""
        self._syncs += 1
        sync = SyncBatch(
            since=f"s{self._syncs - 1}",
            next_batch=f"s{self._syncs}",
            rooms=frozenset([ROOM]),
            arrived_ns=at_s * 10**9,
            arrived_ts=START_TS + at_s * 1000,
            is_past=False,
            timelines=[] if kicked else [Timeline(ROOM, list(events), [], limited)],
            left_rooms=[ROOM] if kicked else [],
        )
        batch = await self._reader.read_sync(sync)
        await self.writer.record(batch, sync.next_batch)
        return list(batch.gaps)

    async def page(self, events: Sequence[Event], gap: Gap) -> Batch:
        """Record a page of a gap's history, its events oldest first."""
        batch = await self._reader.read_page(events, gap)
        await self.writer.record(batch)
        return batch

    async def give_up(self, at_s: int) -> None:
        """Give up on pongs that have been pending for too long in so many seconds from now."""
        at_ns = clock.now_ns() + at_s * 10**9
        await self.writer.record(self._pongs.expire(at_ns, lambda _: False))

    def samples(self) -> list[tuple[str, int]]:
        """Return the pong servers and one-way latencies of the open hours' samples."""
        statement = select(server.c.name, sample.c.one_way_ms)
        with self._engine.connect() as connection:
            joined = statement.join(sample, sample.c.pong_server == server.c.id)
            return sorted((name, one_way_ms) for name, one_way_ms in connection.execute(joined))
