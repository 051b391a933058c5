"""What every request to the app goes through, and every answer of it.

The layers before the cache make a request what all behind may rely on; those behind it are the
app's own.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Callable, Sequence
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pingboard.model.cancellation import AbandonedError, abandoned_when, raise_if_abandoned
from pingboard.web import errors
from pingboard.web.errors import HEADERS
from pingboard.web.negotiation import choose_encoding

CACHED = ("/api/", "/rankings.", "/section.", "/badge/", "/feed.atom")
FRESH = "public, max-age=30, stale-while-revalidate=300"
"""Half a minute old is fresh for who only reads; older is good enough while a new one comes."""

_IS_HEAD = "pingboard.is_head"


def as_get(scope: Scope) -> Scope:
    """Return a copy of a request's scope in which HEAD is GET, which is all FastAPI's paths answer.

    The server leaves out the body. A path whose body takes long, or has no end, asks `is_head`.
    """
    return {**scope, "method": "GET", _IS_HEAD: True} if scope["method"] == "HEAD" else {**scope}


def is_head(scope: Scope) -> bool:
    """Whether a request that a path gets as GET was a HEAD."""
    return bool(scope.get(_IS_HEAD))


class Preflight:
    """Answers OPTIONS, which browsers ask before they send headers of their own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._cors = CORSMiddleware(
            Response(status_code=204, headers={"Allow": "GET, HEAD, OPTIONS"}),
            allow_origins=["*"],
            allow_methods=["GET", "HEAD"],
            allow_headers=["*"],
            max_age=86400,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """All else has its CORS header from `HEADERS`, whoever asks."""
        app = self._cors if scope["method"] == "OPTIONS" else self._app
        await app(scope, receive, send)


class CommonHeaders:
    """Adds `HEADERS`, except where the path has set its own, and how long an answer is fresh."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        is_cached = scope["method"] in ("GET", "HEAD") and path.startswith(CACHED)

        async def send_completed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if is_cached and message["status"] in (200, 304):
                    headers.setdefault("Cache-Control", FRESH)
            await send(message)

        await self._app(scope, receive, send_completed)


class Abandonment:
    """Tells the work for a request that its client has left, or that the process ends.

    `is_stopping` says the latter: then what has not begun to answer is a 503, and AbandonedError
    goes on to the server where an answer has to be cut off. Work in a thread can't be cancelled: it
    asks between its parts.
    """

    def __init__(self, app: ASGIApp, *, is_stopping: Callable[[], bool]) -> None:
        self._app = app
        self._is_stopping = is_stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_left = has_begun = False

        async def listen() -> None:
            nonlocal has_left
            while (await receive())["type"] != "http.disconnect":
                pass
            has_left = True

        async def send_on(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        listener = asyncio.ensure_future(listen())
        try:
            with abandoned_when(lambda: has_left or self._is_stopping()):
                raise_if_abandoned()
                await self._app(scope, receive, send_on)
        except AbandonedError:
            if has_left:
                return
            if has_begun:
                raise
            detail = "The server is stopping, perhaps to start again; please try again."
            headers = {"Connection": "close"}
            problem = errors.problem("stopping", detail, headers=headers)
            await errors.refuse(problem, scope, receive, send)
        finally:
            listener.cancel()


MAX_PARAMETERS = 100
"""Of a query; those behind are not looked at."""

_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?")


class RequestHead:
    """Makes a request's head what all behind it may rely on. The outermost layer.

    * One `Host`, which could be one; else the answer is a 400. `public_url` takes its place.
    * A content coding that the client accepts, or none; else a 406.
    * Each other header once: repeated ones are joined (RFC 9110, section 5.3).
    * The path prefix in `root_path` and in `path`, whether a reverse proxy strips or keeps it.
    * An IPv4 address of a client in its own form, on a socket of both versions too.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        root_path: str = "",
        public_url: str = "",
    ) -> None:
        self._app = app
        self._root_path = root_path
        public = urlsplit(public_url)
        self._scheme, self._host = public.scheme, public.netloc.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # neither websockets nor a lifespan
        headers = scope["headers"]
        fields = dict(headers)
        hosts = 1 if len(fields) == len(headers) else [name for name, _ in headers].count(b"host")
        host = fields.get(b"host", b"")
        if hosts > 1 or not _HOST.fullmatch(host):
            detail = "A request needs one Host header that names a host."
            await errors.refuse(errors.problem("bad-host", detail), scope, receive, send)
            return
        if len(fields) != len(headers):
            fields = _join(headers)
            scope["headers"] = list(fields.items())
        if self._host:
            fields[b"host"] = self._host
            fields.pop(b"x-forwarded-proto", None)  # of the proxy, which may not be the outermost
            scope["headers"], scope["scheme"] = list(fields.items()), self._scheme
        codings = fields.get(b"accept-encoding")
        if codings and choose_encoding(codings) is None:
            detail = "Accept-Encoding allows none of zstd, br, gzip and identity."
            await errors.refuse(errors.problem("not-acceptable", detail), scope, receive, send)
            return
        client = scope["client"]
        if client is not None and client[0].startswith("::ffff:"):
            scope["client"] = (unmap(client[0]), client[1])
        if self._root_path:
            scope["root_path"] = self._root_path
            if not f"{scope['path']}/".startswith(f"{self._root_path}/"):
                scope["path"] = self._root_path + scope["path"]
            elif scope["path"] == self._root_path:
                scope["path"] += "/"
        await self._app(scope, receive, send)


def _join(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    fields: dict[bytes, bytes] = {}
    for name, value in headers:
        fields[name] = fields[name] + b", " + value if name in fields else value
    return fields


def unmap(address: str) -> str:
    """Return an IPv4 address that is written as IPv6 (`::ffff:192.0.2.1`) in its own form."""
    try:
        mapped = ipaddress.IPv6Address(address).ipv4_mapped
    except ValueError:
        return address
    return str(mapped) if mapped else address


class KnownParameters:
    """Leaves out the query parameters that a path does not know, of the paths that ignore these.

    Links that are shared get `?utm_source=...` and the like; the answer must not depend on it, and
    the cache must not keep it once more. `routes` are those paths, each with the names it knows;
    None for a path that ignores none. The first that matches counts.
    """

    def __init__(
        self, app: ASGIApp, routes: Sequence[tuple[BaseRoute, frozenset[str] | None]]
    ) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = scope["query_string"]
        if not query:
            await self._app(scope, receive, send)
            return
        if query.count(b"&") >= MAX_PARAMETERS:
            # No path takes so many: of a strict one, what is left is refused as well.
            scope["query_string"] = b"&".join(query.split(b"&", MAX_PARAMETERS)[:MAX_PARAMETERS])
        for route, names in self._routes:
            if route.matches(scope)[0] is not Match.NONE:
                if names is not None:
                    scope["query_string"] = _select(scope["query_string"], names)
                break
        await self._app(scope, receive, send)


def _select(query: bytes, names: frozenset[str]) -> bytes:
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    known = [(name, value) for name, value in pairs if name in names]
    return query if len(known) == len(pairs) else urlencode(known).encode()
