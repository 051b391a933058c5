"""A lab under load

Three homeservers of the lab have the other cores, `pingboard run` and what asks its API have one.
It pings every second; in every other turn four clients ask the API, one thing after the other. Of
each homeserver: the median round trip of those turns against that of the others.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from bench.accuracy import CORES, LAST_CORE, ask_api, run_on_last_core
from bench.pairs import Size
from bench.serving import wait_for
from faults.database import Database, Stored
from pingboard.lab import Lab
from pingboard.lab.network import reserved_port

SERVERS = 3
TURNS = 10
TURN_S = 45.0
WARM_UP_S = 30.0
MAX_RATIO = 1.05


def pairs() -> Iterator[Size]:
    """The figures."""
    samples, loaded_ms = asyncio.run(measure())
    for server in sorted({sample.pong_server for sample in samples}):
        own = [sample for sample in samples if sample.pong_server == server]
        medians_ms = {
            is_loaded: median(
                sample.round_trip_ms
                for sample in own
                if sample.round_trip_ms is not None
                and any(sample.sent_ts in turn for turn in turns_ms)
            )
            for is_loaded, turns_ms in loaded_ms.items()
        }
        name = server.partition(".")[0]
        title = f"median of {name} ({len(own)} pongs): beside four API clients, ms / without, ms"
        yield Size(title, medians_ms[True], medians_ms[False], MAX_RATIO)


async def measure() -> tuple[list[Stored], dict[bool, list[range]]]:
    """What a worker stored, and the turns with and without load, in ms since 1970."""
    turns: dict[bool, list[range]] = {False: [], True: []}
    with _pinned(CORES - LAST_CORE or CORES), reserved_port() as port:
        async with Lab(servers=SERVERS) as lab:
            account = await lab.register(lab.homeservers[0], "pingboard")
            database = lab.directory / "pingboard.db"
            settings = {
                "HOMESERVER": account.homeserver_url,
                "USER": account.user_id,
                "ACCESS_TOKEN": account.access_token,
                "ROOMS": lab.room_alias,
                "INTERVAL": "1s",
            }
            async with run_on_last_core("run", database, port, settings):
                await asyncio.to_thread(wait_for, f"http://127.0.0.1:{port}/rankings.md")
                await asyncio.sleep(WARM_UP_S)
                for turn in range(TURNS):
                    is_loaded = turn % 2 == 1
                    turns[is_loaded].append(await _take_turn(database, port, is_loaded))
            return Database(f"sqlite:///{database}").samples(lab.room_id), turns


async def _take_turn(database: Path, port: int, is_loaded: bool) -> range:
    begin_ms = time.time_ns() // 1_000_000
    if is_loaded:
        with _pinned(LAST_CORE), ask_api(database, port):
            await asyncio.sleep(TURN_S)
    else:
        await asyncio.sleep(TURN_S)
    return range(begin_ms, time.time_ns() // 1_000_000)


@contextmanager
def _pinned(cores: Collection[int]) -> Iterator[None]:
    """Run on these cores, and what is started meanwhile for good."""
    if not cores:  # this system can't
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
