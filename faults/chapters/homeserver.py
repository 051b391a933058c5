"""Homeserver and network: it stops, dies, answers nonsense, limits, delays, forgets to answer."""

from __future__ import annotations

import asyncio
import random
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from faults.case import case
from faults.claims import expect, now_ts, until
from faults.faultproxy import (
    Fault,
    answer,
    changed,
    changed_json,
    cut,
    held,
    lost_answer,
    never,
)
from faults.scene import Scene

LIMITED = {"errcode": "M_LIMIT_EXCEEDED", "error": "Too Many Requests"}


@case(
    1,
    "Homeserver frozen in the middle of a round",
    "no long round trip; resumes within 5 s",
    alone=True,
)
async def frozen(scene: Scene) -> str:
    await scene.start()
    await scene.has_more(2, scene.within(20))
    pause_s = scene.long(3, 60)
    begin_ts = now_ts()
    await scene.homeservers[0].pause()
    await asyncio.sleep(pause_s)
    end_ts = now_ts()
    await scene.homeservers[0].resume()
    seconds = await scene.has_more(2, scene.within(5))
    scene.expect_no_round_trip_over(begin_ts, end_ts, "the freeze")
    return f"frozen {pause_s:g} s, resumed after {seconds:.1f} s"


@case(2, "Homeserver killed and restarted", "resumes within 65 s each time, gap filled", alone=True)
async def killed(scene: Scene) -> str:
    await scene.start()
    slowest = 0.0
    for _ in range(int(scene.long(1, 20))):
        begin_ts = now_ts()
        await scene.homeservers[0].kill()
        await scene.exchange(3, scene.there)
        await asyncio.sleep(random.uniform(0, scene.long(2, 120)))
        await scene.homeservers[0].start()
        end_ts = now_ts()
        slowest = max(slowest, await scene.has_more(2, scene.within(65)))
        scene.expect_no_round_trip_over(begin_ts, end_ts, "the outage")
    return f"slowest {slowest:.1f} s"


@case(3, "502 pages", "at most 30 requests in 5 min (8 in 6 s)")
async def error_pages(scene: Scene) -> str:
    await scene.start()
    await scene.has_more(1, scene.within(20))
    await scene.worker.says("gap filled", scene.within(60))  # its requests are repeated too
    fault = scene.proxy.inject("/", answer(502, b"<html>Bad Gateway</html>"))
    await asyncio.sleep(scene.long(6, 300))
    had = fault.hits
    scene.proxy.clear()
    expect(had <= scene.long(8, 30), f"{had} requests")
    await scene.has_more(1, scene.within(65))
    return f"{had} requests"


@case(7, "429 with a wish in every form", "waits as asked, or goes on; never ends")
async def limited(scene: Scene) -> str:
    await scene.start()
    wishes: list[Fault] = [
        answer(429, {**LIMITED, "retry_after_ms": 300}),
        answer(429, LIMITED, Retry_After="1"),
        answer(429, {**LIMITED, "retry_after_ms": 10**15}, Retry_After="1"),
        answer(429, {**LIMITED, "retry_after_ms": "soon"}, Retry_After="-3"),
        answer(429, {**LIMITED, "retry_after_ms": True}, Retry_After="1"),
        answer(429, b"<html>slow down</html>", Retry_After="0"),
    ]
    for wish in wishes:
        fault = scene.proxy.inject("/sync", wish, times=1)
        await scene.has_met(fault)
    seconds = await scene.has_more(1, scene.within(30))
    return f"{len(wishes)} forms, went on {seconds:.1f} s after the last"


@case(7, "429 with a huge wish", "asks again after at most 10 min", short=False)
async def limited_hugely(scene: Scene) -> str:
    await scene.start()
    wish = answer(429, {**LIMITED, "retry_after_ms": 10**15})
    await scene.has_met(scene.proxy.inject("/sync", wish, times=1))
    seconds = await scene.has_more(1, 640)
    return f"went on after {seconds:.0f} s"


@case(8, "429 on pings alone", "no round trip from them, the others have theirs", alone=True)
async def limited_pings(scene: Scene) -> str:
    await scene.start()
    wish = answer(429, {**LIMITED, "retry_after_ms": 1000}, Retry_After="1")
    begin = monotonic()
    fault = scene.proxy.inject("/send/", wish, times=3)
    await scene.has_met(fault, times=3)
    await scene.has_more(4, scene.within(30))
    await _expect_void(
        scene, {_transaction(request.path) for request in scene.proxy.asked("send", begin)[:3]}
    )
    had = await scene.has_trips(1)
    return f"{fault.hits} limited, {len(had)} round trips from others"


@case(9, "First sync never answers", "given up within 60 s and repeated", short=False)
async def first_sync_hangs(scene: Scene) -> str:
    fault = scene.proxy.inject("/sync", never(), times=1)
    await scene.worker.launch()
    await scene.has_met(fault)
    begin = monotonic()

    await until(lambda: scene.proxy.count("sync", begin) > 0, 65, "not repeated")
    seconds = monotonic() - begin
    await scene.has_more(1, 30)
    return f"repeated after {seconds:.0f} s"


