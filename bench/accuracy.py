"""The error of a round trip

A worker on one core, in rooms of 20 homeservers that take 20 to 305 ms, at a homeserver of
bench/true_homeserver.py, which knows when each pong could first be told. Of the round trips that
were kept: how far they are from the truth, at the median and at the 90th percentile. Once idle;
under four clients of the API; while the database is locked for 0.5 s again and again; with a
server that answers ten invented pings after each ping; and with syncs held up for 3 s in every
other round, at another phase of it each time. Last, how late the event loop runs at most while
the worker ranks a million samples to answer `!pingboard`. `--busy` runs two processes beside it
that only burn processor time; the 90th percentile alone is promised then.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

from bench import lateness
from bench.pairs import Size
from bench.serving import wait_for
from bench.true_homeserver import TrueHomeserver
from faults.database import Database
from pingboard.lab.network import reserved_port

MIN_PINGS = 60
"""of a row"""

MAX_ROW_S = 90.0
MAX_MEDIAN_MS, MAX_P90_MS, MAX_BUSY_P90_MS = 5.0, 20.0, 50.0
MAX_STALL_MS = 1_000.0
MAX_LATENESS_MS = 50.0
LOCKED_S, UNLOCKED_S = 0.5, 0.2

CORES = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
LAST_CORE = {max(CORES)} if CORES else set()
"""where pingboard runs; what is measured against has the others, if there are any"""

Load = Callable[[Path, int], AbstractContextManager[object]]
"""What goes on beside a worker, given its database and the port of its API."""


@contextmanager
def ask_api(_database: Path, port: int) -> Iterator[None]:
    """Let clients ask the API one thing after the other."""
    site = f"http://127.0.0.1:{port}"
    with subprocess.Popen([sys.executable, "-m", "bench.api_clients", site]) as clients:
        try:
            yield
            if clients.poll() is not None:
                raise RuntimeError("the API's clients have ended")
        finally:
            clients.kill()


@contextmanager
def lock_database(database: Path, _port: int) -> Iterator[None]:
    """Let commits take long, as on a slow disk."""
    ended = threading.Event()

    def lock() -> None:
        connection = sqlite3.connect(database, isolation_level=None, timeout=MAX_ROW_S)
        while not ended.wait(UNLOCKED_S):
            connection.execute("BEGIN IMMEDIATE")
            ended.wait(LOCKED_S)
            connection.execute("ROLLBACK")
        connection.close()

    thread = threading.Thread(target=lock)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def no_load(_database: Path, _port: int) -> AbstractContextManager[object]:
    """Nothing beside it."""
    return nullcontext()


@dataclass(frozen=True, slots=True)
class Condition:
    """What a row is measured under."""

    name: str
    load: Load = no_load
    command: str = "worker"
    lies: bool = False
    stalls: bool = False
    workers: int = 1
    """at homeservers of their own"""
    rooms: int = 4
    """of each"""
    interval: str = "1s"
    """from one ping in a room to the next"""


CONDITIONS = [
    Condition("idle"),
    Condition("four API clients", ask_api, command="run"),
    Condition("database locked for 0.5 s", lock_database),
    Condition("ten invented pings after each", lies=True),
    # A round has to be over, and its stall too, before the next begins.
    Condition("stalls of 3 s", stalls=True, workers=6, rooms=1, interval="5s"),
]


@dataclass(slots=True)
class Figures:
    """What was measured under a condition."""

    errors_ms: list[float] = field(default_factory=list)
    """of the round trips that were kept, each more than the truth by so much"""
    pings: int = 0
    dropped: int = 0
    """pongs that were stored without a round trip"""

    def add(self, homeserver: TrueHomeserver, database: Database, first_ping: int) -> None:
        """Compare what a worker stored of the pings from a number on."""
        self.pings += homeserver.pings - first_ping + 1
        for room_id in homeserver.rooms:
            for sample in database.samples(room_id):
                truth_ms = homeserver.truth_ms.get((sample.ping, sample.pong_server))
                if truth_ms is None or int(sample.ping.removeprefix("$ping")) < first_ping:
                    continue
                if sample.round_trip_ms is None:
                    self.dropped += 1
                else:
                    self.errors_ms.append(sample.round_trip_ms - truth_ms)


def pairs(*, is_busy: bool = False) -> Iterator[Size]:
    """The figures."""
    max_p90_ms = MAX_BUSY_P90_MS if is_busy else MAX_P90_MS
    with burn_processor(2 if is_busy else 0):
        for condition in CONDITIONS:
            figures = asyncio.run(measure(condition))
            distances_ms = [abs(error_ms) for error_ms in figures.errors_ms]
            name = f"{condition.name}, busy" if is_busy else condition.name
            counts = f"{figures.pings} pings, {len(distances_ms)} kept, {figures.dropped} void"
            name = f"{name} ({counts})"
            if not is_busy:
                median_ms = median(distances_ms)
                yield Size(f"{name}: median, ms / an allowance", median_ms, MAX_MEDIAN_MS, 1)
            p90_ms = quantiles(distances_ms, n=10)[-1]
            yield Size(f"{name}: 90th percentile, ms / an allowance", p90_ms, max_p90_ms, 1)
            if condition.stalls:
                most_ms = max(figures.errors_ms)
                yield Size(f"{name}: most, ms / an allowance", most_ms, MAX_STALL_MS, 1)
        yield Size(
            f"lateness while {lateness.SAMPLES:,} samples are ranked, ms / an allowance",
            lateness.measure_lateness_ms(),
            MAX_LATENESS_MS,
            1,
        )


async def measure(condition: Condition) -> Figures:
    """Measure what workers make of enough pings."""
    figures = Figures()
    pings = -(-MIN_PINGS // condition.workers)
    async with asyncio.TaskGroup() as group:
        for _ in range(condition.workers):
            group.create_task(_measure_one(condition, pings, figures))
    return figures


async def _measure_one(condition: Condition, pings: int, figures: Figures) -> None:
    with tempfile.TemporaryDirectory() as folder, reserved_port() as port:
        database = Path(folder) / "pingboard.db"
        async with TrueHomeserver(
            condition.rooms, lies=condition.lies, stalls=condition.stalls
        ) as homeserver:
            settings = {
                "HOMESERVER": homeserver.url,
                "ACCESS_TOKEN": "token",
                "ROOMS": " ".join(homeserver.rooms),
                "INTERVAL": condition.interval,
            }
            async with run_on_last_core(condition.command, database, port, settings) as worker:
                await _wait_for_ping(homeserver, 1, worker)
                if condition.command == "run":
                    await asyncio.to_thread(wait_for, f"http://127.0.0.1:{port}/rankings.md")
                first_ping = homeserver.pings + 1
                with condition.load(database, port):
                    await _wait_for_ping(homeserver, first_ping + pings, worker)
        figures.add(homeserver, Database(f"sqlite:///{database}"), first_ping)


@asynccontextmanager
async def run_on_last_core(
    command: str, database: Path, port: int, settings: Mapping[str, str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a command of pingboard on `LAST_CORE`."""
    common = {"DATABASE_URL": f"sqlite:///{database}", "PORT": str(port), "RATE_LIMIT": "0"}
    inherited = {key: value for key, value in os.environ.items() if "PINGBOARD_" not in key}
    given = {f"PINGBOARD_{name}": value for name, value in {**common, **settings}.items()}
    with database.with_name("log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pingboard", command), env=inherited | given, stderr=log
        )
    if LAST_CORE:
        os.sched_setaffinity(process.pid, LAST_CORE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _wait_for_ping(
    homeserver: TrueHomeserver, number: int, worker: asyncio.subprocess.Process
) -> None:
    async with asyncio.timeout(MAX_ROW_S):
        while homeserver.pings < number:
            if worker.returncode is not None:
                raise RuntimeError(f"the worker has ended with code {worker.returncode}")
            await asyncio.sleep(0.05)


@contextmanager
def burn_processor(processes: int) -> Iterator[None]:
    """Run so many processes beside us that do nothing else."""
    burning = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)
    ]
    try:
        yield
    finally:
        for process in burning:
            process.kill()
            process.wait()
