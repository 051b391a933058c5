"""One direction of a link: bytes in from one homeserver, the same bytes out to the other, later.

Order is kept and nothing is dropped: underneath is TLS, where a lost byte would end the
connection and hide the fault that is meant.
"""

import asyncio
from dataclasses import dataclass, field

CHUNK_BYTES = 16_384
"""The size of a TLS record."""

CHUNKS_IN_FLIGHT = 256
"""Bounds the memory of a connection's direction to 4 MiB; beyond, the sender has to wait."""


def _set_event() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass(slots=True)
class Direction:
    """How the bytes from one homeserver to another travel, on all connections between the two."""

    delay_s: float = 0.0
    released: asyncio.Event = field(default_factory=_set_event)
    is_cut: bool = False


async def carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction
) -> None:
    """Carry all bytes of `reader`, and then their end, to `writer`.

    A reset of either raises an `ExceptionGroup` of a `ConnectionError`.
    """
    flight: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(CHUNKS_IN_FLIGHT)
    # Bytes wait in `flight`, not in the transport, so that drained means gone.
    writer.transport.set_write_buffer_limits(high=0)
    async with asyncio.TaskGroup() as ends:
        ends.create_task(_depart(reader, flight, direction))
        ends.create_task(_arrive(flight, writer, direction))


async def _depart(
    reader: asyncio.StreamReader, flight: asyncio.Queue[tuple[float, bytes]], direction: Direction
) -> None:
    clock = asyncio.get_running_loop().time
    while True:
        chunk = await reader.read(CHUNK_BYTES)
        await flight.put((clock() + direction.delay_s, chunk))
        if not chunk:
            return


async def _arrive(
    flight: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, direction: Direction
) -> None:
    clock = asyncio.get_running_loop().time
    while True:
        due, chunk = await flight.get()
        await asyncio.sleep(due - clock())
        await direction.released.wait()
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
