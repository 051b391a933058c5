"""The worker in a real room: what it expects, and what is lost."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from bench.true_homeserver import TrueHomeserver
from faults.claims import until
from faults.faultproxy import FaultProxy, never, reset
from faults.model_homeserver import USER_ID
from pingboard.lab import Lab
from pingboard.matrix import worker as worker_module
from pingboard.matrix.pings import JITTER
from pingboard.model import Batch, Sample, WorkerState, to_ts
from pingboard.store.engine import Engine
from pingboard.store.hours import close_hours
from pingboard.store.ingest import Ingest
from pingboard.store.retention import drop_samples
from pingboard.store.schema import (
    ping,
    sample,
    unanswered,
    worker,
)
from pingboard.store.status import record_worker
from tests.databases import count_rows
from tests.matrix.listening import listening, never_stall, rows
from tests.matrix.room_client import Member
from tests.samples import make_ping, make_pong


def states(engine: Engine) -> list[str]:
    return [state for (state,) in rows(engine, worker.c.state)]


async def test_a_worker_is_starting_until_it_has_synced_whatever_an_earlier_run_said(
    lab: Lab, engine: Engine, owner: Member
) -> None:
    room_id = await owner.create_room()
    account = await lab.register(lab.homeservers[0], "starting")
    record_worker(engine, "test", WorkerState.RUNNING, 1, 2)
    async with FaultProxy(account.homeserver_url) as proxy:
        syncing = proxy.inject("/sync", never())
        behind = dataclasses.replace(account, homeserver_url=proxy.url)
        async with listening(lab, engine, behind, [room_id]):
            await until(lambda: syncing.hits > 0)
            assert states(engine) == ["starting"]
    assert states(engine) == ["stopped"]
    async with listening(lab, engine, account, [room_id]):
        await until(lambda: states(engine) == ["running"])
        [(synced_ts,)] = rows(engine, worker.c.synced_ts)
        assert synced_ts > 2


async def test_a_homeserver_that_never_answers_stays_unreachable(
    lab: Lab, engine: Engine, owner: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "REPORT_S", 0.01)
    monkeypatch.setattr(worker_module, "UNREACHABLE_S", 0.1)
    room_id = await owner.create_room()
    account = await lab.register(lab.homeservers[0], "unheard")
    told: list[str] = []

    async def watch() -> None:
        while True:
            told.extend(states(engine))
            await asyncio.sleep(0.01)

    async with FaultProxy(account.homeserver_url) as proxy:
        proxy.inject("/sync", never())
        behind = dataclasses.replace(account, homeserver_url=proxy.url)
        async with listening(lab, engine, behind, [room_id], guard=watch):
            await until(lambda: told.count("unreachable") >= 30)
    first = told.index("unreachable")
    assert set(told[:first]) == {"starting"}
    assert set(told[first:]) == {"unreachable"}


async def test_a_server_that_answered_before_is_expected_to_answer_again(
    lab: Lab, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_stall(monkeypatch)
    account = await lab.register(lab.homeservers[0], "expecting")
    second = {"interval": timedelta(seconds=1), "backfill": timedelta(0)}
    hs2 = lab.homeservers[1].name
    try:
        async with listening(lab, engine, account, [lab.room_alias], **second):
            await until(lambda: count_rows(engine, sample) >= 6)
            lab.network.hold(hs2)

            def missing() -> int:
                return count_rows(engine, unanswered)

            await until(lambda: missing() >= 2)
            lab.network.release(hs2)
            held = missing()
            await until(lambda: missing() < held)
    finally:
        lab.network.release(hs2)
    assert rows(engine, worker.c.vantage, worker.c.state) == [("test", "stopped")]


async def test_pings_of_many_rooms_are_spread_over_the_interval_also_after_an_outage(
    lab: Lab, engine: Engine
) -> None:
    async with TrueHomeserver(rooms=50) as homeserver, FaultProxy(homeserver.url) as proxy:
        account = dataclasses.replace(
            lab.owner, homeserver_url=proxy.url, user_id=USER_ID, access_token="token"
        )

        def first_pings() -> dict[str, float]:
            """When each room was pinged first, of the requests seen so far."""
            sends = [seen for seen in proxy.seen if seen.endpoint == "send"]
            return {seen.path.split("/")[5]: seen.at for seen in reversed(sends)}

        def span_s() -> float:
            return max(first_pings().values()) - min(first_pings().values())

        def silent_s() -> float:
            """How long nothing was sent."""
            last = max(seen.at for seen in proxy.seen if seen.endpoint == "send")
            return asyncio.get_running_loop().time() - last

        interval_s = 4
        timing = {"interval": timedelta(seconds=interval_s), "backfill": timedelta(0)}
        async with listening(lab, engine, account, homeserver.rooms, **timing):
            await until(lambda: len(first_pings()) == 50)
            assert span_s() > interval_s / 2
            proxy.inject("/", reset())
            # Then all are due.
            await until(lambda: silent_s() > interval_s * (1 + JITTER))
            proxy.seen.clear()
            proxy.clear()
            await until(lambda: len(first_pings()) == 50)
            assert span_s() > interval_s / 2


@pytest.mark.parametrize(("age", "kept"), [(timedelta(hours=2), 1), (timedelta(hours=26), 0)])
async def test_a_clock_set_ahead_drops_no_sample_before_its_retention_ends(
    lab: Lab,
    engine: Engine,
    owner: Member,
    monkeypatch: pytest.MonkeyPatch,
    age: timedelta,
    kept: int,
) -> None:
    now = datetime.now(UTC)
    ts = to_ts(now - age)
    old = make_ping(1, seen_ts=ts, origin_server_ts=ts)
    Ingest(engine, "test").record(Batch(samples=[Sample(old, make_pong(old), 120)]))
    close_hours(engine, to_ts(now))
    has_dropped_all = asyncio.Event()

    def drop(engine: Engine, before_ts: int) -> bool:
        has_more = drop_samples(engine, before_ts)
        if not has_more:
            has_dropped_all.set()
        return has_more

    monkeypatch.setattr(worker_module, "CLOSING_PAUSE_S", 0.01)
    monkeypatch.setattr(worker_module, "drop_samples", drop)
    room_id = await owner.create_room()
    account = await lab.register(lab.homeservers[0], f"retention-{kept}")
    with time_machine.travel(now + timedelta(days=2)):
        async with listening(lab, engine, account, [room_id], retention=timedelta(days=1)):
            await has_dropped_all.wait()
    assert [event for (event,) in rows(engine, ping.c.event)].count(old.event_id) == kept
