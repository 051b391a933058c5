"""An HTTP/1.1 proxy between a client and its homeserver, which can misbehave in every known way.

In come a client's requests; out go the homeserver's answers, except where a fault was injected for
their path. A fault gets `forward`, which asks the homeserver, and returns the answer to give:

    proxy.inject("/sync", answer(502, b"<html>"), times=3)
    proxy.inject("/send/", lost_answer(), times=1)

Requests are counted by the last word of their path that is no identifier ("sync", "send", ...).
"""

import asyncio
import json
import random
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from time import monotonic
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web
from yarl import URL

from pingboard.lab.proxy import LOOPBACK

_ENDPOINT = re.compile(r"/(sync|send|messages|relations|login|whoami|join|event|redact|state)\b")
_HOP_BY_HOP = frozenset({"connection", "content-encoding", "content-length", "transfer-encoding"})


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; of its body only the first `share` is delivered before the connection ends.

    `share` is 1.0 for a whole answer, and the content length always promises the whole.
    """

    status: int
    body: bytes
    headers: Mapping[str, str]
    share: float = 1.0


Forward = Callable[[], Awaitable[Answer]]
Fault = Callable[[Forward], Awaitable[Answer | None]]
"""What becomes of a request: its answer, or None for a connection that is reset."""


def answer(status: int, body: object = b"", **headers: str) -> Fault:
    """Answer without asking the homeserver; a `body` that is no bytes is sent as JSON.

    Underscores in the names of headers stand for hyphens.
    """
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = "text/html" if isinstance(body, bytes) else "application/json"
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def fault(_forward: Forward) -> Answer:
        return Answer(status, content, {"Content-Type": kind, **named})

    return fault


def delayed(seconds: float) -> Fault:
    """The homeserver's answer, so much later."""

    async def fault(forward: Forward) -> Answer:
        await asyncio.sleep(seconds)
        return await forward()

    return fault


def held(release: asyncio.Event) -> Fault:
    """The homeserver is not asked before the event is set."""

    async def fault(forward: Forward) -> Answer:
        await release.wait()
        return await forward()

    return fault


def cut(share: float) -> Fault:
    """The homeserver's answer, ended after this share (0 to 1) of its body."""

    async def fault(forward: Forward) -> Answer:
        return replace(await forward(), share=share)

    return fault


def changed(change: Callable[[bytes], bytes]) -> Fault:
    """The homeserver's answer with another body."""

    async def fault(forward: Forward) -> Answer:
        real = await forward()
        return replace(real, body=change(real.body))

    return fault


def changed_json(change: Callable[[dict[str, Any]], Any]) -> Fault:
    """The homeserver's answer with `change` made to its JSON in place; errors stay as they are."""

    def change_body(body: bytes) -> bytes:
        content = json.loads(body)
        if "errcode" not in content:
            change(content)
        return json.dumps(content).encode()

    return changed(change_body)


def lost_answer() -> Fault:
    """The homeserver gets and does it; its answer never arrives."""

    async def fault(forward: Forward) -> None:
        await forward()

    return fault


def reset(probability: float = 1.0, then: Fault | None = None) -> Fault:
    """The connection is reset with this probability, before the homeserver hears of the request.

    What is not reset goes on, through the fault `then` where there is one.
    """

    async def fault(forward: Forward) -> Answer | None:
        if random.random() < probability:
            return None
        return await (then(forward) if then else forward())

    return fault


def never() -> Fault:
    """No answer at all, for as long as the client waits."""

    async def fault(_forward: Forward) -> None:
        await asyncio.Event().wait()

    return fault


@dataclass(slots=True)
class Injection:
    """A fault in force. `remove` ends it; `hits` counts the requests that it met."""

    path: re.Pattern[str]
    fault: Fault
    times: int | None
    hits: int = 0

    def remove(self) -> None:
        """Let requests pass again."""
        self.times = self.hits

    def applies(self, path: str) -> bool:
        return (self.times is None or self.hits < self.times) and bool(self.path.search(path))


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it came in."""

    at: float
    """by the monotonic clock, seconds"""
    method: str
    path: str
    """with its query; never with headers, so never with a token"""

    @property
    def endpoint(self) -> str:
        """`sync`, `send`, ...; the whole path where it is none of those that matter."""
        match = _ENDPOINT.search(self.path)
        return match[1] if match else self.path


@dataclass(slots=True)
class FaultProxy:
    """Serves on a free port of the loopback interface while it is entered."""

    target: str
    """the homeserver's client URL"""
    seen: list[Seen] = field(default_factory=list)
    url: str = ""
    _injections: list[Injection] = field(default_factory=list)
    _runner: web.AppRunner | None = None
    _http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
        )
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, LOOPBACK, 0)
        await site.start()
        self.url = f"http://{LOOPBACK}:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        if self._http is not None:
            await self._http.close()

    def inject(self, path: str, fault: Fault, times: int | None = None) -> Injection:
        """Let `fault` meet the next `times` requests (None: all) whose path and query match.

        `path` is a regular expression to be found. Of several the one injected last applies.
        """
        injection = Injection(re.compile(path), fault, times)
        self._injections.insert(0, injection)
        return injection

    def clear(self) -> None:
        """Let everything pass again."""
        self._injections.clear()

    def asked(self, endpoint: str, since: float = 0.0) -> list[Seen]:
        """The requests of an endpoint that came after this time of the monotonic clock."""
        return [seen for seen in self.seen if seen.endpoint == endpoint and seen.at >= since]

    def count(self, endpoint: str, since: float = 0.0) -> int:
        """How many they are."""
        return len(self.asked(endpoint, since))

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        path = request.path_qs
        self.seen.append(Seen(monotonic(), request.method, path))
        body = await request.read()

        async def forward() -> Answer:
            return await self._ask(request, body)

        injection = next(
            (injection for injection in self._injections if injection.applies(path)), None
        )
        try:
            if injection is None:
                return await _deliver(request, await forward())
            injection.hits += 1
            return await _deliver(request, await injection.fault(forward))
        except aiohttp.ClientError:  # the homeserver is down, or went away meanwhile
            return await _deliver(request, None)

    async def _ask(self, request: web.Request, body: bytes) -> Answer:
        assert self._http is not None
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() in ("authorization", "content-type")
        }
        # Without a second quoting: room IDs and aliases are quoted already.
        url = URL(f"{self.target}{request.raw_path}", encoded=True)
        async with self._http.request(request.method, url, headers=headers, data=body) as real:
            kept = {
                name: value
                for name, value in real.headers.items()
                if name.lower() not in _HOP_BY_HOP
            }
            return Answer(real.status, await real.read(), kept)


async def _deliver(request: web.Request, given: Answer | None) -> web.StreamResponse:
    transport = request.transport
    if given is None:
        if transport is not None:
            transport.abort()
        return web.Response(status=502)
    response = web.StreamResponse(status=given.status, headers=given.headers)
    response.content_length = len(given.body)
    await response.prepare(request)
    await response.write(given.body[: int(len(given.body) * given.share)])
    if given.share < 1 and transport is not None:
        transport.close()  # what was written is delivered first
        return response
    await response.write_eof()
    return response
