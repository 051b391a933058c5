"""Homeserver and network: what must not lengthen a round trip, nor keep the worker from ending.

What our homeserver's own echo bot answers is dated by that homeserver as it takes it, so the true
round trip is known: from our send to that moment, by the clock of one machine.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import statistics
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic
from typing import Any

from faults.bot import Manner
from faults.case import case
from faults.claims import expect, until
from faults.faultproxy import Answer, Forward, Injection, answer, changed_json
from faults.lasting import in_background
from faults.scene import Scene
from faults.site import Site
from faults.user import pong
from pingboard.lab.network import reserved_port

MAX_ERROR_MS = 1_100
"""A stall of less than a second is measured through; a tenth of it is for two clocks' reading."""


@case(
    59,
    "Syncs 1 to 4 s late, at every phase of a round",
    "no kept round trip 1 s over the truth",
    alone=True,
)
async def late_syncs(scene: Scene) -> str:
    chance = random.Random(59)

    async def late(forward: Forward) -> Answer:
        seconds = chance.uniform(1, 4) if chance.random() < 0.25 else 0.0
        is_request_late = chance.random() < 0.5
        await asyncio.sleep(seconds if is_request_late else 0)
        real = await forward()
        await asyncio.sleep(0 if is_request_late else seconds)
        return real

    # So late that ping and pong are told in two syncs, either of which can be late.
    scene.stage.bots[0].manners[scene.room_id] = Manner(delay_s=0.4)
    await scene.start()
    await scene.has_more(2, scene.within(20))
    scene.proxy.inject("/sync", late)
    errors = await _measure(scene, scene.long(20, 300))
    return _describe(errors, scene.database.void_rounds())


@case(
    60,
    "Slow commits, and ten invented pings after each ping",
    "round trips unchanged",
    alone=True,
)
async def slow_commits(scene: Scene) -> str:
    await scene.start()
    await scene.has_more(2, scene.within(20))
    async with in_background(_lock_often(scene)), in_background(_invent_pings(scene)):
        errors = await _measure(scene, scene.long(10, 300))
    _expect_unchanged(scene, errors)
    return _describe(errors, scene.database.void_rounds())


@case(
    61,
    "Four clients that ask the API without pause, under `pingboard run`",
    "round trips unchanged",
    alone=True,
)
async def api_load(scene: Scene) -> str:
    answers: list[int] = []
    async with AsyncExitStack() as clients:
        port = clients.enter_context(reserved_port())
        site = Site(scene, port)  # only asked: the API is the one that `run` has
        changes = {"PORT": str(port), "RATE_LIMIT": "0"}
        scene.worker = scene.make_worker(("pingboard", "run"), "run", changes)
        await scene.start()
        await scene.has_more(2, scene.within(20))
        for number in range(4):
            work = _ask_often(site, number, answers)
            await clients.enter_async_context(in_background(work))
        await until(lambda: len(answers) >= 20, scene.until_quiet_s, "hardly an answer")
        errors = await _measure(scene, scene.long(6, 300))
    expect(set(answers) == {200}, f"answers: {Counter(answers)}")
    _expect_unchanged(scene, errors)
    return f"{len(answers)} answers; {_describe(errors, scene.database.void_rounds())}"


@case(
    62,
    "An own ping told twice more, 1.7 and 3 s after",
    "one ping, with its round trips",
    alone=True,
)
async def told_again(scene: Scene) -> str:
    first_told: dict[str, tuple[float, dict[str, Any]]] = {}
    told: dict[str, int] = {}

    def tell_again(body: dict[str, Any]) -> None:
        rooms = body.setdefault("rooms", {}).setdefault("join", {})
        empty = {"timeline": {"events": [], "limited": False, "prev_batch": "x"}}
        events = rooms.setdefault(scene.room_id, empty)["timeline"]["events"]
        for event in list(events):
            if event["sender"] == scene.account.user_id and event["type"] == "m.room.message":
                first_told.setdefault(event["event_id"], (monotonic(), event))
        for event_id, (at, event) in first_told.items():
            again = told.get(event_id, 0)
            if again < 2 and monotonic() - at >= (1.7, 3.0)[again]:
                told[event_id] = again + 1
                events.append(event)

    scene.proxy.inject("/sync", changed_json(tell_again))
    # It answers after both times, so that what they spoil is seen.
    late = scene.stage.bots[0]
    late.manners[scene.room_id] = Manner(delay_s=4.0)
    await scene.start()

    def kept() -> int:
        trips = scene.trips(late.user.server)
        had = sum(told.get(sample.ping) == 2 for sample in trips)
        return had if had >= 3 else 0

    had = await until(kept, scene.until_quiet_s, "pings told again have no round trips")
    return f"{sum(times == 2 for times in told.values())} told again, {had} with round trips"


