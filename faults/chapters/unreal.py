"""Worker and storage, without a real homeserver: so much that only a model keeps up."""

from __future__ import annotations

import asyncio
import sys
from time import monotonic

from faults.case import case
from faults.claims import CaseError, expect
from faults.crowd import Torrent
from faults.model_homeserver import ROOM_ID, USER_ID
from faults.scene import Scene
from pingboard.model import StoreError

STEPS = 25

MAX_GROWTH_MIB = 200
"""What 20,000 pings and 200,000 answers that are remembered take, the queue, and as much again."""

MIN_RATE = 500
"""pongs a second, far below what a machine at rest takes"""

STORED_PONGS = """
    SELECT (SELECT count(*) FROM sample) + (SELECT coalesce(sum(samples), 0) FROM hour)
"""


@case(57, "Syncs, crashes, duplicates, redactions against a model", "10,000 steps", short=False)
async def machine(scene: Scene) -> str:
    return await _run(scene, "WorkerMachine", 400)


@case(57, "The same while the clock jumps", "2,500 steps", short=False)
async def machine_with_a_clock(scene: Scene) -> str:
    return await _run(scene, "ClockMachine", 100)


async def _run(scene: Scene, name: str, examples: int) -> str:
    """In a process of its own: the machine has its own event loop, and moves the clock."""
    scene.heals = False
    code = f"from faults.state_machine import {name}, run; run({name}, {examples}, {STEPS})"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        lines = output.decode().splitlines()
        raise CaseError(next((line for line in lines if "Error" in line), lines[-1]))
    return f"{examples * STEPS} steps"


@case(69, "20,000 pings of 300 pongs (40 in seconds)", "memory grows by at most 200 MiB")
async def torrent(scene: Scene) -> str:
    scene.heals = False  # what is in its room no real homeserver tells
    async with Torrent(int(scene.long(40, 20_000))) as homeserver:
        account = {"HOMESERVER": homeserver.url, "USER": USER_ID, "ROOMS": ROOM_ID}
        scene.worker = scene.make_worker(changes={**account, "INTERVAL": "1h"})
        await scene.worker.launch()
        begin = monotonic()
        first_mib = most_mib = 0.0
        stored = 0
        while stored < homeserver.pongs:
            bound_s = scene.within(30 + homeserver.pongs / MIN_RATE)
            expect(
                monotonic() - begin < bound_s, f"{stored} of {homeserver.pongs} pongs are stored"
            )
            await asyncio.sleep(scene.long(0.2, 5))
            stored = await asyncio.to_thread(_count_pongs, scene)
            if stored:
                most_mib = max(most_mib, scene.worker.memory_mib())
                first_mib = first_mib or most_mib
        seconds = monotonic() - begin
    growth_mib = most_mib - first_mib
    expect(growth_mib < MAX_GROWTH_MIB, f"memory grew by {growth_mib:.0f} MiB")
    return f"{stored} pongs in {seconds:.0f} s, {first_mib:.0f} -> {most_mib:.0f} MiB"


def _count_pongs(scene: Scene) -> int:
    try:
        return int(scene.database.query(STORED_PONGS)[0][0])
    except StoreError:  # it has only just begun to make the database
        return 0
