"""The whole lab: in comes how many homeservers, out comes a ping room with an echo bot on each."""

import asyncio
import tempfile
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import aiohttp

from pingboard.lab.config import SynapseConfig, write_certificate
from pingboard.lab.echobot import EchoBotProcess
from pingboard.lab.homeserver import Homeserver, require_synapse
from pingboard.lab.network import Network, check_delay, check_name, reserved_port
from pingboard.lab.process import ChildProcess, OnProgress
from pingboard.lab.synapse_api import (
    ALIAS_LOCALPART,
    LabAccount,
    create_ping_room,
    joined_members,
)
from pingboard.model import LabError

ECHO_COMMAND = ("pingboard", "echo")
HTTP_TIMEOUT = aiohttp.ClientTimeout(total=30)


def _say_nothing(_line: str) -> None:
    pass


class Lab:
    """Homeservers that federate on the loopback interface, one ping room, an echo bot on each.

    `delays` adds seconds each way to every link of a homeserver, `{"hs2": 0.15}`, once all is
    set up; between two delayed homeservers both count. `echo_command` is a module, or a .py file,
    with arguments.

    Made by `async with`. Whatever ends it (also an error at the start, cancellation, `kill -9`)
    ends every process.
    """

    homeservers: tuple[Homeserver, ...] = ()
    echo_bots: tuple[EchoBotProcess, ...] = ()
    network: Network
    directory: Path
    owner: LabAccount
    """Made the room, so it may do everything there. Sends nothing by itself."""
    room_alias: str
    room_id: str

    def __init__(
        self,
        *,
        servers: int = 3,
        delays: Mapping[str, float] = MappingProxyType({}),
        echo: bool = True,
        on_progress: OnProgress = _say_nothing,
        echo_command: Sequence[str] = ECHO_COMMAND,
    ) -> None:
        if servers < 1:
            raise LabError(f"a lab has at least 1 homeserver, not {servers}")
        self._names = tuple(f"hs{number}" for number in range(1, servers + 1))
        for name, seconds in delays.items():
            check_name(name, self._names)
            check_delay(seconds)
        self._delays = delays
        self._echo = echo
        self._on_progress = on_progress
        self._echo_command = echo_command
        self._lifetime = AsyncExitStack()

    async def __aenter__(self) -> Self:
        require_synapse()
        async with AsyncExitStack() as lifetime:
            await self._start(lifetime)
            self._lifetime = lifetime.pop_all()
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._lifetime.__aexit__(error_type, error, traceback)

    async def register(self, homeserver: Homeserver, localpart: str) -> LabAccount:
        """Make an account on one of the homeservers; a `LabError` where the name is taken."""
        return await homeserver.register(localpart)

    async def _start(self, lifetime: AsyncExitStack) -> None:
        self._on_progress(f"starting {_count(len(self._names), 'homeserver')}")
        temporary = tempfile.TemporaryDirectory(prefix="pingboard-lab-")
        self.directory = Path(lifetime.enter_context(temporary))
        self._http = await lifetime.enter_async_context(aiohttp.ClientSession(timeout=HTTP_TIMEOUT))
        await self._build(lifetime)
        lifetime.push_async_callback(self._end_processes)
        await _together(self._start_process(homeserver) for homeserver in self.homeservers)
        await self._open_room()
        if self._echo:
            await self._start_echo_bots()
        for name, seconds in self._delays.items():
            self.network.delay(name, seconds)

    async def _build(self, lifetime: AsyncExitStack) -> None:
        """Give each homeserver its ports, proxy and configuration."""
        # A server name contains it, so no restart may find it taken. It makes other homeservers
        # connect there without any discovery.
        federation_ports = {name: lifetime.enter_context(reserved_port()) for name in self._names}
        server_names = {name: f"{name}.localhost:{port}" for name, port in federation_ports.items()}
        self.network = await lifetime.enter_async_context(Network(server_names))
        certificate = write_certificate(self.directory)
        self.homeservers = tuple(
            Homeserver(
                name,
                SynapseConfig(
                    server_name=server_names[name],
                    client_port=lifetime.enter_context(reserved_port()),
                    federation_port=federation_ports[name],
                    proxy_url=self.network.proxy_url(name),
                    certificate=certificate,
                ),
                directory=self.directory,
                http=self._http,
                on_progress=self._on_progress,
            )
            for name in self._names
        )

    async def _open_room(self) -> None:
        first = self.homeservers[0]
        self.owner = await first.register("lab")
        self.room_id = await create_ping_room(self._http, self.owner)
        self.room_alias = f"#{ALIAS_LOCALPART}:{first.server_name}"
        self._on_progress(f"ping room {self.room_alias} open")

    async def _start_echo_bots(self) -> None:
        accounts = [await homeserver.register("echo") for homeserver in self.homeservers]
        self.echo_bots = tuple(
            EchoBotProcess(
                f"echo-{name}",
                self._echo_command,
                account,
                self.room_alias,
                self._members,
                directory=self.directory,
                on_progress=self._on_progress,
            )
            for name, account in zip(self._names, accounts, strict=True)
        )
        await _together(self._start_process(bot) for bot in self.echo_bots)

    async def _members(self) -> frozenset[str]:
        return await joined_members(self._http, self.owner, self.room_id)

    async def _start_process(self, process: ChildProcess) -> None:
        await process.start()
        self._on_progress(f"{process.name} ready")

    async def _end_processes(self) -> None:
        # Bots first: one that loses its homeserver would complain in its log.
        await _together(bot.stop() for bot in self.echo_bots)
        await _together(homeserver.stop() for homeserver in self.homeservers)


async def _together(steps: Iterable[Awaitable[None]]) -> None:
    """Await all of them at once; the first error ends the others and is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            for step in steps:
                group.create_task(_as_coroutine(step))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def _as_coroutine(step: Awaitable[None]) -> None:
    await step


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