@case(
    63,
    "The members of the room can't be asked for, at starts and later",
    "losses counted",
    short=False,
)
async def unknown_members(scene: Scene) -> str:
    broken = changed_json(lambda body: body.update(joined=None))
    refused = answer(403, {"errcode": "M_FORBIDDEN", "error": "no"})
    silent = scene.stage.bots[1]
    losses = []
    for fault in (answer(500), refused, broken):
        asked = scene.proxy.inject("/joined_members", fault)
        await scene.start()
        await _has_pong(scene, silent.user.server)

        def was_asked_again(asked: Injection = asked) -> bool:
            return asked.hits >= 2  # after a minute

        await until(was_asked_again, scene.within(70), "the members are not asked for")
        silent.manners[scene.room_id] = Manner(is_silent=True)
        losses.append(await _has_losses(scene, silent.user.server, 3))
        del silent.manners[scene.room_id]
        scene.proxy.clear()
        await scene.worker.terminate()
    return f"{', '.join(map(str, losses))} losses, a start each"


@case(
    66,
    "Account and address changed on an old database",
    "no more history than PINGBOARD_BACKFILL",
    short=False,
)
async def changed_account(scene: Scene) -> str:
    await scene.exchange(5, scene.here)
    await scene.start()
    await scene.has_more(1, scene.within(20))
    other = await scene.stage.register(scene.homeservers[0], "other")
    address = scene.proxy.url.replace("127.0.0.1", "localhost")
    changes = ({"USER": other.user_id, "ACCESS_TOKEN": other.account.access_token},)
    scene.complete = False  # what is said between the starts is not asked for
    for change in (*changes, {"HOMESERVER": address}):
        await scene.worker.terminate()
        await scene.exchange(2, scene.here)
        latest = scene.database.latest_gap()
        await scene.start(BACKFILL="0", **change)
        await scene.has_more(2, scene.within(30))
        query = "SELECT oldest_ts, opened_ts FROM gap WHERE id > :latest AND until IS NULL"
        for oldest_ts, opened_ts in scene.database.query(query, latest=latest):
            expect(oldest_ts is not None, "history without a bound")
            expect(opened_ts - oldest_ts <= 1_000, f"{opened_ts - oldest_ts} ms of history")
    return "no history, twice"


@case(67, "SIGTERM while the database is locked", "ends in 10 s")
async def ended_while_locked(scene: Scene) -> str:
    def opens_database() -> bool:
        files = Path(f"/proc/{scene.worker.pid}/fd").iterdir()
        return any(file.resolve().name == "pingboard.db" for file in files)

    await scene.start()
    await scene.has_more(1, scene.within(20))
    seconds = []
    with scene.database.locked():
        # Once while it writes, once while it waits for the database at its start.
        for is_starting in (False, True):
            if is_starting:
                await scene.worker.launch()
                await until(opens_database, scene.within(20), "it does not open the database")
            await asyncio.sleep(1)
            code, ended_s = await scene.worker.terminate()
            expect(code == 0, f"ended with code {code}")
            seconds.append(ended_s)
    expect(max(seconds) <= scene.within(10), f"ended after {max(seconds):.1f} s")
    return f"ended after {max(seconds):.1f} s at most"


