"""A site for tests: samples in a SQLite file, served on a free port."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import httpx

from pingboard import editions
from pingboard.boards import Boards
from pingboard.edition_schedule import Schedule
from pingboard.model import Batch, Sample, to_ts
from pingboard.store.editions import insert_edition
from pingboard.store.engine import Engine
from pingboard.store.ingest import Ingest
from pingboard.web.app import create_app, create_site, stop_streams
from pingboard.web.server import Server, listen
from pingboard.web.shared_boards import SharedBoards
from tests.databases import open_migrated_file
from tests.samples import make_ping, make_pong

NOW = datetime(2026, 10, 12, tzinfo=UTC)
ROOM = "!ping:one.example"
ALIAS = "#ping:one.example"

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = [
    "evil|name",
    "<svg onload=alert(1)>",
    "</text><script>alert(1)</script>",
    "=cmd()",
    "пример.example",
    "[::1",
    ":99999",
    "one.example\n",
    "a/b/../c",
    "..%2f",
    "\x00\x1b",
    "x" * 3000,
    "]]>&amp;\"'",
]
"""Names and labels that want to be more than text."""

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


def make_each_pair(servers: int) -> list[Sample]:
    """So many homeservers ping each other once; the higher the numbers of both, the slower."""
    samples = []
    for ping_number in range(servers):
        ts = int(NOW.timestamp() * 1000) - 3_600_000 + ping_number
        ping = make_ping(
            ping_number,
            f"matrix.hs{ping_number:03}.example",
            room_id=ROOM,
            seen_ts=ts,
            origin_server_ts=ts,
        )
        slow = 7 * ping_number
        samples += [
            Sample(ping, make_pong(ping, f"matrix.hs{number:03}.example", 80 + slow * number), None)
            for number in range(servers)
            if number != ping_number
        ]
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


def lose(engine: Engine, homeserver: str, *, pings: range, before_now: timedelta) -> None:
    """Pings of ours that the homeserver did not answer, all seen at one time."""
    ts = to_ts(NOW - before_now)
    sent = [make_ping(n, "ours.example", room_id=ROOM, seen_ts=ts, vantage="main") for n in pings]
    Ingest(engine, "test").record(Batch(expected=[(ping, [homeserver]) for ping in sent]))


def make_editions(engine: Engine, now: datetime = NOW) -> None:
    """Make every edition that is due by the default schedule."""
    boards = Boards(engine)
    for week in editions.due(engine, Schedule(), now):
        made = editions.make(boards, week)
        assert made is not None
        insert_edition(engine, made)
    boards.close()


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
    per_minute: int = 0,
    **options: Any,
) -> Iterator[httpx.Client]:
    """A client of a running server, for which it is always `NOW` unless its clock moves.

    Nobody is limited unless by `per_minute`: time costs units, and a busy machine takes time.
    """
    boards = make_boards(engine, default_room)
    app = create_app(boards, clock=clock, per_minute=per_minute, **options)
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


def make_hourly(server: str, level: Callable[[int], int | None]) -> list[Sample]:
    """A week of pongs, one at the start of each hour, that take as long as `level` says."""
    start_ts = to_ts(NOW) - 7 * 24 * 3_600_000
    samples = []
    for hour in range(7 * 24):
        ms = level(hour)
        if ms is None:
            continue
        ts = start_ts + hour * 3_600_000
        (sample,) = make_answers(server, [ms + hour % 7], first=hour)
        ping = replace(sample.ping, origin_server_ts=ts, seen_ts=ts)
        pong = replace(sample.pong, origin_server_ts=ts + ms, seen_ts=ts + ms)
        samples.append(replace(sample, ping=ping, pong=pong))
    return samples
