"""A new pong

A million samples in the window. A new pong is committed, then `/rankings.md` asked again and its
fresh bytes had, against one `np.sort` of all keys; the bytes have to be those of a board that is
ranked by a process that has just begun. Then a server whose live updates are listened to while ten
pongs a second are committed: how much of one core it takes.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from starlette.types import ASGIApp, Message, Scope

from bench.pairs import Pair, Size
from bench.pongs import END, ROOM, WEEK, make_pong, synthesize
from bench.serving import serve
from bench.store import write_heard
from pingboard.boards import Boards
from pingboard.model import Batch, BoardName
from pingboard.render.markdown import table
from pingboard.store.engine import open_engine
from pingboard.store.ingest import Ingest
from pingboard.web.app import create_app, create_site

SAMPLES = 1_000_000
PONGS_A_SECOND = 10
FOLLOWED_S = 30.0
MAX_SHARE = 0.05

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
    "headers": [(b"host", b"bench")],
    "server": ("bench", 80),
    "client": ("bench", 1),
}
"""A request for the table."""


def pairs() -> Iterator[Pair | Size]:
    """The figures."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ours.db"
        pongs = synthesize(SAMPLES)
        write_heard(path, pongs)
        update = Update(path)
        keys = pongs.ping_server.astype(np.uint32) << 20 | pongs.one_way_ms.astype(np.uint32)
        yield Pair(
            f"a new pong -> fresh bytes of `/rankings.md`, {SAMPLES:,} samples / np.sort of keys",
            update,
            lambda: np.sort(keys),
            3,
            lambda ours, _: update.count_differences(ours),
            turns=31,
        )
        update.close()
        yield Size(
            f"the API's share of a core, {PONGS_A_SECOND} pongs a second followed, {SAMPLES:,} "
            "samples / an allowance",
            measure_share(path),
            MAX_SHARE,
            1,
        )


class Update:
    """Commits a pong, and gets the table; each time another."""

    def __init__(self, path: Path) -> None:
        self._engine = open_engine(f"sqlite:///{path}")
        self._reader = open_engine(f"sqlite:///{path}", read_only=True)
        self._ingest = Ingest(self._engine, "bench")
        self._boards = Boards(self._reader)
        self._site = create_site(create_app(self._boards, clock=lambda: END))
        self._loop = asyncio.new_event_loop()
        self._numbers = itertools.count()

    def __call__(self) -> bytes:
        self._ingest.record(Batch(samples=[make_pong(next(self._numbers))]))
        start, *body = self._loop.run_until_complete(ask(self._site, SCOPE))
        if start["status"] != 200:
            raise RuntimeError(start)
        return b"".join(message.get("body", b"") for message in body)

    def count_differences(self, shown: bytes) -> int:
        """Tell whether the bytes are not those of a board that is ranked anew."""
        board = Boards(self._reader).board(BoardName.DELIVERY, WEEK, now=END, room=ROOM, limit=10)
        return int(shown.decode() != table(board.standings))

    def close(self) -> None:
        """Let the database go."""
        self._loop.close()
        self._boards.close()
        self._reader.dispose()
        self._engine.dispose()


async def ask(app: ASGIApp, scope: Scope) -> list[Message]:
    """Return what an app sends, by ASGI alone."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("a client that stays")

    await app({**scope}, receive, send)
    return sent


def measure_share(path: Path) -> float:
    """Return the processor time of a server for each second of pongs that a client listens to."""
    engine = open_engine(f"sqlite:///{path}")
    ingest = Ingest(engine, "bench")
    with serve(path) as (port, process_id), socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET /api/v1/live HTTP/1.1\r\nHost: bench\r\n\r\n")
        threading.Thread(target=_read_all, args=(client,), daemon=True).start()
        spent_s = _read_processor_s(process_id)
        begun = time.perf_counter()
        for number in range(round(FOLLOWED_S * PONGS_A_SECOND)):
            ingest.record(Batch(samples=[make_pong(10**6 + number)]))
            time.sleep(1 / PONGS_A_SECOND)
        elapsed_s = time.perf_counter() - begun
        spent_s = _read_processor_s(process_id) - spent_s
    engine.dispose()
    return spent_s / elapsed_s


def _read_processor_s(process_id: int) -> float:
    """Return the processor time that a process has taken so far, in user and kernel mode."""
    stat = Path(f"/proc/{process_id}/stat").read_text(encoding="ascii")
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _read_all(client: socket.socket) -> None:
    try:
        while client.recv(1 << 16):
            pass
    except OSError:
        return
