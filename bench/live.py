"""A new pong, and answering over HTTP

A new pong: committed to the database, then `/rankings.md` asked again and its fresh bytes had, of
a window with a million samples, against one recomputation by pingstat's algorithm (both do it once
a pong). The same update at 1M against 10k. Then an answer of 26 kB from the byte cache against a
bare ASGI app that sends the same bytes, over sockets from one client, and a 304 against its 200.
"""

from __future__ import annotations

import asyncio
import math
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from starlette.types import Receive, Scope, Send

from bench import peer
from bench.pairs import Pair
from bench.pongs import END, ROOM, WEEK, synthesize
from bench.store import _write
from pingboard.boards import Boards
from pingboard.model import Batch, Ping, Pong, Sample, to_ts
from pingboard.store.engine import open_engine
from pingboard.store.ingest import Ingest
from pingboard.web.app import create_app
from pingboard.web.cache import ByteCache
from pingboard.web.freshness import Freshness
from pingboard.web.server import Server, listen

BODY = b"x" * 26_000
REQUESTS = 2_000


def pairs(quick: bool) -> Iterator[Pair]:
    """The figures; `quick` measures the update at 100k."""
    yield from of_new_pongs(quick)
    yield from over_http()
    yield from ingesting()


def of_new_pongs(quick: bool) -> Iterator[Pair]:
    """From a commit to the bytes that have it."""
    many = 100_000 if quick else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        large, theirs = _write(Path(folder), synthesize(many))
        small, _ = _write(Path(folder), synthesize(10_000))
        update, update_small = updater(large), updater(small)
        yield Pair(
            f"a new pong into fresh bytes, {many:,} samples / a recomputation by pingstat",
            update,
            lambda: peer.read_and_rank(theirs, WEEK.start_ts, WEEK.end_ts),
            1 / 50_000,
        )
        yield Pair(f"a new pong at {many:,} samples / at 10,000", update, update_small, 2)


def updater(path: Path) -> Callable[[], None]:
    """Commits a pong and gets the table; each call another pong."""
    writer = open_engine(f"sqlite:///{path}")
    boards = Boards(open_engine(f"sqlite:///{path}", read_only=True))
    app = create_app(boards, clock=lambda: END)
    # What took long to make is given for a while whatever has changed; here never.
    cached = ByteCache(app, Freshness(boards, lambda: END), slow_s=math.inf)
    ingest = Ingest(writer, "bench")
    loop = asyncio.new_event_loop()
    numbers = iter(range(10**9))

    def update() -> None:
        ingest.record(Batch([], [make_sample(next(numbers))]))
        loop.run_until_complete(fetch(cached))

    return update


def make_sample(number: int) -> Sample:
    """A pong of a second before the end of the window."""
    ts = to_ts(END) - 2000
    ping = Ping(f"$new{number}", ROOM, "server1.example", ts, ts)
    pong = Pong(f"$p{number}", ROOM, "server2.example", ping.event_id, None, 300, ts, ts + 300)
    return Sample(ping, pong, None)


async def fetch(app: Any) -> bytes:
    """The body of the table, by ASGI alone."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/rankings.md",
        "raw_path": b"/rankings.md",
        "query_string": b"board=delivery",
        "root_path": "",
        "headers": [],
        "server": ("test", 80),
        "client": ("test", 1),
    }
    await app(scope, receive, send)
    if sent[0]["status"] != 200:
        raise RuntimeError(sent)
    return bytes(sent[-1]["body"])


def over_http() -> Iterator[Pair]:
    """Pairs over sockets, each side a server of its own in a thread."""

    async def bare(_scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(BODY))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": BODY})

    async def version() -> object:
        return 1

    servers = [Server(app, listen("127.0.0.1", 0)) for app in (ByteCache(bare, version), bare)]
    for server in servers:
        server.start()
    try:
        cached, plain = (Client(server.url) for server in servers)
        etag = cached.etag()
        yield Pair(
            f"{REQUESTS:,} cached answers / a bare ASGI app's (0.95 of its rate)",
            lambda: cached.ask(REQUESTS),
            lambda: plain.ask(REQUESTS),
            1 / 0.95,
        )
        yield Pair(
            f"{REQUESTS:,} answers 304 / 200 (1.25 of the rate)",
            lambda: cached.ask(REQUESTS, etag),
            lambda: cached.ask(REQUESTS),
            1 / 1.25,
        )
    finally:
        for server in servers:
            server.stop()


class Client:
    """One kept-alive connection, its requests sent 50 at a time."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").rstrip("/").split(":")
        self._socket = socket.create_connection((host, int(port)))

    def etag(self) -> str:
        head = self._ask_once(b"").partition(b"\r\n\r\n")[0].decode().lower()
        return next(line[6:] for line in head.split("\r\n") if line.startswith("etag: "))

    def ask(self, requests: int, etag: str = "") -> None:
        header = f"if-none-match: {etag}\r\n".encode() if etag else b""
        size = len(self._ask_once(header))
        for _ in range(requests // 50):
            self._socket.sendall(_request(header) * 50)
            self._receive(size * 50)

    def _ask_once(self, header: bytes) -> bytes:
        self._socket.sendall(_request(header))
        got = b""
        while b"\r\n\r\n" not in got:
            got += self._socket.recv(1 << 16)
        head, _, body = got.partition(b"\r\n\r\n")
        expected = len(BODY) if b" 200 " in head[:20] else 0
        return got + self._receive(expected - len(body))

    def _receive(self, size: int) -> bytes:
        got = bytearray()
        while len(got) < size:
            got += self._socket.recv(min(1 << 18, size - len(got)))
        return bytes(got)


def _request(header: bytes) -> bytes:
    return b"GET /a HTTP/1.1\r\nhost: x\r\n" + header + b"\r\n"


def ingesting() -> Iterator[Pair]:
    """Pongs into the database: verified samples of ours, and rows as pingstat inserts them."""
    folder = Path(tempfile.mkdtemp())
    theirs = peer.Inserter(folder / "theirs.db")
    path = folder / "ours.db"
    synthesize(1_000).write(path)
    ingest = Ingest(open_engine(f"sqlite:///{path}"), "bench")
    numbers = iter(range(10**9))
    template = make_sample(0)

    def record(batches: int, size: int) -> None:
        for _ in range(batches):
            ping = replace(template.ping, event_id=f"$b{next(numbers)}")
            samples = [
                Sample(ping, replace(template.pong, server=f"s{number}.example"), None)
                for number in range(size)
            ]
            ingest.record(Batch([], samples))

    yield Pair(
        "100 pongs, a commit each / pingstat's", lambda: record(100, 1), lambda: theirs(100), 1 / 3
    )
    yield Pair(
        "3,000 pongs in batches of 1,000 / 20 of pingstat's (150 times its rate)",
        lambda: record(3, 1000),
        lambda: theirs(20),
        1,
    )
