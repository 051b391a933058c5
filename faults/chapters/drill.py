"""The failover drill: a thousand pongs a second, two workers, three APIs, and every end in turn."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

import aiohttp

from faults.case import case
from faults.chapters.failover import (
    LOST_LEASE_CODE,
    end_lease,
    expect_never_two,
    expect_order,
    until_pinged,
)
from faults.chapters.storage import PostgreSQL, postgresql
from faults.claims import expect, now_ts
from faults.crowd import SERVERS, Crowd
from faults.database import Stored
from faults.lasting import in_background
from faults.model_homeserver import ROOM_ID, USER_ID
from faults.scene import Scene
from faults.site import Site
from faults.truth import samples_of
from faults.worker import WorkerProcess
from pingboard.lab.network import reserved_port

PONGS_PER_S = 1_000
APIS = 3
ASK_PAUSE_S = 1.0
"""At this rate each answer reads a growing hour: what is asked more often takes both cores."""
PATHS = ("/api/v1/rankings", "/", "/rankings.md", "/readyz")

Answers = Counter[str]


@case(
    72,
    "Failover drill: 1,000 pongs a second, PostgreSQL restarted, the active worker killed and hung",
    "0 lost, 0 twice, never two ping",
    short=False,
    alone=True,
)
async def drill(scene: Scene) -> str:
    """The homeserver is a model: real ones take a tenth of the rate on one machine."""
    scene.heals, scene.end_codes = False, frozenset({LOST_LEASE_CODE})
    answers: Answers = Counter()
    async with AsyncExitStack() as stack:
        crowd = await stack.enter_async_context(Crowd())
        server = await stack.enter_async_context(postgresql(scene))
        workers = [_make_worker(scene, crowd, name) for name in ("first", "second")]
        scene.worker = workers[0]
        await workers[0].launch()
        await workers[0].says("joined", scene.within(20))
        await workers[1].launch()
        await workers[1].says("standing by", scene.within(20))
        for number in range(APIS):
            port = stack.enter_context(reserved_port())
            site = Site(scene, port, f"site{number}", ROOM_ID)
            await site.start()
            stack.push_async_callback(site.stop)
            await stack.enter_async_context(in_background(_ask_often(site, answers)))
        async with in_background(crowd.chat(PONGS_PER_S / len(SERVERS))):
            pauses = await _end_each_in_turn(scene, server, workers)
        figure = await _compare(scene, crowd)
        expect_never_two(scene, takeovers=3)
        for worker in workers:
            await expect_order(scene, worker)
    statuses = ", ".join(f"{count} x {status}" for status, count in sorted(answers.items()))
    expect(not any(status.startswith(("500", "Client")) for status in answers), statuses)
    return f"{figure}; {pauses}; the APIs answered {statuses}"


async def _end_each_in_turn(scene: Scene, server: PostgreSQL, workers: list[WorkerProcess]) -> str:
    """Restart, kill, hang, and take the lease away; how long until there were pings again."""
    seconds = {}
    first, second = workers
    await asyncio.sleep(20)
    await server.restart(away_s=10)
    seconds["restart of 10 s"] = await until_pinged(scene, now_ts())

    await asyncio.sleep(20)
    since_ts = now_ts()
    await first.kill()
    seconds["kill -9"] = await until_pinged(scene, since_ts, "second")
    await first.launch()
    await asyncio.sleep(20)

    since_ts = now_ts()
    await second.pause()
    seconds["hang"] = await until_pinged(scene, since_ts, "first")
    await asyncio.sleep(max(0, 60 - seconds["hang"]))
    await second.resume()
    code = await second.end(scene.within(20))
    expect(code == LOST_LEASE_CODE, f"the one that hung ended with code {code}")
    await second.launch()
    await asyncio.sleep(20)

    end_lease(scene)
    await asyncio.sleep(5)
    seconds["lost lease"] = await until_pinged(scene, now_ts())
    await asyncio.sleep(10)
    return "pinged again " + ", ".join(
        f"{value:.1f} s after a {fault}" for fault, value in seconds.items()
    )


async def _compare(scene: Scene, crowd: Crowd) -> str:
    """Wait until everything said is stored, or nothing more comes; how much, and what is wrong."""
    lost = set(samples_of(crowd.events))
    is_growing = True
    while lost and is_growing:
        await asyncio.sleep(scene.within(5))
        stored = await asyncio.to_thread(scene.database.samples, ROOM_ID)
        still_lost = lost - {_key(sample) for sample in stored}
        is_growing, lost = len(still_lost) < len(lost), still_lost
    truth = samples_of(crowd.events)  # pings went on
    keys = Counter(map(_key, stored))
    twice = keys.total() - len(keys)
    wrong = sum(truth.get(_key(sample)) != sample.one_way_ms for sample in stored)
    expect(not (lost or twice or wrong), f"{len(lost)} lost, {twice} twice, {wrong} wrong")
    faults = scene.database.faults()
    expect(not faults, "; ".join(faults))
    span_s = (crowd.events[-1]["origin_server_ts"] - crowd.events[0]["origin_server_ts"]) / 1000
    rate = len(truth) / span_s
    return f"{len(truth)} pongs, {rate:.0f} a second: 0 lost, 0 twice"


def _key(sample: Stored) -> tuple[str, str]:
    return sample.ping, sample.pong_server


def _make_worker(scene: Scene, crowd: Crowd, name: str) -> WorkerProcess:
    changes = {
        "HOMESERVER": crowd.url,
        "USER": USER_ID,
        "ROOMS": ROOM_ID,
        "VANTAGE": name,
        "LOG_LEVEL": "INFO",
    }
    return scene.make_worker(name=name, changes=changes)


async def _ask_often(site: Site, answers: Answers) -> None:
    """Ask an API for one thing after the other; count what it answers."""
    while True:
        for path in PATHS:
            try:
                reply = await site.get(path)
                answers[f"{reply.status}{' (readyz)' if path == '/readyz' else ''}"] += 1
            except aiohttp.ClientError as error:
                answers[f"{type(error).__name__}"] += 1
            await asyncio.sleep(ASK_PAUSE_S)
