"""Worker and storage: its wall clock jumps, or it sleeps for hours."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from time import monotonic

from faults.case import case
from faults.claims import expect, now_ts
from faults.scene import Scene

SHIFTED = str(Path(__file__).parents[1] / "shifted.py")


@case(
    33,
    "Wall clock moved by an hour and a day, either way",
    "round trips unchanged, no burst",
    short=False,
)
async def clock_moved(scene: Scene) -> str:
    scene.worker = scene.make_worker((SHIFTED, "worker"))
    await scene.start()
    most = 0
    for number in (signal.SIGUSR1, signal.SIGUSR2) * 4:
        os.kill(scene.worker.pid, number)
        most = max(most, await _count_pings(scene, 3))
    expect(most <= 6, f"{most} pings in 3 s at one a second")
    await scene.has_more(2, scene.within(20))
    trips = [sample.round_trip_ms for sample in scene.samples() if sample.round_trip_ms is not None]
    expect(trips and 0 <= min(trips) <= max(trips) < scene.within(3000), f"round trips of {trips}")
    return f"round trips {min(trips)} to {max(trips)} ms, at most {most} pings in 3 s"


@case(34, "Worker asleep", "no storm of pings after")
async def asleep(scene: Scene) -> str:
    await scene.start()
    await scene.has_more(1, scene.within(20))
    begin_ts = now_ts()
    await scene.worker.pause()
    seconds = scene.long(6, scene.stage.asleep.total_seconds())
    await asyncio.sleep(seconds)
    end_ts = now_ts()
    await scene.worker.resume()
    had = await _count_pings(scene, 2)
    expect(had <= 4, f"{had} pings in 2 s")
    scene.expect_no_round_trip_over(begin_ts, end_ts, "the sleep")
    return f"asleep {seconds:g} s, {had} pings in the 2 s after"


async def _count_pings(scene: Scene, seconds: float) -> int:
    """How many pings are sent from now on in so many seconds, however often each is tried."""
    begin = monotonic()
    await asyncio.sleep(seconds)
    sends = scene.proxy.asked("send", begin)
    return len({seen.path for seen in sends if seen.at <= begin + seconds})
