"""Reading a request's head: what all layers behind may rely on, before anything is kept by it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from pingboard.web import errors
from pingboard.web.negotiation import choose_encoding

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
        """Pass the request on, or refuse it."""
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
    the cache must not keep it once more. `routes` are those paths, each with the names it knows.
    """

    def __init__(self, app: ASGIApp, routes: Sequence[tuple[BaseRoute, frozenset[str]]]) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        query = scope["query_string"]
        if not query:
            await self._app(scope, receive, send)
            return
        if query.count(b"&") >= MAX_PARAMETERS:
            # No path takes so many: of a strict one, what is left is refused as well.
            scope["query_string"] = b"&".join(query.split(b"&", MAX_PARAMETERS)[:MAX_PARAMETERS])
        for route, names in self._routes:
            if route.matches(scope)[0] is not Match.NONE:
                scope["query_string"] = _select(scope["query_string"], names)
                break
        await self._app(scope, receive, send)


def _select(query: bytes, names: frozenset[str]) -> bytes:
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    known = [(name, value) for name, value in pairs if name in names]
    return query if len(known) == len(pairs) else urlencode(known).encode()
