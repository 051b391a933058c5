"""While a board is ranked anew each second

`pingboard serve` with a million samples, asked for `/rankings.md` by one client, one request
after the other. Ours: meanwhile a pong is committed each second, and another client asks for a
board that has to be ranked from all samples; theirs: the same server with nothing else to do. The
figure is the 99th percentile of three seconds of answers.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.error import URLError

from bench.live import make_sample
from bench.pairs import Pair
from bench.pongs import WEEK, synthesize
from bench.store import write_ours
from pingboard.model import Batch
from pingboard.store.engine import open_engine
from pingboard.store.ingest import Ingest

SECONDS = 3.0
ASKED = b"GET /rankings.md?board=delivery HTTP/1.1\r\nhost: x\r\n\r\n"


def pairs(quick: bool) -> Iterator[Pair]:
    """The figure; `quick` with 100,000 samples."""
    many = 100_000 if quick else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ours.db"
        write_ours(path, synthesize(many))
        with serve(path) as port:
            load = Load(path, port)
            yield Pair(
                f"p99 of answers, a board of {many:,} samples ranked each second / idle",
                lambda: load.beside(lambda: percentile(port)),
                lambda: percentile(port),
                2,
                gives_seconds=True,
            )


@contextmanager
def serve(path: Path) -> Iterator[int]:
    """`pingboard serve` on a free port."""
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port: int = probe.getsockname()[1]
    environment = {"PINGBOARD_DATABASE_URL": f"sqlite:///{path}", "PINGBOARD_PORT": str(port)}
    command = [sys.executable, "-m", "pingboard", "serve"]
    with subprocess.Popen(command, env={**os.environ, **environment}) as server:
        try:
            _wait_for(f"http://127.0.0.1:{port}/rankings.md?board=delivery")
            yield port
        finally:
            server.terminate()


def percentile(port: int) -> float:
    """The 99th percentile of the time that an answer takes, in seconds."""
    times = []
    with socket.create_connection(("127.0.0.1", port)) as client:
        until = time.perf_counter() + SECONDS
        while (started := time.perf_counter()) < until:
            client.sendall(ASKED)
            head, _, body = client.recv(1 << 16).partition(b"\r\n\r\n")
            missing = length_of(head) - len(body)
            while missing > 0:
                missing -= len(client.recv(1 << 16))
            times.append(time.perf_counter() - started)
    return sorted(times)[len(times) * 99 // 100]


class Load:
    """A pong and a board from all samples, each second."""

    def __init__(self, path: Path, port: int) -> None:
        self._ingest = Ingest(open_engine(f"sqlite:///{path}"), "bench")
        # Without an end, and not of a usual length: no such board is kept in order.
        start = WEEK.start.isoformat().replace("+00:00", "Z")
        self._url = f"http://127.0.0.1:{port}/api/v1/rankings?board=delivery&from={start}"
        self._number = 0

    def beside(self, run: Callable[[], float]) -> float:
        """What something gives with this beside it."""
        stop = threading.Event()
        thread = threading.Thread(target=self._go_on, args=(stop,))
        thread.start()
        try:
            return run()
        finally:
            stop.set()
            thread.join()

    def _go_on(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self._number += 1
            self._ingest.record(Batch([], [make_sample(self._number)]))
            with urllib.request.urlopen(self._url) as answer:
                answer.read()
            stop.wait(1)


def length_of(head: bytes) -> int:
    """What an answer's head says of its body."""
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    raise ValueError(head)


def _wait_for(url: str) -> None:
    while True:
        try:
            with urllib.request.urlopen(url) as answer:
                answer.read()
                return
        except URLError:
            time.sleep(0.1)
