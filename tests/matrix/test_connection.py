"""No ping pays for a connection: each goes over one that was just used."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from urllib.parse import urlsplit

from faults.claims import until
from pingboard.lab import Lab
from pingboard.store.engine import Engine
from tests.matrix.listening import listening
from tests.matrix.room_client import Member

IDLE_S = 2.0
"""After which a connection is closed here; servers do so after 5 to 75 s."""

REQUEST = re.compile(rb"^(?:GET|POST|PUT) (\S+) HTTP/1\.1\r\n", re.MULTILINE)
ANSWER = re.compile(rb"^HTTP/1\.1 \d+ ", re.MULTILINE)


class Forwarder:
    """Leads to a homeserver, closes what is idle, and keeps what each connection asked for."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self.requests: list[list[str]] = []
        self.url = ""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield
        finally:
            server.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked: list[str] = []
        self.requests.append(asked)
        there, sink = await asyncio.open_connection(self._target.hostname, self._target.port)
        answers: list[bytes] = []
        answering = asyncio.create_task(_pipe(there, writer, answers))
        with contextlib.suppress(ConnectionError):
            while True:
                try:
                    async with asyncio.timeout(IDLE_S):
                        data = await reader.read(65_536)
                except TimeoutError:
                    if len(answers) < len(asked):  # not idle, such as a sync that is held open
                        continue
                    break
                if not data:
                    break
                asked += [match.decode() for match in REQUEST.findall(data)]
                sink.write(data)
        sink.close()
        writer.close()
        answering.cancel()


async def _pipe(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, answers: list[bytes]
) -> None:
    while data := await source.read(65_536):
        answers += ANSWER.findall(data)
        sink.write(data)


async def test_no_ping_is_the_first_request_of_a_connection(
    lab: Lab, engine: Engine, owner: Member
) -> None:
    room_id = await owner.create_room()
    account = await lab.register(lab.homeservers[0], "warm")
    forwarder = Forwarder(account.homeserver_url)
    async with forwarder.running():
        behind = dataclasses.replace(account, homeserver_url=forwarder.url)
        # Longer than an idle connection lives, so that each ping would need a new one.
        interval = timedelta(seconds=3 * IDLE_S)
        async with listening(lab, engine, behind, [room_id], interval=interval):

            def sends() -> list[str]:
                return [path for asked in forwarder.requests for path in asked if "/send/" in path]

            await until(lambda: len(sends()) >= 3)
    with_sends = [asked for asked in forwarder.requests if any("/send/" in path for path in asked)]
    assert len(with_sends) >= 3
    assert not [asked for asked in with_sends if "/send/" in asked[0]]
    assert not [asked for asked in with_sends if any("/sync" in path for path in asked)]
