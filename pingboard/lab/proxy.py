"""The CONNECT proxy of one homeserver: all connections that it opens to others come through here.

In comes `CONNECT hs2.localhost:8481`; out goes a connection to that homeserver's port on the
loopback interface. The name is looked up among the lab's own, so no DNS and no hosts file takes
part, and nothing but the lab can be reached.

The bytes go on later, by the delays of the links that they cross. Order is kept and nothing is
dropped: underneath is TLS, where a lost byte would end the connection and hide the fault that is
meant.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

LOOPBACK = "127.0.0.1"

CHUNK_BYTES = 16_384
"""The size of a TLS record."""

CHUNKS_IN_FLIGHT = 256
"""Bounds the memory of one way of a connection to 4 MiB; beyond, the sender has to wait."""

_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
_REFUSED = b"HTTP/1.1 502 Bad Gateway\r\n\r\n"
_CONNECT_ERRORS = (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)


def _set_event() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass(slots=True)
class Link:
    """How a homeserver is connected to all others: what it sends and gets crosses this."""

    delay_s: float = 0.0
    """each way"""
    released: asyncio.Event = field(default_factory=_set_event)


@dataclass(frozen=True, slots=True)
class Route:
    """Where a CONNECT leads, and the links that the bytes there and back cross."""

    port: int
    links: Sequence[Link]


class Proxy:
    """Serves one homeserver; `find_route` tells where a server name leads, None for nowhere."""

    def __init__(self, find_route: Callable[[str], Route | None]) -> None:
        self._find_route = find_route
        self._connections: set[asyncio.Task[None]] = set()
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
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A plain function: of a coroutine, asyncio before 3.12 would report the cancellation.
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            route = await self._route_of(reader)
            if route is None:
                await _answer(writer, _REFUSED)
            else:
                await _tunnel(reader, writer, route)
        except _CONNECT_ERRORS:
            return
        finally:
            writer.transport.abort()

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
            both_ways.create_task(carry(reader, far_writer, route.links))
            both_ways.create_task(carry(far_reader, writer, route.links))
    except* ConnectionError:
        pass  # a reset by either end, passed on by the aborts
    finally:
        far_writer.transport.abort()


async def carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, links: Sequence[Link]
) -> None:
    """Carry all bytes of `reader`, and then their end, to `writer`.

    A reset of either raises an `ExceptionGroup` of a `ConnectionError`.
    """
    flight: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(CHUNKS_IN_FLIGHT)
    # Bytes wait in `flight`, not in the transport, so that drained means gone.
    writer.transport.set_write_buffer_limits(high=0)
    async with asyncio.TaskGroup() as ends:
        ends.create_task(_depart(reader, flight, links))
        ends.create_task(_arrive(flight, writer, links))


async def _depart(
    reader: asyncio.StreamReader, flight: asyncio.Queue[tuple[float, bytes]], links: Sequence[Link]
) -> None:
    clock = asyncio.get_running_loop().time
    while True:
        chunk = await reader.read(CHUNK_BYTES)
        await flight.put((clock() + sum(link.delay_s for link in links), chunk))
        if not chunk:
            return


async def _arrive(
    flight: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, links: Sequence[Link]
) -> None:
    clock = asyncio.get_running_loop().time
    while True:
        due, chunk = await flight.get()
        await asyncio.sleep(due - clock())
        for link in links:
            await link.released.wait()
        if not chunk:
            _end(writer)
            return
        writer.write(chunk)
        await writer.drain()


def _end(writer: asyncio.StreamWriter) -> None:
    try:
        writer.write_eof()
    except OSError as error:  # not connected: reset, which asyncio has not read yet
        raise ConnectionResetError(str(error)) from error
