"""What one client may ask for: no endless address, no flood of answers that cost much.

A bucket for each client holds `BURST` requests and is filled again at a steady rate. Only paths
whose answers are computed anew for nearly every address count: the leaderboard and its table never
refuse anybody.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable

from fastapi_problem.error import Problem
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from pingboard.web import errors

LONGEST_ADDRESS = 16_000
"""Bytes of path and query; more than all parameters at their longest."""

COSTLY = (
    "/api/v1/samples",
    "/api/v1/matrix",
    "/api/v1/homeservers/",
    "/api/v1/live",
    "/badge/",
    "/homeservers/",
    "/matrix",
)
BURST = 60
MOST_CLIENTS = 10_000
"""Buckets in memory; the one that was used longest ago makes room, and it is full by then."""


class Limits:
    """Refuses with 414 and 429, before anything is computed.

    `per_minute` is the rate for each client, 0 for none. A client on this machine is not limited:
    it is the operator, or a proxy that does not say whom it stands for.
    """

    def __init__(
        self, app: ASGIApp, *, per_minute: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._per_second = per_minute / 60
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "http" and (problem := self._refuse(scope)) is not None:
            response = errors.respond(Request(scope), problem)
            await response(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refuse(self, scope: Scope) -> Problem | None:
        length = len(scope["raw_path"]) + len(scope["query_string"])
        if length > LONGEST_ADDRESS:
            return errors.AddressTooLongProblem(
                f"The address has {length} bytes; {LONGEST_ADDRESS} is the most."
            )
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if not self._per_second or not path.startswith(COSTLY):
            return None
        wait_s = self._take(_name_client(scope))
        return errors.TooManyRequestsProblem(wait_s) if wait_s else None

    def _take(self, client: str | None) -> int:
        """Take one request from a client's bucket; the seconds to wait where it is empty."""
        if client is None:
            return 0
        now = self._clock()
        left, at = self._buckets.pop(client, (float(BURST), now))
        left = min(left + (now - at) * self._per_second, BURST)
        wait_s = 0 if left >= 1 else math.ceil((1 - left) / self._per_second)
        self._buckets[client] = (left - (not wait_s), now)
        if len(self._buckets) > MOST_CLIENTS:
            self._buckets.popitem(last=False)
        return wait_s


def _name_client(scope: Scope) -> str | None:
    """Whom a request comes from; None for this machine and for what has no address.

    An IPv6 client has a whole /64 to choose its address from, so that stands for it.
    """
    try:
        address = ipaddress.ip_address((scope.get("client") or ("",))[0])
    except ValueError:
        return None
    if address.is_loopback:
        return None
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
