"""However the process that runs a lab ends, nothing of the lab stays."""

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

import pingboard
from faults.claims import until
from tests.commands import is_alive

PARENT = """
import asyncio, json, sys
from pingboard.lab import Lab

async def main():
    async with Lab(servers=1) as lab:
        processes = [*lab.homeservers, *lab.echo_bots]
        if sys.argv[1] == "paused":
            await lab.homeservers[0].pause()
        print(json.dumps({
            "pids": [process.pid for process in processes],
            "url": lab.homeservers[0].url,
            "directory": str(lab.directory),
        }), flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@dataclass(frozen=True, slots=True)
class Parent:
    """A process with a lab of its own: a homeserver and an echo bot."""

    process: asyncio.subprocess.Process
    pids: list[int]
    url: str
    directory: Path

    async def until_all_are_gone(self) -> None:
        await until(lambda: not any(is_alive(pid) for pid in self.pids))
        async with aiohttp.ClientSession() as http:
            with pytest.raises(aiohttp.ClientConnectionError):
                await http.get(f"{self.url}/health")


@asynccontextmanager
async def parent(what: str) -> AsyncIterator[Parent]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PARENT,
        what,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=Path(pingboard.__file__).parents[1],
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        told = json.loads(await process.stdout.readline())
        assert all(map(is_alive, told["pids"]))
        yield Parent(process, told["pids"], told["url"], Path(told["directory"]))
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("what", ["running", "paused"])
async def test_nothing_survives_a_kill_of_the_parent(what: str) -> None:
    async with parent(what) as lab:
        lab.process.kill()
        await lab.process.wait()
        await lab.until_all_are_gone()
        shutil.rmtree(lab.directory)  # the temporary files are all that stays


async def test_nothing_survives_ctrl_c() -> None:
    async with parent("running") as lab:
        os.killpg(lab.process.pid, signal.SIGINT)
        await lab.process.wait()
        await lab.until_all_are_gone()
        assert not lab.directory.exists()
