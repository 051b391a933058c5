"""Live events to 1,000 listeners

A server of its own on a SQLite file, and this process, which writes pongs and listens a thousand
times. What a listener takes of the server's memory; how long after its commit a pong is with the
last of them (the server looks twice a second); the server's processor time for a round of 88 pongs
told to all; what it keeps for those who never read while 20,000 pongs pass. Each against an
allowance.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from urllib.request import urlopen

from bench.pairs import Size
from pingboard.model import Batch, Ping, Pong, Sample
from pingboard.store.engine import migrate, open_engine
from pingboard.store.ingest import Ingest
from pingboard.web.server import listen

LISTENERS = 1_000
PONGS = 88
ROUNDS = 10
DEAF = 50
ROOM = "!live:bench.example"


def pairs(quick: bool) -> Iterator[Size]:
    """The figures; `quick` lets fewer pongs pass the deaf."""
    yield from asyncio.run(_measure(5_000 if quick else 20_000))


async def _measure(passing: int) -> list[Size]:
    with tempfile.TemporaryDirectory() as folder:
        writer = _Writer(Path(folder) / "live.db")
        with _serving(Path(folder)) as (process, port):
            empty_mib = _memory_mib(process)
            listeners = [await _connect(port) for _ in range(LISTENERS)]
            full_mib = _memory_mib(process)
            delays, spent_s = [], _processor_s(process)
            for _ in range(ROUNDS):
                last = writer.write(PONGS)
                begin = time.perf_counter()
                await asyncio.gather(*(one.readuntil(last) for one, _ in listeners))
                delays.append(time.perf_counter() - begin)
            spent_s = (_processor_s(process) - spent_s) / ROUNDS
            for _, other in listeners:
                other.close()
            await asyncio.sleep(5)  # until the server has noticed
            deaf = [await _connect(port, deaf=True) for _ in range(DEAF)]
            before_mib = _memory_mib(process)
            for _ in range(passing // 1000):
                writer.write(1000)
            await asyncio.sleep(2)
            kept_mib = _memory_mib(process) - before_mib
            for _, other in deaf:
                other.close()
    many = f"{LISTENERS:,} listeners"
    return [
        Size(f"memory of {many}, MiB / an allowance", full_mib - empty_mib, 150, 1),
        Size(f"from the commit to the last of {many}, s / an allowance", median(delays), 1.5, 1),
        Size(f"processor time of {PONGS} pongs for {many}, s / an allowance", spent_s, 1, 1),
        Size(
            f"memory kept for {DEAF} who don't read {passing:,} pongs, MiB / an allowance",
            max(kept_mib, 0),
            100,
            1,
        ),
    ]


class _Writer:
    """Commits pongs as a worker does."""

    def __init__(self, path: Path) -> None:
        engine = open_engine(f"sqlite:///{path}")
        migrate(engine)
        self._ingest = Ingest(engine, "bench")
        self._ingest.record_room(ROOM)
        self._rounds = 0

    def write(self, count: int) -> bytes:
        """A ping with so many pongs; what is told of the last one."""
        self._rounds += 1
        ts = time.time_ns() // 1_000_000
        ping = Ping(f"$ping{self._rounds}", ROOM, "ours.example", ts, ts)
        pong = Pong("$pong", ROOM, "x", ping.event_id, None, 300, ts, ts + 300)
        names = [f"hs{number}.example" for number in range(count)]
        samples = [Sample(ping, replace(pong, server=name), None) for name in names]
        self._ingest.record(Batch([], samples))
        told = f'"{ping.event_id}", "ping_server": "ours.example", "pong_server": "{names[-1]}"'
        return told.encode()


@contextmanager
def _serving(folder: Path) -> Iterator[tuple[int, int]]:
    """`pingboard serve`: its process ID and port."""
    with listen("127.0.0.1", 0) as taken:
        port = int(taken.getsockname()[1])
    settings = {"DATABASE_URL": f"sqlite:///{folder}/live.db", "PORT": str(port)}
    environment = {f"PINGBOARD_{name}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "pingboard", "serve"]
    with subprocess.Popen(
        command, cwd=folder, env=os.environ | environment, stderr=subprocess.DEVNULL
    ) as process:
        try:
            _until_it_serves(port)
            yield process.pid, port
        finally:
            process.terminate()


def _until_it_serves(port: int) -> None:
    for _ in range(600):
        try:
            urlopen(f"http://127.0.0.1:{port}/api/v1/rankings", timeout=10).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("the server does not answer")


async def _connect(
    port: int, *, deaf: bool = False
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A listener that is told everything from now on."""
    limit = 1024 if deaf else 1 << 22
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=limit)
    writer.write(b"GET /api/v1/live HTTP/1.1\r\nHost: bench\r\n\r\n")
    await reader.readuntil(b"retry: 2000")
    return reader, writer


def _memory_mib(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    found = re.search(r"VmRSS:\s+(\d+)", status)
    return int(found[1]) / 1024 if found else 0.0


def _processor_s(process: int) -> float:
    """Its processor time so far, in user and kernel mode."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