async def _measure(scene: Scene, seconds: float) -> list[int]:
    """How far the round trips of a while are over the truth, in ms; none may be a second."""
    earlier = set(scene.stored())
    await asyncio.sleep(seconds)

    async def has_measured() -> bool:
        # The room's events are asked for only where they may tell: that is work for homeservers.
        trips = scene.trips(scene.homeservers[0].server_name)
        new = [trip for trip in trips if (trip.ping, trip.pong_server) not in earlier]
        return len(new) >= 3 and len(await _errors(scene, earlier)) >= 3

    await until(has_measured, scene.until_quiet_s, "hardly a round trip was kept", 1.0)
    errors = await _errors(scene, earlier)
    # On a busy machine there may be one such stall before the answer can be told, another before
    # it is, and as long a one before the homeserver has it after all.
    most_ms = MAX_ERROR_MS * min(scene.stage.patience, 3)
    expect(max(errors) <= most_ms, f"a round trip {max(errors)} ms over the truth was kept")
    return errors


async def _errors(scene: Scene, earlier: set[tuple[str, str]]) -> list[int]:
    arrivals = {
        (event["content"]["pong"]["ping"], event["sender"].partition(":")[2]): event
        for event in await scene.stage.owner.events(scene.room_id)
        if isinstance(event["content"].get("pong"), dict)
    }
    errors = []
    for sample in scene.samples():
        key = (sample.ping, sample.pong_server)
        pong = arrivals.get(key)
        if pong is None or key in earlier or sample.pong_server != scene.homeservers[0].server_name:
            continue
        if sample.round_trip_ms is not None and sample.sent_ts is not None:
            errors.append(sample.round_trip_ms - (pong["origin_server_ts"] - sample.sent_ts))
    return errors


def _expect_unchanged(scene: Scene, errors: list[int]) -> None:
    median_ms = statistics.median(errors)
    expect(median_ms <= scene.within(300), f"{median_ms:g} ms over the truth, at the median")


def _describe(errors: list[int], void: dict[str, int]) -> str:
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(void.items())) or "none"
    return (
        f"{len(errors)} round trips, over the truth by {statistics.median(errors):g} ms "
        f"(median) and {max(errors)} ms (worst); rounds void: {reasons}"
    )


async def _lock_often(scene: Scene) -> None:
    """Let every commit take long, as a slow disk does."""
    chance = random.Random(60)
    while True:
        with scene.database.locked():
            await asyncio.sleep(chance.uniform(0.1, scene.long(1.5, 5)))
        await asyncio.sleep(0.2)


async def _ask_often(site: Site, first: int, answers: list[int]) -> None:
    """Ask for a board of another length each time, so that no answer is one that was kept."""
    for number in itertools.count(first, 4):
        reply = await site.get(f"/api/v1/rankings?board=response&limit={1 + number % 500}")
        answers.append(reply.status)


async def _has_pong(scene: Scene, server: str) -> None:
    """Wait for a round trip of a server, measured from now on."""
    earlier = scene.stored()

    def has_pong() -> bool:
        return any(
            sample.pong_server == server and sample.round_trip_ms is not None
            for sample in scene.samples()
            if (sample.ping, server) not in earlier
        )

    await until(has_pong, scene.within(20), f"nothing of {server}")


async def _has_losses(scene: Scene, server: str, count: int) -> int:
    """Wait until so many pings, sent from now on, lack a pong of a server; how many they are."""
    latest = scene.database.query("SELECT max(id) FROM ping")[0][0]
    lost = (
        "SELECT count(*) FROM unanswered JOIN server ON server.id = pong_server "
        "WHERE ping > :latest AND server.name = :server"
    )

    def losses() -> int:
        had = int(scene.database.query(lost, latest=latest, server=server)[0][0])
        return had if had >= count else 0

    return await until(losses, scene.within(20), f"not {count} losses of {server}")


async def _invent_pings(scene: Scene) -> None:
    """Answer pings that do not exist, ten a second."""
    number = 0
    while True:
        number += 1
        invented = pong(f"$invented{number}", scene.here.server, 50)
        del invented["m.relates_to"]  # Synapse refuses a relation to what it does not know
        await scene.here.send(scene.room_id, invented)
        await asyncio.sleep(0.1)
