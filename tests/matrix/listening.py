"""A worker that listens in a real room, and what it has stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from pingboard.lab import Lab
from pingboard.matrix import pings, sync
from pingboard.matrix.session import Account
from pingboard.matrix.store_writer import Writer
from pingboard.matrix.worker import Worker
from pingboard.store.engine import Engine
from pingboard.store.ingest import Ingest
from pingboard.store.schema import (
    ping,
    rejection,
    server,
    session,
)


@asynccontextmanager
async def listening(
    lab: Lab, engine: Engine, account: Any, rooms: list[str], **options: Any
) -> AsyncIterator[asyncio.Task[None]]:
    """A worker while it runs, pinging once an hour unless told otherwise."""
    writer = Writer(engine, Ingest(engine, account.user_id))
    timing = {"interval": timedelta(hours=1), "backfill": timedelta(days=7), **options}
    credentials = Account(
        account.homeserver_url,
        account.user_id,
        timing.pop("access_token", account.access_token),
        timing.pop("password", None),
    )
    running = Worker(writer, credentials, rooms, vantage="test", **timing)
    task = asyncio.create_task(running.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
        await running.close()
        writer.close()


def never_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no ping be void because this machine is slow."""
    monkeypatch.setattr(pings, "_STALL_NS", 600 * 10**9)
    monkeypatch.setattr(pings, "_WATCH_NS", 600 * 10**9)
    monkeypatch.setattr(sync, "MAX_STALL_S", 600.0)


def rows(engine: Engine, *columns: Any) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(select(*columns)).all())


def synced(engine: Engine) -> bool:
    """Whether the worker has stored a first sync."""
    return bool([row for row in rows(engine, session.c.next_batch) if row[0]])


def ping_servers(engine: Engine) -> set[str]:
    joined = select(server.c.name).join(ping, ping.c.server == server.c.id)
    with engine.connect() as connection:
        return set(connection.execute(joined).scalars())


def rejections(engine: Engine) -> dict[str, int]:
    counts: dict[str, int] = {}
    for reason, number in rows(engine, rejection.c.reason, rejection.c.count):
        counts[reason] = counts.get(reason, 0) + number
    return counts
