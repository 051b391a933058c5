"""The proxy and the links, between plain TCP servers instead of homeservers."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from pingboard.lab import LabError, Network
from pingboard.lab.proxy import Link, carry

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

REFUSED = b"HTTP/1.1 502 Bad Gateway\r\n\r\n"


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(65_536):
        writer.write(chunk)
        await writer.drain()
    writer.close()


class Servers:
    """hs1 and hs2, which echo bytes, with a network between them."""

    def __init__(self, network: Network, server_names: dict[str, str]) -> None:
        self.network = network
        self.server_names = server_names
        self._writers: list[asyncio.StreamWriter] = []

    async def connect(self, source: str, server_name: str) -> tuple[bytes, Streams]:
        """CONNECT as a homeserver does: the answer's head, and the streams."""
        port = int(self.network.proxy_url(source).rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        self._writers.append(writer)
        writer.write(f"CONNECT {server_name} HTTP/1.1\r\nHost: {server_name}\r\n\r\n".encode())
        return await reader.readuntil(b"\r\n\r\n"), (reader, writer)

    async def tunnel(self, source: str = "hs1", destination: str = "hs2") -> Streams:
        head, streams = await self.connect(source, self.server_names[destination])
        assert head.startswith(b"HTTP/1.1 200 ")
        return streams

    def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


@pytest.fixture
async def servers() -> AsyncIterator[Servers]:
    async with AsyncExitStack() as lifetime:
        server_names = {}
        for name in ("hs1", "hs2"):
            server = await lifetime.enter_async_context(
                await asyncio.start_server(echo, "127.0.0.1", 0)
            )
            server_names[name] = f"{name}.localhost:{server.sockets[0].getsockname()[1]}"
        network = await lifetime.enter_async_context(Network(server_names))
        servers = Servers(network, server_names)
        lifetime.callback(servers.close)
        yield servers


async def seconds(action: Callable[[], Awaitable[object]]) -> float:
    clock = asyncio.get_running_loop().time
    begin = clock()
    await action()
    return clock() - begin


async def round_trip(streams: Streams, message: bytes = b"ping") -> None:
    reader, writer = streams
    writer.write(message)
    assert await reader.readexactly(len(message)) == message


async def is_quiet(reader: asyncio.StreamReader, for_seconds: float = 0.1) -> bool:
    try:
        async with asyncio.timeout(for_seconds):
            await reader.readexactly(1)
    except TimeoutError:
        return True
    return False


async def test_bytes_keep_their_order_and_their_end(servers: Servers) -> None:
    reader, writer = await servers.tunnel()
    servers.network.delay("hs2", 0.05)
    message = b"".join(number.to_bytes(4) for number in range(500_000))

    async def send() -> None:
        writer.write(message)
        await writer.drain()
        servers.network.delay("hs2", 0)  # the last bytes may not overtake the first
        writer.write_eof()

    _, received = await asyncio.gather(send(), reader.read(-1))
    assert received == message


async def test_the_delays_of_both_homeservers_count_each_way(servers: Servers) -> None:
    streams = await servers.tunnel()
    servers.network.delay("hs1", 0.1)
    assert await seconds(lambda: round_trip(streams)) >= 0.2
    servers.network.delay("hs2", 0.1)
    assert await seconds(lambda: round_trip(streams)) >= 0.4


async def test_a_delay_does_not_narrow_the_link(servers: Servers) -> None:
    streams = await servers.tunnel()
    servers.network.delay("hs2", 0.2)
    # 61 chunks each way: one at a time would take 24 s.
    assert await seconds(lambda: round_trip(streams, bytes(1_000_000))) < 12


async def test_memory_is_bounded_while_a_link_is_held(servers: Servers) -> None:
    _, writer = await servers.tunnel()
    servers.network.hold("hs2")
    writer.write(bytes(50_000_000))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await writer.drain()
    assert writer.transport.get_write_buffer_size() > 25_000_000


async def test_a_held_link_keeps_bytes_back_until_released(servers: Servers) -> None:
    reader, writer = await servers.tunnel()
    servers.network.hold("hs2")
    writer.write(b"one ")
    writer.write(b"two")
    assert await is_quiet(reader)
    servers.network.release("hs2")
    assert await reader.readexactly(7) == b"one two"


async def test_an_abort_by_one_end_reaches_the_other(servers: Servers) -> None:
    ended = asyncio.Event()

    async def until_ended(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.read() == b""
        writer.close()
        ended.set()

    async with await asyncio.start_server(until_ended, "127.0.0.1", 0) as server:
        name = f"hs2.localhost:{server.sockets[0].getsockname()[1]}"
        async with Network({"hs1": "hs1.localhost:1", "hs2": name}) as network:
            pair = Servers(network, {"hs1": "hs1.localhost:1", "hs2": name})
            _, writer = await pair.tunnel()
            writer.transport.abort()
            async with asyncio.timeout(60):
                await ended.wait()


async def test_a_reset_that_is_not_read_yet_is_a_reset_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        _, writer = await asyncio.open_connection(*server.getsockname())
        far, _ = server.accept()
        ended = asyncio.StreamReader()
        ended.feed_eof()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        far.close()  # with a reset, because it does not linger
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        with pytest.raises(ExceptionGroup) as raised:
            await carry(ended, writer, [Link()])
        writer.transport.abort()
    assert raised.group_contains(ConnectionError)


@pytest.mark.parametrize("server_name", ["matrix.org:8448", "hs2.localhost:1", "hs2", ""])
async def test_nothing_but_the_lab_can_be_reached(servers: Servers, server_name: str) -> None:
    head, _ = await servers.connect("hs1", server_name)
    assert head == REFUSED


async def test_a_homeserver_that_is_down_refuses() -> None:
    # Port 1 is privileged; nothing listens there.
    names = {"hs1": "hs1.localhost:1", "hs2": "hs2.localhost:1"}
    async with Network(names) as network:
        servers = Servers(network, names)
        head, _ = await servers.connect("hs1", names["hs2"])
        servers.close()
        assert head == REFUSED


async def test_what_is_no_connect_is_refused(servers: Servers) -> None:
    port = int(servers.network.proxy_url("hs1").rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    assert await reader.read() == REFUSED
    writer.close()


@pytest.mark.parametrize("act", [Network.hold, Network.release])
def test_an_unknown_homeserver_is_named(act: Callable[[Network, str], None]) -> None:
    network = Network({"hs1": "hs1.localhost:1", "hs2": "hs2.localhost:2"})
    with pytest.raises(LabError, match="no homeserver 'hs3' in this lab; there are hs1, hs2"):
        act(network, "hs3")
