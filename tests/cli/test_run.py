"""Worker and API are two processes, and end together. The homeserver is one that is away."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.commands import end_of, is_alive, start, until_it_answers


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def niceness_of(pid: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, pid)


async def until_gone(pid: int, within_s: float = 60) -> None:
    async with asyncio.timeout(within_s):
        while is_alive(pid):  # noqa: ASYNC110 (another process decides)
            await asyncio.sleep(0.05)


async def until_refused(port: int, within_s: float = 60) -> None:
    async with asyncio.timeout(within_s):
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except ConnectionRefusedError:
                return
            await asyncio.sleep(0.05)


@pytest.fixture
async def run(tmp_path: Path, free_port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """`pingboard run` once its API answers."""
    settings = {
        "HOMESERVER": "http://127.0.0.1:1",
        "ACCESS_TOKEN": "token",
        "ROOMS": "#ping:example.org",
        "PORT": str(free_port),
    }
    process = await start("run", settings, tmp_path)
    try:
        await until_it_answers(f"http://127.0.0.1:{free_port}/healthz")
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def test_the_api_leaves_the_processor_to_the_worker(
    run: asyncio.subprocess.Process,
) -> None:
    [api] = children_of(run.pid)
    assert niceness_of(api) > niceness_of(run.pid)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_both_in_order(
    run: asyncio.subprocess.Process, how: signal.Signals
) -> None:
    [api] = children_of(run.pid)
    run.send_signal(how)
    ended = await end_of(run, within_s=60)
    assert ended.code == 0
    assert "Traceback" not in ended.stderr
    await until_gone(api)


async def test_a_worker_that_is_killed_takes_the_api_with_it(
    run: asyncio.subprocess.Process, free_port: int
) -> None:
    [api] = children_of(run.pid)
    run.kill()
    await until_gone(api)
    await until_refused(free_port)


async def test_an_api_that_ends_is_said_and_ends_the_worker(
    run: asyncio.subprocess.Process,
) -> None:
    [api] = children_of(run.pid)
    os.kill(api, signal.SIGKILL)
    ended = await end_of(run)
    assert ended.code == 1
    assert ended.stderr.splitlines()[-1] == (
        "pingboard: the API has ended with exit code -9, so the worker is ended too"
    )


async def test_a_locked_database_does_not_keep_it_from_ending(
    run: asyncio.subprocess.Process, tmp_path: Path
) -> None:
    [api] = children_of(run.pid)
    with contextlib.closing(sqlite3.connect(tmp_path / "pingboard.db")) as database:
        database.isolation_level = None
        database.execute("PRAGMA busy_timeout = 60000")
        database.execute("BEGIN IMMEDIATE")
        begun = asyncio.get_running_loop().time()
        run.terminate()
        ended = await end_of(run)
        took_s = asyncio.get_running_loop().time() - begun
    assert ended.code == 0
    assert took_s < 60  # ten, on a machine that is not busy
    await until_gone(api)


async def test_the_api_says_what_is_waited_for_while_the_database_is_away(
    tmp_path: Path, free_port: int
) -> None:
    settings = {
        "HOMESERVER": "http://127.0.0.1:1",
        "ACCESS_TOKEN": "token",
        "ROOMS": "#ping:example.org",
        "PORT": str(free_port),
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    }
    process = await start("run", settings, tmp_path)
    await until_it_answers(f"http://127.0.0.1:{free_port}/healthz")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{free_port}", timeout=60) as client:
        readiness = await client.get("/readyz")
        page = await client.get("/", headers={"Accept": "text/html"})
    process.terminate()
    ended = await end_of(process)
    assert (readiness.status_code, readiness.json()["reason"]) == (503, "database")
    assert (page.status_code, "Retry-After" in page.headers) == (503, True)
    assert ended.code == 0
    assert ended.stderr.count("waiting for it") == 1
