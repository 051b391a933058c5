"""What one client may ask for: no endless address, no more than its share of the work.

A client has a number of units, which come back at a steady rate. An answer costs one, and one more
for each `UNIT_S` that the app works for it and each `UNIT_BYTES` that it sends; so it counts what
an answer costs, whichever path gives it. What the cache answers costs nothing. Of one client,
`MAX_AT_ONCE` requests are worked at; the others wait their turn, and pay when it comes, after those
before them. A stream takes a turn for each of its parts, and has none while its client takes them.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pingboard.web import errors

MAX_ADDRESS_BYTES = 16_000
"""Of path and query; more than all parameters at their longest."""

BURST = 60
"""Units that a client has who has not asked for a while."""
MAX_DEBT = 60
"""Units that one answer may cost more than there are."""
UNIT_S = 0.05
UNIT_BYTES = 1 << 20
MAX_AT_ONCE = 4
MAX_STREAMS = 3
"""Long answers that are being sent to one client; each holds what it is made of in memory."""
STREAM_RETRY_S = 30
"""When to ask again for one more; nobody knows how long a client takes."""
MAX_CLIENTS = 10_000
"""Clients in memory; the one that asked longest ago makes room, and has all its units by then."""

_IPV6_PREFIX = 48
"""What a site gets from its provider, and can choose addresses from as it likes."""

LET_GO = "pingboard.let_go"
"""In a request's scope: what to call before it waits for its client's turn, so that those of other
clients who asked the same don't wait with it."""

WORK = "pingboard.work"
"""In a request's scope: its `Work`; left out where the client is not limited."""

FREE = ("/healthz",)
"""Paths that are asked all the time, and cost nothing."""


@dataclass(slots=True)
class Allowance:
    """What a client may still ask for: units, as of a time, requests that run at once, streams."""

    units: float
    at: float
    streams: int = 0
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_AT_ONCE))


class Limits:
    """Refuses with 414 and 429, before anything is computed.

    `per_minute` is the rate of units for each client, 0 for no limit. A client on this machine is
    not limited: it is the operator, or a proxy that does not say whom it stands for.
    """

    def __init__(
        self, app: ASGIApp, *, per_minute: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._per_second = per_minute / 60
        self.clock = clock
        self._allowances: OrderedDict[str, Allowance] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        length = len(scope["raw_path"]) + len(scope["query_string"])
        if length > MAX_ADDRESS_BYTES:
            detail = f"The address has {length} bytes; {MAX_ADDRESS_BYTES} is the most."
            await errors.refuse(errors.problem("address-too-long", detail), scope, receive, send)
            return
        name = name_client(scope["client"]) if self._per_second else None
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if name is None or path in FREE:
            await self._app(scope, receive, send)
            return
        allowance = self._find(name)
        work = Work(self, allowance, scope.get(LET_GO))
        await work.begin_turn()
        if wait_s := self._take(allowance):
            work.end_turn()
            detail = f"Too much was asked for; please try again in {wait_s} s."
            headers = {
                "Retry-After": str(wait_s),
                "RateLimit": f'"units";r=0;t={wait_s}',
                "RateLimit-Policy": f'"units";q={BURST};w={math.ceil(BURST / self._per_second)}',
            }
            problem = errors.problem("too-many-requests", detail, headers=headers)
            await errors.refuse(problem, scope, receive, send)
        else:
            await self._serve(work, scope, receive, send)

    async def _serve(self, work: Work, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_counted(message: Message) -> None:
            # From here on a stream waits for its client: that must keep no other request waiting.
            work.end_turn()
            self.charge(work.allowance, len(message.get("body", b"")) / UNIT_BYTES)
            await send(message)

        scope[WORK] = work
        try:
            await self._app(scope, receive, send_counted)
        finally:
            work.end_turn()
            work.close_stream()

    def _find(self, name: str) -> Allowance:
        allowance = self._allowances.pop(name, None) or Allowance(float(BURST), self.clock())
        self._allowances[name] = allowance
        if len(self._allowances) > MAX_CLIENTS:
            self._allowances.popitem(last=False)
        return allowance

    def _take(self, allowance: Allowance) -> int:
        """Take one unit; return the seconds to wait where there is none."""
        self._refill(allowance)
        if allowance.units < 1:
            return math.ceil((1 - allowance.units) / self._per_second)
        allowance.units -= 1
        return 0

    def charge(self, allowance: Allowance, units: float) -> None:
        """Take the units of work that is done, or of what is sent."""
        self._refill(allowance)
        allowance.units = max(allowance.units - units, -MAX_DEBT)

    def _refill(self, allowance: Allowance) -> None:
        now = self.clock()
        allowance.units = min(allowance.units + (now - allowance.at) * self._per_second, BURST)
        allowance.at = now


class Work:
    """The work for one request of a client, which is done in turns and paid by its time."""

    def __init__(
        self, limits: Limits, allowance: Allowance, let_go: Callable[[], None] | None
    ) -> None:
        self.allowance = allowance
        self.clock = limits.clock
        self._limits = limits
        self._let_go = let_go
        self._began_at: float | None = None
        self._is_stream = False

    async def begin_turn(self) -> None:
        """Wait until fewer than `MAX_AT_ONCE` requests of the client are worked at."""
        if self._let_go is not None and self.allowance.turns.locked():
            self._let_go()
        await self.allowance.turns.acquire()
        self._began_at = self.clock()

    def end_turn(self, worked_s: float | None = None) -> None:
        """Let another request be worked at, unless that was done; None is all of the turn."""
        if self._began_at is not None:
            if worked_s is None:
                worked_s = self.clock() - self._began_at
            self._limits.charge(self.allowance, worked_s / UNIT_S)
            self._began_at = None
            self.allowance.turns.release()

    def open_stream(self) -> None:
        """Raise a problem where the client has `MAX_STREAMS` open; from any thread, repeatedly."""
        with _stream_count:
            if not self._is_stream:
                self.require_stream()
                self.allowance.streams += 1
                self._is_stream = True

    def require_stream(self) -> None:
        """Raise a problem where the client has `MAX_STREAMS` open."""
        if self.allowance.streams >= MAX_STREAMS:
            detail = f"{MAX_STREAMS} long answers are being sent to you; take them first."
            headers = {"Retry-After": str(STREAM_RETRY_S)}
            raise errors.problem("too-many-requests", detail, headers=headers)

    def close_stream(self) -> None:
        """Let another stream be opened, if this one was."""
        with _stream_count:
            self.allowance.streams -= self._is_stream
            self._is_stream = False


_stream_count = threading.Lock()
"""Paths open streams in their threads."""


def name_client(client: tuple[str, int] | None) -> str | None:
    """Return whom a request of this address and port comes from; None for this machine.

    Of an IPv6 address the network of its site; a proxy's word that is no address stands for all
    who hide like this.
    """
    if client is None:
        return None
    try:
        address = ipaddress.ip_address(client[0])
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address.is_loopback:
        return None
    if address.version == 6:
        return str(ipaddress.ip_network((int(address), _IPV6_PREFIX), strict=False))
    return str(address)
