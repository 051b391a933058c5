"""The links of the homeservers, to be slowed and held while the lab runs.

A request from hs1 to hs2 crosses the links of both, and so does its answer: so to add 150 ms to a
round trip, delay one of them by 75 ms.
"""

import socket
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from math import inf
from types import TracebackType
from typing import Self

from pingboard.lab.proxy import LOOPBACK, Link, Proxy, Route
from pingboard.model import LabError


class Network:
    """One proxy and one link for each homeserver.

    `homeservers` gives for each name ("hs1") its server name, which must end with its federation
    port ("hs1.localhost:8481").
    """

    def __init__(self, homeservers: Mapping[str, str]) -> None:
        self._names = {server_name: name for name, server_name in homeservers.items()}
        self._links = {name: Link() for name in homeservers}
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

    def delay(self, name: str, seconds: float) -> None:
        """Let what a homeserver sends and gets from now on arrive later by `seconds`; 0 ends it."""
        check_delay(seconds)
        self._link(name).delay_s = seconds

    def hold(self, name: str) -> None:
        """Keep back what a homeserver sends and gets, as a stalled network does."""
        self._link(name).released.clear()

    def release(self, name: str) -> None:
        """Let go what was held, in order."""
        self._link(name).released.set()

    def _link(self, name: str) -> Link:
        check_name(name, self._links)
        return self._links[name]

    def _router(self, source: str) -> Callable[[str], Route | None]:
        def find_route(server_name: str) -> Route | None:
            destination = self._names.get(server_name)
            if destination is None or destination == source:
                return None
            port = int(server_name.rpartition(":")[2])
            return Route(port, (self._links[source], self._links[destination]))

        return find_route


def check_name(name: str, names: Collection[str]) -> None:
    """Raise a `LabError` that lists the homeservers, unless this is one of them."""
    if name not in names:
        raise LabError(f"no homeserver {name!r} in this lab; there are {', '.join(names)}")


def check_delay(seconds: float) -> None:
    """Raise a `LabError` unless it can be waited for."""
    if not 0 <= seconds < inf:
        raise LabError(f"a delay is a number of seconds, 0 or more, not {seconds}")


@contextmanager
def reserved_port() -> Iterator[int]:
    """Keep a free port of the loopback interface for a server, which may start late, and again.

    The kernel gives a bound port to nobody as a random one, but lets a second socket listen on it
    where both say SO_REUSEADDR, as servers do. Only Linux works so; elsewhere the port is merely
    free now.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((LOOPBACK, 0))
        port = int(holder.getsockname()[1])
        if sys.platform != "linux":
            holder.close()
        yield port
