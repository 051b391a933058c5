"""The links between the homeservers, to be slowed, held and cut while the lab runs.

A link has two directions, named by the homeservers ("hs1", "hs2"), and each can be changed alone.
A request from hs1 to hs2 crosses both: its bytes go hs1 -> hs2, its answer comes hs2 -> hs1. So
to add 150 ms to a round trip, delay one direction by 150 ms or both by 75 ms.
"""

import socket
import sys
from collections.abc import Callable, Collection, Mapping
from contextlib import AsyncExitStack
from math import inf
from types import TracebackType
from typing import Self

from pingboard.lab.proxy import LOOPBACK, Direction, Proxy, Route
from pingboard.model import LabError


class Network:
    """One proxy for each homeserver, and two directions for each pair of them.

    `homeservers` gives for each name ("hs1") its server name, which must end with its federation
    port ("hs1.localhost:8481").
    """

    def __init__(self, homeservers: Mapping[str, str]) -> None:
        self._names = {server_name: name for name, server_name in homeservers.items()}
        self._directions = {
            (source, destination): Direction()
            for source in homeservers
            for destination in homeservers
            if source != destination
        }
        self._proxies = {name: Proxy(self._router(name)) for name in homeservers}

    async def __aenter__(self) -> Self:
        for proxy in self._proxies.values():
            await proxy.start()
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        for proxy in self._proxies.values():
            await proxy.close()

    def proxy_url(self, name: str) -> str:
        """The `https_proxy` of a homeserver."""
        return f"http://{LOOPBACK}:{self._proxies[name].port}"

    def delay(self, source: str, destination: str, seconds: float) -> None:
        """Let what `source` sends from now on reach `destination` later by `seconds`; 0 ends it."""
        check_delay(seconds)
        self._direction(source, destination).delay_s = seconds

    def delay_all(self, name: str, seconds: float) -> None:
        """Add `seconds` each way to every link of a homeserver."""
        check_name(name, self._proxies)
        for pair, direction in self._directions.items():
            if name in pair:
                direction.delay_s += seconds

    def hold(self, source: str, destination: str) -> None:
        """Keep back what `source` sends, as a stalled network does, until `release`."""
        self._direction(source, destination).released.clear()

    def release(self, source: str, destination: str) -> None:
        """Let go what was held, in order."""
        self._direction(source, destination).released.set()

    async def cut(self, source: str, destination: str) -> None:
        """Close the connections that `source` opened to `destination` and refuse new ones.

        A connection carries bytes both ways, so this is about who connects: `destination` still
        reaches `source` through its own connections, until that direction is cut too.
        """
        direction = self._direction(source, destination)
        direction.is_cut = True
        await self._proxies[source].disconnect(direction)

    def mend(self, source: str, destination: str) -> None:
        """Let `source` connect to `destination` again."""
        self._direction(source, destination).is_cut = False

    def _direction(self, source: str, destination: str) -> Direction:
        check_name(source, self._proxies)
        check_name(destination, self._proxies)
        if source == destination:
            raise LabError(f"{source} has no link to itself")
        return self._directions[source, destination]

    def _router(self, source: str) -> Callable[[str], Route | None]:
        def find_route(server_name: str) -> Route | None:
            destination = self._names.get(server_name)
            if destination is None or destination == source:
                return None
            port = int(server_name.rpartition(":")[2])
            there = self._directions[source, destination]
            return Route(port, there, self._directions[destination, source])

        return find_route


def check_name(name: str, names: Collection[str]) -> None:
    """Raise a `LabError` that lists the homeservers, unless this is one of them."""
    if name not in names:
        raise LabError(f"no homeserver {name!r} in this lab; there are {', '.join(names)}")


def check_delay(seconds: float) -> None:
    """Raise a `LabError` unless it can be waited for."""
    if not 0 <= seconds < inf:
        raise LabError(f"a delay is a number of seconds, 0 or more, not {seconds}")


def reserve_port(lab_lifetime: AsyncExitStack) -> int:
    """Choose a free port. A server name contains it, so no restart may find it taken.

    The kernel gives a bound port to nobody as a random one, but lets a second socket listen on it
    where both say SO_REUSEADDR (Synapse does). Only Linux works so; elsewhere the port is merely
    free now.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((LOOPBACK, 0))
    port = int(holder.getsockname()[1])
    if sys.platform == "linux":
        lab_lifetime.callback(holder.close)
    else:
        holder.close()
    return port
