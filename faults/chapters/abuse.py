"""Abuse from the room: bots that lie, forge, repeat, flood, and take back."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import monotonic
from typing import Any

from faults.bot import Manner
from faults.case import case
from faults.claims import CaseError, expect, until
from faults.faultproxy import changed_json
from faults.scene import Scene
from faults.user import Event, User, make_event, pong

FLOODER = "@flood:flooder.example"
FLOOD_RATE = 10_000
"""pongs a second"""

FLOOD_AT_ONCE = 20_000
"""pongs in a sync: ten megabytes"""

FLOOD_TS = 1_780_000_000_000
FAKE_PONG = {"msgtype": "m.notice", "pong": {"ms": 5, "ping": f"${'A' * 43}"}}


async def _listen(scene: Scene) -> None:
    """Start a worker that hardly pings, in a room without echo bots: what we send is the first."""
    scene.silence()
    await scene.start(INTERVAL="1h")


async def _hostile(scene: Scene, count: int = 1) -> list[User]:
    """Bots of hs1 in the room, to do as told."""
    first = scene.homeservers[0]
    bots = [await scene.stage.register(first, "hostile") for _ in range(count)]
    for bot in bots:
        await bot.join(scene.alias)
    return bots


@case(
    38,
    "ms of 0, -1, true, '5', null, 2^53-1, huge",
    "rejected or bounded, counted by reason",
    short=False,
)
async def strange_ms(scene: Scene) -> str:
    await _listen(scene)
    [bot] = await _hostile(scene)
    values: list[Any] = [0, -1, 2**31 - 1, 2**31, 2**53 - 1, -(2**53) + 1]
    values += [True, False, "5", "NaN", None, [], {}]
    for value in values:
        ping = await scene.here.ping(scene.room_id)
        await bot.send(scene.room_id, pong(ping, scene.here.server, value))
    await _until_rejected(scene, "invalid_ms", 10)
    return f"{len(values)} values, {_rejected(scene, 'invalid_ms')} rejected as invalid_ms"


@case(39, "A bot that claims 1 ms and takes 800", "gains nothing on `response`", alone=True)
async def modest_liar(scene: Scene) -> str:
    liar = scene.stage.bots[1]
    liar.manners[scene.room_id] = Manner(delay_s=0.8, claim=lambda _ms: 1)
    await scene.start()
    trips = await scene.has_trips(3, liar.user.server)
    least_ms = min(sample.round_trip_ms or 0 for sample in trips)
    expect(least_ms >= 800, f"a round trip of {least_ms} ms")
    return f"{len(trips)} round trips, least {least_ms} ms"


@case(
    40, "Forged `from`, unknown ping, relation against block", "rejected, each counted", short=False
)
async def forged(scene: Scene) -> str:
    await _listen(scene)
    [bot] = await _hostile(scene)
    ping = await scene.here.ping(scene.room_id)
    other = await scene.here.ping(scene.room_id)
    good = pong(ping, scene.here.server, 50)
    forgeries: list[Event] = [
        pong(ping, "winner.example", 50),
        {**good, "m.relates_to": {**good["m.relates_to"], "event_id": other}},
        {**good, "pong": {**good["pong"], "ms": 49}},
        {**good, "pong": {**good["pong"], "from": "winner.example"}},
    ]
    for content in forgeries:
        await bot.send(scene.room_id, content)
    await _until_rejected(scene, "contradictory", 3)
    await _until_rejected(scene, "forged_from", 1)
    expect(not scene.stored(), "a forgery was stored")
    await bot.pong(scene.room_id, ping, 50)  # the true one still counts
    await _until_stored(scene, 1)
    return f"{len(forgeries)} forgeries rejected"


@case(41, "The same pong many times, by many bots of one server", "one sample a ping", short=False)
async def repeated(scene: Scene) -> str:
    await scene.start()
    bots = await _hostile(scene, 100)
    ping = await scene.here.ping(scene.room_id)
    times = 10
    async with asyncio.TaskGroup() as together:
        for bot in bots:
            for _ in range(times):
                together.create_task(bot.pong(scene.room_id, ping, 77))
    # Of them and the echo bot's the first counts.
    await _until_rejected(scene, "duplicate", len(bots) * times)
    had = [sample.pong_server for sample in scene.samples() if sample.ping == ping]
    expect(had.count(scene.here.server) == 1, f"{had} have samples of the ping")
    return f"{len(bots) * times} pongs, {len(had)} samples"


@case(42, "10,000 pongs a second from one server", "memory bounded, the others lose nothing")
async def flooded(scene: Scene) -> str:
    """The proxy adds them to the sync, since no homeserver here delivers so many by itself.

    What the worker does not take in time waits for it: nothing of the flood is left out.
    """
    await scene.start()
    await scene.has_more(2, scene.within(20))
    before, begin, sent = scene.worker.memory_mib(), monotonic(), 0
    lasts_s = scene.long(2, 60)

    def waiting() -> int:
        return round(FLOOD_RATE * min(monotonic() - begin, lasts_s)) - sent

    def add(body: dict[str, Any]) -> None:
        nonlocal sent
        room = body.get("rooms", {}).get("join", {}).get(scene.room_id)
        if room:
            now = min(waiting(), FLOOD_AT_ONCE)
            room["timeline"]["events"] += [
                make_event(f"$flood{sent + number}", FLOODER, FAKE_PONG, FLOOD_TS)
                for number in range(now)
            ]
            sent += now

    scene.proxy.inject("/sync", changed_json(add))
    most = before
    while monotonic() - begin < lasts_s or waiting():
        expect(monotonic() - begin < scene.within(6 * lasts_s), f"{waiting()} are still waiting")
        await scene.exchange(1)
        await asyncio.sleep(0.1)
        most = max(most, scene.worker.memory_mib())
    seconds = monotonic() - begin
    scene.proxy.clear()
    # Beside the flood syncs take seconds, so events are left out, to be filled in afterwards.
    scene.settle_s = scene.within(120)
    await scene.has_more(2, scene.within(60))
    expect(most - before < 200, f"memory grew by {most - before:.0f} MiB")
    return (
        f"{sent} pongs of {lasts_s:.0f} s taken in {seconds:.0f} s ({sent / seconds:.0f} a "
        f"second), {before:.0f} -> {most:.0f} MiB"
    )


@case(43, "Pongs prepared before their ping", "never accepted", short=False)
async def prepared(scene: Scene) -> str:
    await scene.start()
    [bot] = await _hostile(scene)
    for number in range(5):
        invented = f"$prepared{number}"
        claim = {"ms": 1, "from": scene.here.server, "ping": invented}
        await bot.send(scene.room_id, {"msgtype": "m.notice", "body": "Pong!", "pong": claim})
    await scene.exchange(2)
    await scene.has_more(4, scene.within(30))
    bold = [sample for sample in scene.samples() if sample.ping.startswith("$prepared")]
    expect(not bold, f"accepted: {bold[:1]}")
    return "5 prepared, none accepted"


@case(44, "Edits, reactions and replies that carry a pong", "ignored", short=False)
async def disguised(scene: Scene) -> str:
    await _listen(scene)
    [bot] = await _hostile(scene)
    ping = await scene.here.ping(scene.room_id)
    block = {"pong": {"ms": 12, "from": scene.here.server, "ping": ping}}
    text = {"msgtype": "m.notice", "body": "Pong!"}
    relations: list[Event] = [
        {"rel_type": "m.replace", "event_id": ping},
        {"rel_type": "m.annotation", "event_id": ping, "key": "x"},
        {"m.in_reply_to": {"event_id": ping}},
    ]
    for relation in relations:
        content = {**text, **block, "m.relates_to": relation, "m.new_content": {**text, **block}}
        await bot.send(scene.room_id, content)
    await scene.here.pong(scene.room_id, ping, 60)
    await _until_stored(scene, 1)
    expect(list(scene.stored().values()) == [60], f"stored {scene.stored()}")
    return f"{len(relations)} ignored"


@case(45, "Redaction after the pong was stored", "sample gone, stays gone", short=False)
async def redacted(scene: Scene) -> str:
    await _listen(scene)
    taken_back = await _pongs(scene, 3)
    await _until_stored(scene, 3)
    for event_id in taken_back[:2]:
        await scene.here.redact(scene.room_id, event_id)
    await _until_stored(scene, 1)
    await scene.worker.terminate()
    await scene.start()
    await _until_stored(scene, 1)
    return "2 of 3 taken back, gone after a restart too"


@case(45, "Redaction while the worker is down", "sample gone, stays gone")
async def redacted_meanwhile(scene: Scene) -> str:
    await _listen(scene)
    stored = await _pongs(scene, 2)
    await _until_stored(scene, 2)
    await scene.worker.terminate()
    meanwhile = await _pongs(scene, 2)
    for event_id in (stored[0], meanwhile[0]):
        await scene.here.redact(scene.room_id, event_id)
    # More than a sync brings, so that the redactions are read in history.
    await scene.flood(55)
    scene.silence()
    await scene.start()
    await _until_stored(scene, 2 + 55)
    return "one from before, one from meanwhile"


@case(49, "Pongs that are not notices, and a server's pong to itself", "kept", short=False)
async def plain_pongs(scene: Scene) -> str:
    await _listen(scene)
    ping = await scene.here.ping(scene.room_id)
    for user in (scene.here, scene.there):
        content = pong(ping, scene.here.server, 30) | {"msgtype": "m.text"}
        # The other homeserver may not have the ping yet, and a relation needs it.
        del content["m.relates_to"]
        await user.send(scene.room_id, content)
    await _until_stored(scene, 2)
    return "both kept"


async def _pongs(scene: Scene, count: int) -> list[str]:
    """Pings of hs1's person, answered by themselves; the pongs' event IDs."""
    made = []
    for _ in range(count):
        ping = await scene.here.ping(scene.room_id)
        made.append(await scene.here.pong(scene.room_id, ping, 90))
    return made


async def _until_stored(scene: Scene, count: int) -> None:
    with suppress(CaseError):
        await until(lambda: len(scene.stored()) == count, scene.within(20), "another number")
    had = len(scene.stored())
    expect(had == count, f"not {count} samples but {had}")


def _rejected(scene: Scene, reason: str) -> int:
    return sum(count for (_, why), count in scene.database.rejections().items() if why == reason)


async def _until_rejected(scene: Scene, reason: str, count: int) -> None:
    await until(
        lambda: _rejected(scene, reason) >= count,
        scene.within(20),
        f"not {count} counted as {reason}",
    )
    had = _rejected(scene, reason)
    expect(had == count, f"{had} counted as {reason}, {count} wanted")
