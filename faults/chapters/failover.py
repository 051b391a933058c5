"""Worker and storage: workers that stand by for each other on PostgreSQL.

Each worker has a vantage of its own, so that the database tells which of them sent a ping.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import groupby

from faults.case import case
from faults.chapters.storage import PostgreSQL, postgresql, settle
from faults.claims import expect, now_ts, until
from faults.invariants import check_log
from faults.scene import Scene
from faults.worker import WorkerProcess
from pingboard.store.lease import ADVISORY_LOCK

LOST_LEASE_CODE = 3
TAKEOVER_S = 60
"""20 s without a confirmation, 5 s between two looks, 10 s to settle, and the first ping."""

WATCHED_S = 20
"""5 s between two looks of the standby, 10 s to settle, and some pings."""

SENDERS = """
    SELECT vantage.name FROM ping JOIN vantage ON vantage.id = ping.vantage
    WHERE sent_ts IS NOT NULL ORDER BY sent_ts
"""
SENDERS_SINCE = """
    SELECT DISTINCT vantage.name FROM ping JOIN vantage ON vantage.id = ping.vantage
    WHERE ping.origin_server_ts > :since_ts
"""
END_LEASE = """
    SELECT pg_terminate_backend(pid) FROM pg_locks
    WHERE locktype = 'advisory' AND objsubid = 1 AND granted
      AND (classid::bigint << 32) + objid::bigint = :key
"""


@dataclass(frozen=True, slots=True)
class Pair:
    """The first worker pings, the second stands by."""

    server: PostgreSQL
    first: WorkerProcess
    second: WorkerProcess


@case(72, "The active worker hangs", "the standby pings within 60 s, never two do")
async def hung(scene: Scene) -> str:
    async with _open_pair(scene) as pair:
        since_ts = now_ts()
        await pair.first.pause()
        seconds = await until_pinged(scene, since_ts, "second")
        await asyncio.sleep(scene.long(0, max(0, 60 - seconds)))
        await pair.first.resume()
        code = await pair.first.end(scene.within(20))
        expect(code == LOST_LEASE_CODE, f"the one that hung ended with code {code}")
        await until_pinged(scene, now_ts(), "second")
        expect_never_two(scene, takeovers=1)
    return f"pings of the standby {seconds:.1f} s after, the other one ended with code {code}"


@case(72, "The active worker loses its lease alone", "one of the two pings on, never both")
async def lost_lease(scene: Scene) -> str:
    async with _open_pair(scene) as pair:
        losses = int(scene.long(1, 10))
        for _ in range(losses):
            end_lease(scene)
            # By then the standby would ping too, had it taken the lease.
            await asyncio.sleep(WATCHED_S)
            await until_pinged(scene, now_ts())
        expect_never_two(scene, takeovers=1)
        name = "the first" if pair.first.is_running else "the standby"
    return f"lost {losses} times, at last {name} pings"


@case(
    72,
    "PostgreSQL restarts under a worker and its standby",
    "one pings on, never both",
    short=False,
)
async def restarted(scene: Scene) -> str:
    async with _open_pair(scene) as pair:
        slowest_s, restarts = 0.0, 5
        for _ in range(restarts):
            await pair.server.restart(away_s=10)
            slowest_s = max(slowest_s, await until_pinged(scene, now_ts()))
        expect_never_two(scene, takeovers=1)
    return f"{restarts} restarts, pinged within {slowest_s:.1f} s of each"


@asynccontextmanager
async def _open_pair(scene: Scene) -> AsyncIterator[Pair]:
    """Two workers on a database; in the end all of the room is stored, and who still runs ends."""
    scene.heals, scene.end_codes = False, frozenset({LOST_LEASE_CODE})
    async with postgresql(scene) as server:
        scene.worker = first = scene.make_worker(changes={"VANTAGE": "first"})
        second = scene.make_worker(name="second", changes={"VANTAGE": "second"})
        await scene.start()
        await scene.has_more(1, scene.within(20))
        await second.launch()
        await second.says("standing by", scene.within(20))
        yield Pair(server, first, second)
        await settle(scene)
        for worker in (first, second):
            await expect_order(scene, worker)


def end_lease(scene: Scene) -> None:
    """End the connection that holds the lease, and leave the worker those that it writes on."""
    rows = scene.database.query(END_LEASE, key=ADVISORY_LOCK)
    expect(len(rows) == 1, f"{len(rows)} connections held the lease")


async def until_pinged(scene: Scene, since_ts: int, name: str | None = None) -> float:
    """Wait for a ping sent since then, by this worker or by any; the seconds since then."""

    def pinged() -> bool:
        senders = {row[0] for row in scene.database.query(SENDERS_SINCE, since_ts=since_ts)}
        return name in senders if name is not None else bool(senders)

    fault = f"{name or 'nobody'} has not pinged"
    await until(pinged, scene.within(TAKEOVER_S), fault, every_s=0.5)
    return (now_ts() - since_ts) / 1000


def expect_never_two(scene: Scene, takeovers: int) -> None:
    """The pings of one worker all come before those of the other that took over."""
    senders = [name for name, _ in groupby(row[0] for row in scene.database.query(SENDERS))]
    expect(len(senders) <= takeovers + 1, f"pinged in turn: {senders}")


async def expect_order(scene: Scene, worker: WorkerProcess) -> None:
    """A worker that runs ends with code 0, one that does not has lost its lease; its log is fit."""
    if worker.is_running:
        code, _ = await worker.terminate()
        expect(code == 0, f"SIGTERM ended {worker.name} with code {code}")
    else:
        code = worker.exit_code()
        expect(code == LOST_LEASE_CODE, f"{worker.name} has ended with code {code}")
    faults = list(check_log(scene, worker.log))
    expect(not faults, f"{worker.name}: {'; '.join(faults)}")
