"""Answering over HTTP

`/api/v1/rankings` of 100 homeservers (30 kB) from the byte cache, as `pingboard serve` answers it,
against a bare ASGI app that sends the same bytes, headers and body, behind the same server. Two
servers, each in a process of its own, are asked over a socket each by one client, 50 requests
at a time; in many short turns, since a virtual machine's speed changes by more than the difference.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bench.live import SCOPE, ask
from bench.pairs import Pair
from bench.pongs import END, synthesize
from bench.store import write_heard
from pingboard.boards import Boards
from pingboard.store.engine import open_engine
from pingboard.web.app import create_app, create_site
from pingboard.web.server import Server, listen

PATH = "/api/v1/rankings"
SAMPLES = 10_000
REQUESTS = 5_000
TURNS = 31
AT_ONCE = 50
REQUEST = f"GET {PATH} HTTP/1.1\r\nhost: x\r\n\r\n".encode()


def pairs() -> Iterator[Pair]:
    """The figure."""
    with serving("cached") as cached, serving("bare") as bare:
        yield Pair(
            f"{REQUESTS:,} cached answers / a bare ASGI app's (0.8 of its rate)",
            lambda: cached.ask(REQUESTS),
            lambda: bare.ask(REQUESTS),
            1 / 0.8,
            ours_count=REQUESTS,
            theirs_count=REQUESTS,
            turns=TURNS,
        )


@contextmanager
def serving(which: str) -> Iterator[Client]:
    """A client of a server process of its own: `cached` or `bare`."""
    command = [sys.executable, "-m", "bench.answers", which]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        yield Client(server.stdout.readline().strip())


class Client:
    """One kept-alive connection."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").rstrip("/").split(":")
        self._socket = socket.create_connection((host, int(port)))

    def ask(self, requests: int) -> None:
        """Send so many requests and read their answers."""
        answers = memoryview(bytearray(self._find_length() * AT_ONCE))
        for _ in range(requests // AT_ONCE):
            self._socket.sendall(REQUEST * AT_ONCE)
            self._fill(answers)

    def _find_length(self) -> int:
        """Return the bytes of an answer; its head says how long its body is."""
        self._socket.sendall(REQUEST)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._socket.recv(1 << 16)
        head, _, body = answer.partition(b"\r\n\r\n")
        [length] = [
            int(line.partition(b":")[2])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length:")
        ]
        self._fill(memoryview(bytearray(length - len(body))))
        return len(head) + 4 + length

    def _fill(self, buffer: memoryview) -> None:
        while buffer:
            size = self._socket.recv_into(buffer, 0, socket.MSG_WAITALL)
            if not size:
                raise ConnectionError("the server closed the connection")
            buffer = buffer[size:]


def _serve(which: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ours.db"
        write_heard(path, synthesize(SAMPLES))
        boards = Boards(open_engine(f"sqlite:///{path}", read_only=True))
        app: ASGIApp = create_site(create_app(boards, clock=_end))
        if which == "bare":
            scope = {**SCOPE, "path": PATH, "query_string": b"", "headers": [(b"host", b"x")]}
            app = _saying(asyncio.run(ask(app, scope)))
        server = Server(app, listen("127.0.0.1", 0))
        server.start()
        print(server.url, flush=True)
        # Whoever asks ends this with the pipe.
        sys.stdin.read()
        server.stop()


def _end() -> datetime:
    return END


def _saying(messages: list[Message]) -> ASGIApp:
    """The bare app: it sends these, whatever it is asked."""
    start, body = messages

    async def bare(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(start)
        await send(body)

    return bare


if __name__ == "__main__":
    _serve(sys.argv[1])
