"""Case 57: the worker against a model, in whatever order things happen to it.

Hypothesis invents the order: pings and pongs (true, late in coming, from several servers), more
events at once than a sync carries, events that come twice, redactions, crashes, jumps of the
clock. After each step the store has to hold exactly what the room's events say (`truth`).
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import time_machine
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from faults.database import Database
from faults.model_homeserver import ROOM_ID, USER_ID, ModelHomeserver
from faults.truth import samples_of
from faults.user import make_event, pong
from pingboard.matrix import backfill
from pingboard.matrix.session import Account
from pingboard.matrix.store_writer import Writer
from pingboard.matrix.worker import Worker
from pingboard.store.engine import Engine, migrate, open_engine
from pingboard.store.ingest import Ingest

SERVERS = ["hs1.example", "hs2.example:8448", "hs3.example"]
SETTLE_S = 60.0
"""Of all that a busy machine needs for one step, such as to go through the whole history again."""

servers = st.sampled_from(SERVERS)


class WorkerMachine(RuleBasedStateMachine):
    """One worker, one room, one database."""

    pings = Bundle("pings")
    pongs = Bundle("pongs")

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.new_event_loop()
        self._lifetime = AsyncExitStack()
        self._folder = tempfile.TemporaryDirectory(prefix="pingboard-machine-")
        self._database = Database(f"sqlite:///{Path(self._folder.name)}/pingboard.db")
        self._count = 0
        self._answers: dict[str, tuple[str, str]] = {}
        self._open_questions: set[tuple[str, str]] = set()
        """where a pong was taken back: whether a second one of the same server then counts
        depends on what was seen first, which the room's events no longer tell"""
        # The model's clock is the true one; only the worker's may jump.
        self._begin_ns = time.monotonic_ns()
        self._begin_ts = time.time_ns() // 1_000_000

    @initialize()
    def begin(self) -> None:
        """A room with nothing in it, and a worker that listens."""
        self._do(self._open())

    @rule(target=pings, server=servers)
    def somebody_pings(self, server: str) -> tuple[str, str]:
        event_id = self._name("ping")
        content = {"msgtype": "m.text", "body": f"!ping {event_id}"}
        self._do(self._homeserver.say(self._event(event_id, server, content)))
        return event_id, server

    @rule(target=pongs, ping=pings, server=servers, ms=st.integers(-50, 10_000))
    def a_bot_answers(self, ping: tuple[str, str], server: str, ms: int) -> str:
        event_id = self._name("pong")
        self._answers[event_id] = (ping[0], server)
        content = pong(ping[0], ping[1], ms)
        self._do(self._homeserver.say(self._event(event_id, server, content)))
        return event_id

    @rule(ping=pings, server=servers)
    def a_bot_lies_about_the_ping_server(self, ping: tuple[str, str], server: str) -> None:
        content = pong(ping[0], "winner.example", 10)
        self._do(self._homeserver.say(self._event(self._name("lie"), server, content)))

    @rule(server=servers, count=st.integers(2, 30))
    def much_happens_at_once(self, server: str, count: int) -> None:
        events = []
        for _ in range(count):
            ping = self._name("ping")
            content = {"msgtype": "m.text", "body": "!ping"}
            events.append(self._event(ping, server, content))
            events.append(self._event(self._name("pong"), server, pong(ping, server, count)))
        self._do(self._homeserver.say(*events))

    @rule(
        ping=pings,
        server=servers,
        count=st.sampled_from([5, 10, 15, 16]),  # as much as there is in whole pages, and more
        late=st.integers(1, 3),
    )
    def some_of_it_comes_late(
        self, ping: tuple[str, str], server: str, count: int, late: int
    ) -> None:
        """From homeservers that were out of reach; in the room's history it is further back."""
        events = []
        for _ in range(count):
            content = {"msgtype": "m.text", "body": "!ping"}
            events.append(self._event(self._name("ping"), server, content))
        pongs = []
        for number in range(late):
            name = self._name("pong")
            pongs.append(self._event(name, f"late{name[5:]}.example", pong(*ping, number)))
        self._do(self._homeserver.say(*events, late=pongs))

    @rule(server=servers)
    def a_pong_comes_before_its_ping(self, server: str) -> None:
        ping = self._name("ping")
        early = self._event(self._name("pong"), server, pong(ping, server, 44))
        late = self._event(ping, server, {"msgtype": "m.text", "body": "!ping"})
        self._do(self._homeserver.say(early))
        self._do(self._homeserver.say(late))

    @rule(count=st.integers(1, 10))
    def events_come_twice(self, count: int) -> None:
        self._homeserver.repeats = count
        self._do(self._homeserver.say())

    @rule(event_id=pongs)
    def a_pong_is_taken_back(self, event_id: str) -> None:
        self._open_questions.add(self._answers[event_id])
        self._do(self._homeserver.take_back(event_id))

    @rule(steps=st.integers(0, 30))
    def the_worker_crashes(self, steps: int) -> None:
        self._do(self._crash(steps))

    @invariant()
    def the_store_is_what_the_room_says(self) -> None:
        if hasattr(self, "_homeserver"):
            self._do(self._settle())

    def teardown(self) -> None:
        self._loop.run_until_complete(self._lifetime.aclose())
        self._loop.close()
        self._folder.cleanup()

    def _do(self, step: Coroutine[Any, Any, None]) -> None:
        self._loop.run_until_complete(step)

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"${kind}{self._count}"

    def _event(self, event_id: str, server: str, content: dict[str, Any]) -> dict[str, Any]:
        now_ts = self._begin_ts + (time.monotonic_ns() - self._begin_ns) // 1_000_000
        return make_event(event_id, f"@somebody:{server}", content, now_ts)

    async def _open(self) -> None:
        self._homeserver = await self._lifetime.enter_async_context(ModelHomeserver())
        self._engine: Engine = open_engine(self._database.url)
        migrate(self._engine)
        self._lifetime.callback(self._engine.dispose)
        await self._start()
        self._lifetime.push_async_callback(self._stop)

    async def _start(self) -> None:
        account = Account(self._homeserver.url, USER_ID, access_token="token")
        self._writer = Writer(self._engine, Ingest(self._engine, "model"))
        self._worker = Worker(
            self._writer,
            account,
            [ROOM_ID],
            interval=timedelta(days=1),
            vantage="model",
            backfill=timedelta(days=7),
        )
        self._running = asyncio.create_task(self._worker.run())

    async def _stop(self) -> None:
        self._running.cancel()
        with suppress(asyncio.CancelledError):
            await self._running
        await self._worker.close()
        self._writer.close()

    async def _crash(self, steps: int) -> None:
        """At any of its steps; what it has committed is all that is left."""
        for _ in range(steps):
            await asyncio.sleep(0)
        await self._stop()
        await self._start()

    async def _settle(self) -> None:
        """Wait until all is stored; an assertion when that never comes."""
        end = time.monotonic() + SETTLE_S
        while True:
            truth = samples_of(self._homeserver.history)
            stored = self._database.samples(ROOM_ID)
            had = {(sample.ping, sample.pong_server): sample.one_way_ms for sample in stored}
            for key in self._open_questions & truth.keys():
                del truth[key]
                had.pop(key, None)
            if had == truth and self._homeserver.synced == len(self._homeserver.events):
                return
            assert not self._running.done(), f"the worker has ended: {self._running}"
            if time.monotonic() > end:
                lost = sorted(truth.keys() - had.keys())
                wrong = sorted(key for key in had if truth.get(key) != had[key])
                raise AssertionError(f"lost {lost}, wrong {wrong}")
            await asyncio.sleep(0.005)


class ClockMachine(WorkerMachine):
    """The same while the worker's wall clock jumps."""

    def __init__(self) -> None:
        super().__init__()
        self._shift: time_machine.travel | None = None

    @rule(shift=st.sampled_from([-86_400, -3_600, 0, 3_600, 86_400]))
    def the_clock_jumps(self, shift: int) -> None:
        self._set_right()
        self._shift = time_machine.travel(time.time() + shift, tick=True)
        self._shift.start()

    def teardown(self) -> None:
        self._set_right()
        super().teardown()

    def _set_right(self) -> None:
        if self._shift is not None:
            self._shift.stop()
            self._shift = None


def run(machine: type[WorkerMachine], examples: int, steps: int) -> None:
    """Let so many workers live through so many steps; the first that fails is told and raised."""
    # Pages so small that a gap has many, and ends at the end of one now and then.
    with patch.multiple(backfill, PAGE_LIMIT=5, MIN_PAGE=1):
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                database=None,
                phases=[Phase.generate],  # a failing step takes seconds: it is not made smaller
                suppress_health_check=list(HealthCheck),
            ),
        )
