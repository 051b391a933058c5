"""When pings are sent, and when they are better not."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from pingboard.lab import Lab
from pingboard.lab.faultproxy import FaultProxy, answer, lost_answer
from pingboard.matrix import pinger, stream
from pingboard.matrix.protocol import Event
from pingboard.matrix.session import Session
from pingboard.store.tables import ping, sample, void_round
from tests.matrix.listening import count, listening, rows
from tests.matrix.room_client import Member, until


async def test_a_homeserver_that_is_away_is_not_pinged_through(
    lab: Lab, engine: Any, owner: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pinger, "REPEATS_S", (0.01, 0.01, 0.01))
    room_id = await owner.create_room()
    account = await lab.register(lab.homeservers[0], "knocking")
    clock = asyncio.get_running_loop().time
    async with FaultProxy(account.homeserver_url) as proxy:
        behind = dataclasses.replace(account, homeserver_url=proxy.url)
        interval = timedelta(milliseconds=50)
        async with listening(lab, engine, behind, [room_id], interval=interval):
            await until(lambda: proxy.count("send") > 1)
            proxy.inject("/", answer(502))
            begun = clock()
            await until(lambda: proxy.count("sync", begun) >= 3)
            # One ping, repeated if it was under way, and one more if a sync was; then the sync
            # knocks. Before each ping our homeserver is asked who we are.
            tried_once = 1 + len(pinger.REPEATS_S)
            assert proxy.count("send", begun) <= tried_once
            assert 0 < proxy.count("whoami", begun) <= 1 + tried_once
            proxy.clear()
            mended = clock()
            await until(lambda: proxy.count("send", mended) > 1)


async def test_void_rounds_are_counted_by_what_went_wrong(
    lab: Lab, engine: Any, owner: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (pinger, stream):
        monkeypatch.setattr(module, "STALL_S", 600.0)  # not because this machine is slow
    monkeypatch.setattr(pinger, "REPEATS_S", (0.01, 0.01, 0.01))
    room_id = await owner.create_room()
    account = await lab.register(lab.homeservers[0], "voiding")
    forbidden = {"errcode": "M_UNKNOWN", "error": "not now"}
    async with FaultProxy(account.homeserver_url) as proxy:
        behind = dataclasses.replace(account, homeserver_url=proxy.url)
        interval = timedelta(milliseconds=50)
        async with listening(lab, engine, behind, [room_id], interval=interval):
            await until(lambda: proxy.count("send") > 1)
            for path, fault, times in (
                ("/send/", answer(429, {"errcode": "M_LIMIT_EXCEEDED"}, Retry_After="0"), 1),
                ("/send/", answer(400, forbidden), 1),
                ("/send/", lost_answer(), 2),  # an HTTP client may repeat a PUT by itself once
                ("/sync", answer(502), 1),
            ):
                injected = proxy.inject(path, fault, times)
                await until(lambda: injected.hits == times)  # noqa: B023 (awaited at once)
            await until(lambda: ("stalled",) in rows(engine, void_round.c.reason))
    counts = dict(rows(engine, void_round.c.reason, void_round.c.count))
    assert counts.pop("stalled") > 0
    assert counts.pop("missed", 0) <= 2  # sent before the first sync had come
    assert counts == {"limited": 1, "refused": 1, "retried": 1}


class _Suspending:
    """An attendant that suspends the machine as it hears the first ping: before the next sync."""

    def __init__(self, suspend: Callable[[], None]) -> None:
        self._suspend = suspend

    def hear(self, event: Event, room_id: str, user_id: str) -> None:
        if event["type"] == "m.room.message":
            self._suspend()

    async def run(self, session: Session) -> None:
        pass


@pytest.mark.parametrize("is_between_syncs", [False, True])
async def test_a_round_trip_over_a_suspend_of_the_machine_is_none(
    lab: Lab,
    engine: Any,
    owner: Member,
    monkeypatch: pytest.MonkeyPatch,
    is_between_syncs: bool,
) -> None:
    room_id = await owner.create_room()
    account = await lab.register(lab.homeservers[0], f"suspended-{is_between_syncs}")
    real = time.clock_gettime_ns

    def suspend() -> None:
        # The clocks for timers stand still then; what counts on is asked for by name.
        monkeypatch.setattr(time, "clock_gettime_ns", lambda clock: real(clock) + 300 * 10**9)

    async with FaultProxy(account.homeserver_url) as proxy:
        behind = dataclasses.replace(account, homeserver_url=proxy.url)
        attendants = [_Suspending(suspend)] if is_between_syncs else []
        async with listening(lab, engine, behind, [room_id], attendants=attendants):
            [(event_id,)] = await until(lambda: rows(engine, ping.c.event))
            if not is_between_syncs:
                asked = proxy.count("sync")
                await until(lambda: proxy.count("sync") > asked)
                suspend()
            await owner.pong(room_id, event_id)
            await until(lambda: count(engine, sample) == 1)
    assert rows(engine, sample.c.round_trip_ms) == [(None,)]
