"""Worker and storage, without a homeserver: so many steps that only a model keeps up (case 57)."""

from __future__ import annotations

import asyncio
import sys

from faults.case import CaseError, case
from faults.scene import Scene

STEPS = 25


@case(57, "Syncs, crashes, duplicates, redactions against a model", "10,000 steps", short=False)
async def machine(scene: Scene) -> str:
    return await _run(scene, "WorkerMachine", 400)


@case(57, "The same while the clock jumps", "2,500 steps", short=False)
async def machine_with_a_clock(scene: Scene) -> str:
    return await _run(scene, "ClockMachine", 100)


async def _run(scene: Scene, name: str, examples: int) -> str:
    """In a process of its own: the machine has its own event loop, and moves the clock."""
    scene.heals = False
    code = f"from faults.machine import {name}, run; run({name}, {examples}, {STEPS})"
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
