"""A new pong

A new pong to a known ping: committed to the database, then `/rankings.md` asked again and its
fresh bytes had, of a window with a million samples, against one recomputation by pingstat's
algorithm (both do it once a pong); the mean of 500. The same for all 88 pongs of a ping in one
commit, for each of them. The same update at 1M against 10k. The bytes have to be those of a board
that is ranked anew.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import peer
from bench.pairs import Pair
from bench.pongs import END, ROOM, WEEK, synthesize
from bench.store import _write
from pingboard.boards import Boards
from pingboard.model import Batch, BoardName, Ping, Pong, Sample, to_ts
from pingboard.render.markdown import table
from pingboard.store.engine import open_engine
from pingboard.store.ingest import Ingest
from pingboard.web.app import create_app
from pingboard.web.cache import ByteCache
from pingboard.web.freshness import Freshness

PONGS = 88
"""To each ping."""

UPDATES = 500
"""Of which the mean is taken: one takes less than the clock's noise."""

MADE_AT_ONCE = 20_000
"""Pongs, before they are needed: whoever measures makes them, not the one who is measured."""

SCOPE = {
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
"""A request for the table."""


def pairs(quick: bool) -> Iterator[Pair]:
    """From a commit to the bytes that have it; `quick` with 100,000 samples."""
    many = 100_000 if quick else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        large, theirs = _write(Path(folder), synthesize(many))
        small, _ = _write(Path(folder), synthesize(10_000))
        update, update_small = Update(large), Update(small)

        def recompute() -> object:
            return peer.read_and_rank(theirs, WEEK.start_ts, WEEK.end_ts)

        yield Pair(
            f"a new pong into fresh bytes, {many:,} samples / a recomputation by pingstat",
            lambda: update(UPDATES),
            recompute,
            1 / 50_000,
            update.count_differences,
            ours_count=UPDATES,
        )
        yield Pair(
            f"each of {PONGS} new pongs in one commit, {many:,} samples / the same",
            lambda: update(1, PONGS),
            recompute,
            1 / 50_000,
            update.count_differences,
            ours_count=PONGS,
        )
        yield Pair(
            f"a new pong at {many:,} samples / at 10,000",
            lambda: update(UPDATES),
            lambda: update_small(UPDATES),
            2,
            update_small.count_differences,
            ours_count=UPDATES,
            theirs_count=UPDATES,
        )


class Update:
    """Commits pongs to a ping that is known, and gets the table; each time others."""

    def __init__(self, path: Path) -> None:
        self._ingest = Ingest(open_engine(f"sqlite:///{path}"), "bench")
        self._boards = Boards(open_engine(f"sqlite:///{path}", read_only=True))
        app = create_app(self._boards, clock=lambda: END)
        # What took long to make is given for a while whatever has changed; here never.
        self._cached = ByteCache(app, Freshness(self._boards, lambda: END), slow_s=math.inf)
        self._loop = asyncio.new_event_loop()
        self._samples = self._make_samples()
        self(3)  # who asks again is one who may ask again and again

    def __call__(self, commits: int, pongs: int = 1) -> bytes:
        """The table after so many commits of so many pongs, and got after each of them."""
        batches = [Batch([], [next(self._samples) for _ in range(pongs)]) for _ in range(commits)]
        return self._loop.run_until_complete(self._update(batches))

    async def _update(self, batches: list[Batch]) -> bytes:
        shown = b""
        for batch in batches:
            self._ingest.record(batch)
            shown = await fetch(self._cached)
        return shown

    def count_differences(self) -> int:
        """Bytes after a pong that are not those of a board that was ranked anew."""
        wrong = 0
        for pongs in (1, 1, PONGS):
            shown = self(1, pongs).decode()
            board = Boards(self._boards.engine).board(BoardName.DELIVERY, WEEK, now=END, limit=10)
            wrong += shown != table(board.standings)
        return wrong

    def _make_samples(self) -> Iterator[Sample]:
        """Pongs of the last second before the end of the window, fast ones: the top ten change."""
        for first in itertools.count(0, MADE_AT_ONCE):
            numbers = range(first, first + MADE_AT_ONCE)
            yield from [make_sample(*divmod(number, PONGS)) for number in numbers]


def make_sample(number: int, pong_server: int = 0) -> Sample:
    """A pong to one of our bench's own pings."""
    ts = to_ts(END) - 2000
    ping = Ping(f"$new{number}", ROOM, f"server{number % 100}.example", ts, ts)
    server, ms = f"server{pong_server}.example", 100 + (number * 37 + pong_server) % 400
    pong = Pong(f"$p{number}-{pong_server}", ROOM, server, ping.event_id, None, ms, ts, ts + ms)
    return Sample(ping, pong, None)


async def fetch(app: Any) -> bytes:
    """The body of the table, by ASGI alone."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    await app({**SCOPE}, receive, send)
    if sent[0]["status"] != 200:
        raise RuntimeError(sent)
    return bytes(sent[-1]["body"])
