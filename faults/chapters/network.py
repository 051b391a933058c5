"""Homeserver and network: the way to our own homeserver, and from it to the others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from time import monotonic

from faults.case import case
from faults.claims import expect, until
from faults.faultproxy import answer, delayed, reset
from faults.scene import Scene


@case(
    2,
    "Homeserver away, and the other one restarted meanwhile",
    "filled in too what it fetches only when it is asked for history",
    short=False,
    alone=True,
)
async def away_too_long(scene: Scene) -> str:
    await scene.start()
    await scene.has_more(2, scene.within(20))
    first, second = scene.homeservers
    await first.kill()
    missed = await scene.exchange(40, scene.there)
    # It forgets what it still wanted to send, and as after hours tells the latest event alone.
    await second.stop()
    await second.start()
    await first.start()
    scene.witnesses.append(scene.there)

    begin = monotonic()
    await until(
        lambda: {ping for ping, _ in scene.stored()} >= set(missed),
        scene.within(120),
        "not all of it was filled in",
    )
    return (
        f"{len(missed)} pings that it missed, their pongs stored {monotonic() - begin:.0f} s after"
    )


LIMITED = {"errcode": "M_LIMIT_EXCEEDED", "error": "wait", "retry_after_ms": 500}

OUTAGES = {
    "reset": (reset(), 2),
    "502": (answer(502, b"<html>"), 2),
    # Of pings it is said too: they alone can be limited.
    "429": (answer(429, LIMITED), 4),
}
"""Kinds, with how many lines of log each may have."""

SAID = {"event=waiting": "no longer waiting", "pings are refused": "pings are sent again"}
"""What is logged when an outage begins, and when it ends. One that is over before the homeserver
answers the next sync is one of pings alone."""


@case(64, "Outages of each kind", "one line when it begins, one when it ends, none between")
async def said_once(scene: Scene) -> str:
    await scene.start(LOG_LEVEL="INFO")
    await scene.has_more(1, scene.within(60))
    await scene.worker.says("gap filled", scene.within(60))

    async def is_quiet() -> bool:
        begun, ended = (_count(scene.worker.log, said) for said in (SAID.keys(), SAID.values()))
        return begun == ended

    # On a busy machine the start may have been an outage too.
    await until(is_quiet, scene.within(60), "an outage at the start does not end")
    for name, (fault, most) in OUTAGES.items():
        before = len(scene.worker.log)
        scene.proxy.inject("/", fault)
        await asyncio.sleep(scene.long(4, 60))
        await until(
            lambda: any(_count(scene.worker.log[before:], SAID.keys())),  # noqa: B023 (awaited at once)
            scene.within(60),
            f"{name}: its begin is not said",
        )
        scene.proxy.clear()
        await scene.has_more(2, scene.within(60))
        await until(is_quiet, scene.within(60), f"{name}: its end is not said")
        lines = scene.worker.log[before:].splitlines()
        expect(2 <= len(lines) <= most, f"{name}: {len(lines)} lines: {lines}")
    return f"{', '.join(OUTAGES)}, {scene.long(4, 60):g} s each"


def _count(log: str, texts: Iterable[str]) -> list[int]:
    return [log.count(text) for text in texts]


@case(
    13,
    "Latency of 2 s and connection resets",
    "nothing lost; no round trip, since no send is prompt",
    short=False,
)
async def too_slow_a_network(scene: Scene) -> str:
    samples, trips = await _bad_network(scene, 2, 3600, until_trips=False)
    expect(not trips, f"round trips of {min(trips, default=0)} ms and more")
    void = scene.database.void_rounds()
    expect(void.get("slow"), f"void for other reasons: {void}")
    return f"{samples} samples, no round trip; rounds void: {_listed(void)}"


@case(
    13,
    "Latency of 0.3 s and connection resets",
    "nothing lost; round trips, none under the true one",
    alone=True,
)
async def slow_network(scene: Scene) -> str:
    latency_s = scene.long(0.1, 0.3)
    samples, trips = await _bad_network(scene, latency_s, scene.long(8, 300), until_trips=True)
    expect(trips, f"no round trip; void: {_listed(scene.database.void_rounds())}")
    low = min(trips)
    expect(low >= latency_s * 1000, f"a round trip of {low} ms")
    void = scene.database.void_rounds()
    return f"{samples} samples, {len(trips)} round trips, least {low} ms; void: {_listed(void)}"


async def _bad_network(
    scene: Scene, latency_s: float, seconds: float, *, until_trips: bool
) -> tuple[int, list[int]]:
    """How many samples came while every request took so long, and their round trips."""
    await scene.start()
    scene.proxy.inject("/", reset(0.05, then=delayed(latency_s)))
    begin = monotonic()
    already = {(sample.ping, sample.pong_server) for sample in scene.samples()}
    while True:
        await scene.exchange(1)
        await asyncio.sleep(0.5)
        # The first pings of all may have been on their way before the network became bad.
        late = [
            sample for sample in scene.samples() if (sample.ping, sample.pong_server) not in already
        ][4:]
        trips = [sample.round_trip_ms for sample in late if sample.round_trip_ms is not None]
        left_s = begin + seconds - monotonic()
        if left_s < 0 and (trips or not until_trips or left_s < -scene.until_quiet_s):
            return len(late), trips


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"
