"""A site for tests: samples in a SQLite file, served on a free port."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any

import httpx

from pingboard.model import Batch, Sample, to_ts
from pingboard.store.engine import Engine
from pingboard.store.ingest import Ingest
from pingboard.web.app import create_app, create_site, stop_streams
from pingboard.web.freshness import SharedBoards
from pingboard.web.server import Server, listen
from tests.databases import open_migrated_file
from tests.samples import make_ping, make_pong

NOW = datetime(2026, 10, 12, tzinfo=UTC)
ROOM = "!ping:one.example"
ALIAS = "#ping:one.example"

_NOON = to_ts(datetime(2026, 10, 11, 12, tzinfo=UTC))


def make_answers(
    server: str, round_trips_ms: Iterable[int], *, room: str = ROOM, first: int = 0
) -> list[Sample]:
    """A server's pongs to our own pings, sent a second apart from noon of the day before `NOW`.

    Its bot claims half the round trip as one-way. `first` is the number of the first ping.
    """
    samples = []
    for number, round_trip_ms in enumerate(round_trips_ms, first):
        ts = _NOON + number * 1000
        ping = make_ping(
            number, "ours.example", room_id=room, origin_server_ts=ts, seen_ts=ts, vantage="main"
        )
        pong = make_pong(ping, server, round_trip_ms // 2)
        arrived = replace(pong, seen_ts=ts + round_trip_ms)
        samples.append(Sample(ping, arrived, round_trip_ms))
    return samples


EXAMPLE_SAMPLES = [
    *make_answers("one.example", [380, 395, 403, 411, 450]),
    *make_answers("two.example", [460, 512, 600], first=2),
]
"""What the examples in the OpenAPI description were computed from."""


def open_store(folder: Path, *, alias: str | None = ALIAS, room: str = ROOM) -> Engine:
    """A new database with one room and nothing heard in it yet."""
    engine = open_migrated_file(folder / "pingboard.db")
    Ingest(engine, "test").record_room(room, alias)
    return engine


def record(engine: Engine, samples: list[Sample]) -> None:
    """Store these samples."""
    Ingest(engine, "test").record(Batch([], samples))


@contextmanager
def serve(
    engine: Engine,
    *,
    default_room: str | None = None,
    root_path: str = "",
    public_url: str = "",
    port: int = 0,
    clock: Callable[[], datetime] = lambda: NOW,
    make_boards: Callable[[Engine, str | None], SharedBoards] = SharedBoards,
    **options: Any,
) -> Iterator[httpx.Client]:
    """A client of a running server, for which it is always `NOW` unless its clock moves."""
    boards = make_boards(engine, default_room)
    app = create_app(boards, clock=clock, **options)
    server = Server(
        create_site(app, root_path=root_path, public_url=public_url),
        listen("127.0.0.1", port),
        before_stop=lambda: stop_streams(app),
    )
    server.start()
    try:
        # Before the server, which keeps an idle connection for 5 s, as httpx does.
        limits = httpx.Limits(keepalive_expiry=2)
        with httpx.Client(base_url=server.url, timeout=60, limits=limits) as client:
            yield client
    finally:
        server.stop()
        boards.close()


def text_of(page: httpx.Response) -> str:
    """What a page says, without its tags and with single spaces."""
    body = page.text.replace("<wbr>", "")
    body = re.sub(r"<(style|script)\b.*?</\1>|<[^>]+>", " ", body, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(body))