@case(11, "Answers cut, garbled, of the wrong shape, nested deep", "a back-off each, none ends it")
async def broken_bodies(scene: Scene) -> str:
    await scene.start()
    deep = b'{"a":' * 30_000 + b"1" + b"}" * 30_000
    broken: list[Fault] = [
        *(cut(share) for share in (0.01, 0.5, 0.99)),
        *(answer_raw(body) for body in (b'{"next_batch": "\xff"}', b"[]", b"{}", b"", b"1", deep)),
    ]
    seconds: list[float] = []
    for fault in broken:
        injection = scene.proxy.inject("/sync", fault, times=1)
        await scene.has_met(injection)
        # Pauses grow with errors in a row, so each has to be over before the next.
        seconds.append(await scene.has_more(1, scene.within(20)))
    scene.proxy.inject("/send/", answer_raw(b"[]"), times=1)
    seconds.append(await scene.has_more(1, scene.within(20)))
    return f"{len(seconds)} broken answers, went on {max(seconds):.1f} s after, at the latest"


@case(
    12,
    "A ping accepted, its answer lost",
    "repeated as itself, one ping in the room, no round trip",
)
async def lost_answers(scene: Scene) -> str:
    await scene.start()
    await scene.has_more(1, scene.within(20))
    # While no sync tells it that the ping is in the room, it has to repeat it.
    release = asyncio.Event()
    late = scene.proxy.inject("/sync", held(release))
    await scene.has_met(late)
    begin = monotonic()
    # Twice, because an HTTP client may repeat a PUT by itself once.
    fault = scene.proxy.inject("/send/", lost_answer(), times=2)
    await scene.has_met(fault, times=2)

    await until(
        lambda: scene.proxy.count("send", begin) > 2, scene.within(40), "the ping was not repeated"
    )
    sent = scene.proxy.asked("send", begin)[:3]
    late.remove()
    release.set()
    await scene.has_more(2, scene.within(30))
    events = await scene.account.events(scene.room_id)  # the sender is told the transaction
    lost = {_transaction(request.path) for request in sent}
    expect(len(lost) == 1, "repeated as another ping")
    pings = [event["event_id"] for event in events if _sent_as(event) in lost]
    expect(len(pings) == 1, f"{len(pings)} pings in the room of the transaction that was lost")
    await _expect_void(scene, lost)
    # For which reason is a matter of time: a slow send may be void before its answer is lost.
    await until(scene.database.void_rounds, scene.within(20), "no round is void")
    return f"{len(sent)} sends of one transaction, {len(pings)} ping"


@case(14, "Malformed presence, receipts, members", "the worker lives")
async def malformed(scene: Scene) -> str:
    await scene.start()
    changes = [_bad_presence, _bad_receipts, _bad_members, _bad_timeline]
    for change in changes:
        fault = scene.proxy.inject("/sync", changed_json(change(scene.room_id)), times=1)
        await scene.exchange(1)
        await scene.has_met(fault)
    seconds = await scene.has_more(1, scene.within(40))
    return f"{len(changes)} kinds, went on {seconds:.1f} s after the last"


@case(15, "Events in two syncs", "one sample each")
async def repeated_events(scene: Scene) -> str:
    await scene.start()
    seen: list[dict[str, Any]] = []

    def repeat(body: dict[str, Any]) -> None:
        room = body.get("rooms", {}).get("join", {}).get(scene.room_id)
        if room:
            events = room["timeline"]["events"]
            events[:0] = seen
            seen.extend(events[len(seen) :])
            events += events

    fault = scene.proxy.inject("/sync", changed_json(repeat))
    await scene.exchange(5)
    await scene.has_more(4, scene.within(30))
    return f"{len(seen)} events, again in each of {fault.hits} syncs"


async def _expect_void(scene: Scene, transactions: set[str]) -> None:
    """No ping of these transactions has a round trip; its homeserver tells the sender which."""
    pings = {
        event["event_id"]
        for event in await scene.account.events(scene.room_id)
        if _sent_as(event) in transactions
    }
    trips = [
        sample
        for sample in scene.samples()
        if sample.ping in pings and sample.round_trip_ms is not None
    ]
    expect(not trips, f"a void ping has a round trip: {trips[:1]}")


def answer_raw(body: bytes) -> Fault:
    """A body of these bytes with status 200 and said to be JSON."""
    return changed(lambda _real: body)


def _bad_presence(_room_id: str) -> Any:
    events = [{"type": "m.presence", "sender": "@a:b", "content": {"status_msg": 5}}]
    return lambda body: body.update(presence={"events": events})


def _bad_receipts(room_id: str) -> Any:
    events = [{"type": "m.receipt", "content": {"$x": {"m.read": "nobody"}}}, 7, None]
    return lambda body: _room(body, room_id).update(ephemeral={"events": events})


def _bad_members(room_id: str) -> Any:
    events = [{"type": "m.room.member", "state_key": 7, "sender": None, "content": []}, "x"]
    return lambda body: _room(body, room_id).update(state={"events": events})


def _bad_timeline(room_id: str) -> Any:
    strange: list[Any] = [
        {"type": "m.room.message", "origin_server_ts": "now", "content": {"pong": {"ms": 1}}},
        {"type": "m.room.message", "event_id": 5, "sender": 5, "content": "no"},
    ]
    return lambda body: _timeline(body, room_id)["events"].extend(strange)


def _room(body: Any, room_id: str) -> Any:
    return body.setdefault("rooms", {}).setdefault("join", {}).setdefault(room_id, {})


def _timeline(body: Any, room_id: str) -> Any:
    empty: dict[str, Any] = {"events": [], "limited": False, "prev_batch": "x"}
    return _room(body, room_id).setdefault("timeline", empty)


def _sent_as(event: dict[str, Any]) -> object:
    """The transaction ID of an event of ours."""
    return event.get("unsigned", {}).get("transaction_id")


def _transaction(path: str) -> str:
    return urlsplit(path).path.rpartition("/")[2]
