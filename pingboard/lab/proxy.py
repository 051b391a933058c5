"""The CONNECT proxy of one homeserver: all connections that it opens to others come through here.

In comes `CONNECT hs2.localhost:8481`; out goes a connection to that homeserver's port on the
loopback interface. The name is looked up among the lab's own, so no DNS and no hosts file takes
part, and nothing but the lab can be reached.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pingboard.lab.federation_link import Direction, carry

LOOPBACK = "127.0.0.1"

_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
_REFUSED = b"HTTP/1.1 502 Bad Gateway\r\n\r\n"
_CONNECT_ERRORS = (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)


@dataclass(frozen=True, slots=True)
class Route:
    """Where a CONNECT leads, and how the bytes there and back travel."""

    port: int
    there: Direction
    back: Direction


@dataclass(slots=True)
class _Connection:
    """One that a homeserver opened; its route is known once it has said CONNECT."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    route: Route | None = None


class Proxy:
    """Serves one homeserver; `find_route` tells where a server name leads, None for nowhere."""

    def __init__(self, find_route: Callable[[str], Route | None]) -> None:
        self._find_route = find_route
        self._connections: dict[asyncio.Task[None], _Connection] = {}
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen on a free port of the loopback interface."""
        self._server = await asyncio.start_server(self._accept, LOOPBACK, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and close every connection."""
        if self._server is not None:
            self._server.close()
        await self._end(tuple(self._connections))

    async def disconnect(self, there: Direction) -> None:
        """Close the connections that were opened in this direction."""
        await self._end(
            task
            for task, connection in tuple(self._connections.items())
            if connection.route is not None and connection.route.there is there
        )

    @staticmethod
    async def _end(connections: Iterable[asyncio.Task[None]]) -> None:
        tasks = tuple(connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A plain function: of a coroutine, asyncio before 3.12 would report the cancellation.
        connection = _Connection(reader, writer)
        task = asyncio.create_task(self._serve(connection))
        self._connections[task] = connection
        task.add_done_callback(lambda done: self._connections.pop(done, None))

    async def _serve(self, connection: _Connection) -> None:
        try:
            connection.route = await self._route_of(connection.reader)
            if connection.route is None or connection.route.there.is_cut:
                await _answer(connection.writer, _REFUSED)
                return
            await _tunnel(connection.reader, connection.writer, connection.route)
        except _CONNECT_ERRORS:
            return
        finally:
            connection.writer.transport.abort()

    async def _route_of(self, reader: asyncio.StreamReader) -> Route | None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, _, rest = head.decode("latin-1").partition(" ")
        server_name = rest.partition(" ")[0]
        return self._find_route(server_name) if method == "CONNECT" else None


async def _answer(writer: asyncio.StreamWriter, head: bytes) -> None:
    writer.write(head)
    await writer.drain()


async def _tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, route: Route) -> None:
    try:
        far_reader, far_writer = await asyncio.open_connection(LOOPBACK, route.port)
    except OSError:  # the homeserver is down
        await _answer(writer, _REFUSED)
        return
    try:
        await _answer(writer, _ESTABLISHED)
        async with asyncio.TaskGroup() as both_ways:
            both_ways.create_task(carry(reader, far_writer, route.there))
            both_ways.create_task(carry(far_reader, writer, route.back))
    except* ConnectionError:
        pass  # a reset by either end, passed on by the aborts
    finally:
        far_writer.transport.abort()
