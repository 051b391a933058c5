"""What a case has for itself: a room, a worker behind a fault proxy, a database, a folder."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from contextlib import AsyncExitStack, closing
from pathlib import Path
from time import monotonic
from types import MappingProxyType
from typing import Any, Self
from uuid import uuid4

from httpx import ASGITransport, AsyncClient

from faults.bot import Manner
from faults.claims import expect, until
from faults.database import Database, Stored
from faults.faultproxy import FaultProxy, Injection
from faults.lasting import Lasting
from faults.seed import Seed
from faults.stage import Stage
from faults.truth import Samples, samples_of
from faults.user import User, pong
from faults.worker import COMMAND, WorkerProcess
from pingboard.boards import Boards
from pingboard.lab import Homeserver
from pingboard.store.engine import open_engine
from pingboard.web.app import create_app

UNNOTICED_MS = 1_500
"""A homeserver that answers within a second passes for well; half a second is for clocks."""


class Scene(Lasting):
    """Made by `async with`; it ends the worker, and the homeservers are as before."""

    proxy: FaultProxy
    """between the worker and hs1"""
    account: User
    """the worker's"""
    room_id: str
    rooms: list[str]
    """those to check, by ID"""
    worker: WorkerProcess

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.short = stage.short
        self.directory: Path = stage.directory / uuid4().hex
        self.directory.mkdir()
        self.database = Database(f"sqlite:///{self.directory}/pingboard.db")
        self.alias_localpart = f"ping-{uuid4().hex[:8]}"
        self.alias = f"#{self.alias_localpart}:{stage.lab.homeservers[0].server_name}"
        self.witnesses = [stage.owner]
        """whose homeservers tell what was said in the rooms"""
        self.complete = True
        """whether the worker can see all of the room, so that nothing may be missing"""
        self.heals = True
        """whether the worker is expected to be well once the fault is over"""
        self.end_codes: frozenset[int] = frozenset()
        """the exit codes with which the worker may have ended by itself"""
        self.invented: Samples = {}
        """samples of events that the proxy made up, which the room itself does not have"""
        self.flooded = 0
        """how many pongs of `flood` are sent"""
        self.settle_s = self.within(30)
        self._workers: list[WorkerProcess] = []
        super().__init__()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as lifetime:
            lifetime.push_async_callback(self.stage.mend)
            first = self.homeservers[0]
            self.proxy = await lifetime.enter_async_context(FaultProxy(first.url))
            self.account = await self.stage.register(first, "worker")
            self.room_id = await self.stage.owner.create_room(room_alias_name=self.alias_localpart)
            self.rooms = [self.room_id]
            # One of each homeserver first: of two that join from there at once, Synapse may have
            # one outside again for a moment.
            for residents in ([self.here, self.there], [bot.user for bot in self.stage.bots]):
                await asyncio.gather(*(user.join(self.alias) for user in residents))
            self.worker = self.make_worker()
            lifetime.push_async_callback(self.kill_workers)
            self._lifetime = lifetime.pop_all()
        return self

    @property
    def homeservers(self) -> tuple[Homeserver, ...]:
        """hs1, where the worker is, and hs2."""
        return self.stage.lab.homeservers

    @property
    def here(self) -> User:
        """A person on hs1."""
        return self.stage.here

    @property
    def there(self) -> User:
        """A person on hs2."""
        return self.stage.there

    @property
    def settings(self) -> dict[str, str]:
        """The worker's, without the prefix: a ping a second, DEBUG."""
        return {
            "HOMESERVER": self.proxy.url,
            "USER": self.account.user_id,
            "ACCESS_TOKEN": self.account.account.access_token,
            "ROOMS": self.alias,
            "INTERVAL": "1s",
            "DATABASE_URL": self.database.url,
            "LOG_LEVEL": "DEBUG",
        }

    def make_worker(
        self,
        command: tuple[str, ...] = COMMAND,
        name: str = "worker",
        changes: Mapping[str, str | None] = MappingProxyType({}),
    ) -> WorkerProcess:
        """A worker with some settings changed, None for left out; not started yet."""
        settings = {key: value for key, value in {**self.settings, **changes}.items() if value}
        worker = WorkerProcess(self.proxy, settings, self.directory, command, name)
        worker.ready_timeout_s *= self.stage.patience
        worker.grace_s *= self.stage.patience
        self._workers.append(worker)
        return worker

    async def start(self, **changes: str | None) -> None:
        """Start the worker and wait until it listens."""
        if changes:
            self.worker = self.make_worker(changes=changes)
        await self.worker.start()

    def within(self, seconds: float) -> float:
        """A bound of time, widened on a busy machine."""
        return seconds * self.stage.patience

    @property
    def until_quiet_s(self) -> float:
        """A bound of time for round trips, of which a busy machine lets a worker keep none."""
        return self.within(100)

    def long(self, short: float, long: float) -> float:
        """A figure of this form: seconds, a count."""
        return short if self.short else long

    async def truth(self) -> Samples:
        """The samples that there should be, of all rooms."""
        samples: Samples = dict(self.invented)
        for room_id in self.rooms:
            for witness in self.witnesses:
                samples |= samples_of(await witness.events(room_id))
        return samples

    def samples(self) -> list[Stored]:
        """The samples that there are, of all rooms."""
        return [sample for room_id in self.rooms for sample in self.database.samples(room_id)]

    def trips(self, server: str = "") -> list[Stored]:
        """The samples with a round trip, of all homeservers or of one."""
        return [
            sample
            for sample in self.samples()
            if sample.round_trip_ms is not None and server in ("", sample.pong_server)
        ]

    async def has_trips(self, count: int, server: str = "") -> list[Stored]:
        """Wait for so many round trips, as pings go on: on a busy machine many are void."""

        def enough() -> list[Stored]:
            trips = self.trips(server)
            return trips if len(trips) >= count else []

        otherwise = f"not {count} round trips of {server or 'all'}"
        return await until(enough, self.until_quiet_s, otherwise, 0.5)

    async def has_met(self, fault: Injection, times: int = 1) -> None:
        """Wait until so many requests have met a fault."""
        otherwise = f"{fault.path.pattern} was not asked for {times} times"
        await until(lambda: fault.hits >= times, self.within(40), otherwise)

    def stored(self) -> Samples:
        """The same, as `truth` tells them."""
        return {(sample.ping, sample.pong_server): sample.one_way_ms for sample in self.samples()}

    async def readiness(self) -> tuple[str, str]:
        """What `/readyz` says of the worker: `ready`, or the reason why not; and in words."""
        answer = await self._readyz()
        return str(answer.get("reason") or answer["state"]), str(answer.get("detail"))

    async def _readyz(self) -> dict[str, Any]:
        engine = open_engine(self.database.url, read_only=True)
        try:
            with closing(Boards(engine)) as boards:
                transport = ASGITransport(create_app(boards))
                async with AsyncClient(transport=transport, base_url="http://site") as site:
                    answer: dict[str, Any] = (await site.get("/readyz")).json()
        finally:
            engine.dispose()
        return answer

    async def expect_readiness(self, wanted: str, words: str = "") -> None:
        """Wait until `/readyz` says so, with these words."""

        async def said() -> bool:
            reason, detail = await self.readiness()
            return reason == wanted and words in detail

        await until(said, self.within(20), f"/readyz does not say {wanted} {words}")

    async def has(self, count: int, within_s: float, every_s: float = 0.1) -> float:
        """Wait for so many samples in all; the seconds that it took."""
        begin = monotonic()

        await until(lambda: len(self.samples()) >= count, within_s, f"not {count} samples", every_s)
        return monotonic() - begin

    async def has_more(self, count: int, within_s: float) -> float:
        """Wait for so many more samples than there are, as pings go on; the seconds it took."""
        return await self.has(len(self.samples()) + count, within_s)

    async def make_room(self, name: str, **options: str) -> tuple[str, str]:
        """Make another room with the echo bots in it; its ID and its alias."""
        localpart = f"{self.alias_localpart}-{name}"
        room_id = await self.stage.owner.create_room(room_alias_name=localpart, **options)
        alias = f"#{localpart}:{self.here.server}"
        for bot in self.stage.bots:
            await bot.user.join(alias)
        return room_id, alias

    async def upgrade(self) -> str:
        """Upgrade the room, and let the echo bots follow; the ID of the new one."""
        self.rooms.append(await self.stage.owner.upgrade(self.room_id, "11"))
        for bot in self.stage.bots:
            await bot.user.join(self.alias)
        return self.rooms[-1]

    async def exchange(self, count: int, user: User | None = None) -> list[str]:
        """Let somebody ping so many times, one after the other; the pings' event IDs."""
        user = user or self.there
        return [await user.ping(self.room_id) for _ in range(count)]

    async def flood(self, pongs: int, seed: int = 0) -> None:
        """Fill the room with so many pongs of made-up latency, each to a ping of its own."""
        chance = random.Random(seed)
        self.silence()
        latencies = iter([chance.randrange(10, 5000) for _ in range(pongs)])

        async def one_after_the_other() -> None:
            for ms in latencies:
                ping = await self.here.send(
                    self.room_id, {"msgtype": "m.text", "body": f"!ping {ms}"}
                )
                await self.here.pong(self.room_id, ping, ms)
                self.flooded += 1

        async with asyncio.TaskGroup() as senders:
            for _ in range(16):
                senders.create_task(one_after_the_other())
        for bot in self.stage.bots:
            del bot.manners[self.room_id]

    async def seed(self, pings: int, servers: int) -> None:
        """Fill the room with pongs of so many servers to each of so many pings, at once.

        They are made in hs1's database, because its API takes a minute for a few thousand.
        """
        homeserver = self.homeservers[0]
        await homeserver.stop()
        await asyncio.to_thread(self._seed, homeserver, pings, servers)
        await homeserver.start()

    def _seed(self, homeserver: Homeserver, pings: int, servers: int) -> None:
        with Seed(homeserver, self.room_id) as seed:
            for number in range(pings):
                ping = seed.say(self.here.user_id, {"msgtype": "m.text", "body": f"!ping {number}"})
                for server in range(servers):
                    content = pong(ping, self.here.server, 10 + server)
                    seed.say(f"@echo:s{server}.example", content)

    def silence(self) -> None:
        """Keep the echo bots from answering in this room."""
        for bot in self.stage.bots:
            bot.manners[self.room_id] = Manner(is_silent=True)

    def own_pings(self, events: list[dict[str, object]]) -> list[dict[str, object]]:
        """The worker's among a room's events."""
        return [
            event
            for event in events
            if event["sender"] == self.account.user_id and event["type"] == "m.room.message"
        ]

    async def count_own_pings(self) -> int:
        """How many pings of the worker are in the room."""
        return len(self.own_pings(await self.stage.owner.events(self.room_id)))

    def expect_no_round_trip_over(self, begin_ts: int, end_ts: int, what: str) -> None:
        """No sample has a round trip that contains more of a time (ms since the epoch) than can
        go unnoticed."""
        spanning = [
            sample
            for sample in self.samples()
            if sample.round_trip_ms is not None
            and sample.sent_ts is not None
            and min(sample.sent_ts + sample.round_trip_ms, end_ts) - max(sample.sent_ts, begin_ts)
            > UNNOTICED_MS
        ]
        expect(not spanning, f"a round trip over {what} was kept: {spanning[:1]}")

    async def kill_workers(self) -> None:
        """End all that were made."""
        for worker in self._workers:
            await worker.kill()
