"""Homeserver and network: what happened while we were away, and what happens to rooms."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from time import monotonic
from urllib.parse import quote

from faults.case import case
from faults.claims import expect, until
from faults.faultproxy import Fault, answer, changed_json
from faults.scene import Scene
from faults.user import User

NO_LONGER = {"errcode": "M_FORBIDDEN", "error": "You aren't in the room"}


@case(16, "Pongs while the worker is down", "all filled in, round trips empty", short=False)
async def missed(scene: Scene) -> str:
    pongs = 5000
    await scene.start()
    await scene.has_more(2, scene.within(20))
    await scene.worker.terminate()
    already = set(scene.stored())
    begin = monotonic()
    await scene.flood(pongs)
    made_s = monotonic() - begin
    begin = monotonic()
    await scene.start(INTERVAL="1h")
    await scene.has(len(already) + pongs, max(scene.within(30), 120))
    filled_s = monotonic() - begin
    late = [
        sample for sample in scene.samples() if (sample.ping, sample.pong_server) not in already
    ]
    guessed = [sample for sample in late if sample.round_trip_ms is not None and not sample.is_ours]
    expect(not guessed, f"a round trip was guessed: {guessed[:1]}")
    scene.settle_s = max(scene.settle_s, 120)
    return f"{pongs} filled in within {filled_s:.1f} s (made in {made_s:.0f} s)"


@case(
    16,
    "50,000 pongs while the worker is down",
    "all filled in within 120 s",
    short=False,
    alone=True,
)
async def missed_many(scene: Scene) -> str:
    await scene.start()
    await scene.has_more(2, scene.within(20))
    await scene.worker.terminate()
    servers, pings = 100, 500
    before = len(scene.samples())
    await scene.seed(pings, servers)
    begin = monotonic()
    await scene.start(INTERVAL="1h")
    await scene.has(before + pings * servers, scene.within(120), every_s=1.0)
    filled_s = monotonic() - begin
    cpu_s = scene.worker.cpu_s()
    scene.settle_s = scene.within(120)
    expect(filled_s <= scene.within(120), f"took {filled_s:.0f} s")
    return (
        f"{pings * servers} filled in within {filled_s:.0f} s, {cpu_s:.0f} s of it the worker's CPU"
    )


@case(17, "Gap fill answered by 403, 500, a looping end, no end", "it terminates, gap recorded")
async def gap_that_cannot_be_filled(scene: Scene) -> str:
    refused, broken = answer(403, NO_LONGER), answer(500, {"errcode": "M_UNKNOWN", "error": "no"})
    looping = changed_json(lambda page: page.update(end="t1-1_0_0_0", chunk=[]))
    # How it answers, what the gap's fault says, and whether it is over. A 500 takes half a minute;
    # `tests/matrix/test_record.py` has what becomes of it.
    answers: list[tuple[Fault, str | None, bool]] = [
        (refused, "M_FORBIDDEN", True),
        (looping, "circle", True),
    ]
    if not scene.short:
        first_page_only = changed_json(lambda page: page.pop("end", None))
        answers += [(broken, "M_UNKNOWN", False), (first_page_only, None, True)]
    scene.complete = False  # what the homeserver refuses to tell can't be known
    await scene.start()
    await _gap_ends(scene, 0, None, is_closed=True)
    worst = 0
    for fault, words, is_closed in answers:
        await scene.worker.terminate()
        await scene.flood(55)
        scene.proxy.inject("/messages", fault)
        scene.proxy.inject("/relations", fault)
        begin, latest = monotonic(), scene.database.latest_gap()
        await scene.start()
        await _gap_ends(scene, latest, words, is_closed=is_closed)
        worst = max(worst, scene.proxy.count("messages", begin))
        scene.proxy.clear()
    expect(worst <= 50, f"{worst} requests for one gap")
    return f"{len(answers)} gaps with their faults, at most {worst} requests for one"


async def _gap_ends(scene: Scene, after: int, words: str | None, *, is_closed: bool) -> None:
    """Wait until the first gap recorded after another has such a fault, and is closed or not."""

    def has_ended() -> bool:
        query = "SELECT closed_ts, fault FROM gap WHERE id > :after ORDER BY id LIMIT 1"
        rows = scene.database.query(query, after=after)
        if not rows:
            return False
        closed_ts, fault = rows[0]
        says_so = fault is None if words is None else words in (fault or "")
        return says_so and (closed_ts is not None) == is_closed

    end = "closed" if is_closed else "open"
    await until(has_ended, scene.within(90), f"no gap that is {end} with the fault {words}")


@case(18, "Backlog at the first start", "imported once, nothing pinged for it", short=False)
async def backlog(scene: Scene) -> str:
    await scene.exchange(20)
    await scene.flood(60)
    await asyncio.sleep(1)  # for the bots' answers
    history = len(await scene.truth())
    await scene.start(INTERVAL="1h")
    await scene.has(history, scene.within(30))
    pings = await scene.count_own_pings()
    expect(pings <= 1, f"{pings} pings at the start")
    guessed = [sample for sample in scene.samples() if sample.round_trip_ms and not sample.is_ours]
    expect(not guessed, "a round trip of history")
    return f"{history} samples imported, {pings} ping"


@case(
    18,
    "Backlog of which some came late, from a homeserver that was out of reach",
    "all of it imported",
    alone=True,
)
async def late_backlog(scene: Scene) -> str:
    scene.silence()
    ping = await scene.here.ping(scene.room_id)
    await until(lambda: _knows(scene.there, scene.room_id, ping), scene.within(30), "not delivered")
    network = scene.stage.lab.network
    network.hold("hs2")
    try:
        # There the room is a few events long, here many more: a homeserver lists by that length.
        late = await scene.there.pong(scene.room_id, ping, 70, scene.here.server)
        for ms in range(5):
            another = await scene.here.ping(scene.room_id)
            await scene.here.pong(scene.room_id, another, 50 + ms)
        await scene.account.join(scene.alias)
    finally:
        network.release("hs2")
    await until(lambda: _knows(scene.here, scene.room_id, late), scene.within(60), "not delivered")
    history = len(await scene.truth())
    await scene.start(INTERVAL="1h")
    await scene.has(history, scene.within(30))
    return f"{history} samples imported"


async def _knows(user: User, room_id: str, event_id: str) -> bool:
    return event_id in [event["event_id"] for event in await user.events(room_id)]


@case(19, "Kicked", "noticed within 2 min, pinging stops, /readyz says so", short=False)
async def kicked(scene: Scene) -> str:
    await scene.start()
    await scene.has_more(1, scene.within(20))
    seconds = await _stops_pinging(scene, _membership(scene, "kick"))
    return f"stopped after {seconds:.1f} s"


@case(19, "Banned", "noticed within 2 min, pinging stops, /readyz says so", short=False)
async def banned(scene: Scene) -> str:
    await scene.start()
    await scene.has_more(1, scene.within(20))
    seconds = await _stops_pinging(scene, _membership(scene, "ban"))
    await _membership(scene, "unban")
    return f"stopped after {seconds:.1f} s"


@case(19, "Denied to speak", "noticed within 2 min, pinging stops, /readyz says so", short=False)
async def denied(scene: Scene) -> str:
    await scene.start()
    await scene.has_more(1, scene.within(20))
    levels = await scene.stage.owner.state(scene.room_id, "m.room.power_levels")
    denied = {**levels, "events_default": 50}
    change = scene.stage.owner.set_state(scene.room_id, "m.room.power_levels", denied)
    seconds = await _stops_pinging(scene, change)
    await scene.stage.owner.set_state(scene.room_id, "m.room.power_levels", levels)
    return f"stopped after {seconds:.1f} s"


async def _stops_pinging(scene: Scene, how: Awaitable[object]) -> float:
    """Seconds until no ping is tried for five seconds (an interval of one); it must live on."""
    scene.complete = False  # what is said while it is out is out of its sight
    begin = monotonic()
    await how

    await until(
        lambda: scene.proxy.count("send", monotonic() - 5) == 0, 120, "it still tries to ping"
    )
    seconds = max(monotonic() - begin - 5, 0.0)
    await scene.expect_readiness("room")
    return seconds


def _membership(scene: Scene, change: str) -> Awaitable[object]:
    path = f"rooms/{quote(scene.room_id)}/{change}"
    return scene.stage.owner.call("POST", path, {"user_id": scene.account.user_id})


@case(20, "Rooms of versions 5, 10, 11, 12", "samples from each", short=False)
async def versions(scene: Scene) -> str:
    aliases = [scene.alias]
    for version in ("5", "10", "11", "12"):
        room_id, alias = await scene.make_room(version, room_version=version)
        scene.rooms.append(room_id)
        aliases.append(alias)
    await scene.start(ROOMS=",".join(aliases))

    await until(
        lambda: all(len(scene.database.samples(room_id)) >= 2 for room_id in scene.rooms),
        scene.within(30),
        "a room without samples",
    )
    return ", ".join(str(len(scene.database.samples(room_id))) for room_id in scene.rooms)


@case(21, "A real upgrade", "followed, samples of the new room", short=False)
async def upgraded(scene: Scene) -> str:
    await scene.start()
    await scene.has_more(1, scene.within(20))
    new = await scene.upgrade()

    await until(lambda: len(scene.database.samples(new)) >= 2, 120, "the new room has no samples")
    return "followed"


@case(21, "A tombstone to a room that does not name this one", "ignored and reported", short=False)
async def false_tombstone(scene: Scene) -> str:
    await scene.start()
    await scene.has_more(1, scene.within(20))
    trap = await scene.stage.owner.create_room()
    body = {"body": "moved", "replacement_room": trap}
    await scene.stage.owner.set_state(scene.room_id, "m.room.tombstone", body)

    async def reported() -> bool:
        return "tombstone ignored" in scene.worker.log

    async def left() -> bool:
        # It has to look inside to know what the other room says, and leaves again.
        path = f"rooms/{quote(trap)}/joined_members"
        members = await scene.stage.owner.call("GET", path)
        return scene.account.user_id not in members["joined"]

    await until(reported, scene.within(20), "not reported")
    await until(left, scene.within(20), "still in the other room")
    await scene.has_more(1, scene.within(20))
    return "ignored and reported"


@case(22, "Invites", "none accepted", short=False)
async def invites(scene: Scene) -> str:
    await scene.start()
    joins = scene.proxy.count("join")
    count = 1000
    rooms = []
    for number in range(count):
        request = {"invite": [scene.account.user_id], "name": f"free prize {number}"}
        rooms.append((await scene.here.call("POST", "createRoom", request))["room_id"])
    await scene.has_more(2, scene.within(30))
    expect(scene.proxy.count("join") == joins, "an invite led to a join")
    return f"{count} invites, no join"
