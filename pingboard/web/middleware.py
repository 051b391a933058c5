"""What every answer has, whichever path gave it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from email.utils import format_datetime

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    # Also where the request names no origin: a shared cache may give the answer to a browser.
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "ETag, Link, Retry-After",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


PREFLIGHT = {
    "Allow": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Methods": "GET, HEAD",
    # The star does not stand for it, and some programs send it everywhere.
    "Access-Control-Allow-Headers": "*, Authorization",
    "Access-Control-Max-Age": "86400",
}


class Preflight:
    """Answers OPTIONS, which browsers ask before they send headers of their own (CORS)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Everything may be read by everybody, so one answer does for all paths."""
        is_asked = scope["type"] == "http" and scope["method"] == "OPTIONS"
        answer = Response(status_code=204, headers=PREFLIGHT) if is_asked else self._app
        await answer(scope, receive, send)


class CommonHeaders:
    """Adds `HEADERS`, except where the path has set its own."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and complete the start of its response."""

        async def send_completed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_completed)


CACHED = ("/api/", "/rankings.", "/section.", "/badge/", "/feed.atom")
FRESH = "public, max-age=30, stale-while-revalidate=300"
"""Half a minute old is fresh for who only reads; older is good enough while a new one comes."""


class CacheHeaders:
    """Says how long an answer is fresh and since when it is so, where the path has not said it."""

    def __init__(self, app: ASGIApp, *, clock: Callable[[], datetime]) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and complete the start of a good answer."""
        path = str(scope.get("path", "")).removeprefix(scope.get("root_path", ""))

        async def send_completed(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                headers = MutableHeaders(scope=message)
                if "cache-control" not in headers:
                    headers["Cache-Control"] = FRESH
                    headers["Last-Modified"] = format_datetime(self._clock(), usegmt=True)
            await send(message)

        await self._app(scope, receive, send_completed if path.startswith(CACHED) else send)


class Prefix:
    """Serves below a path prefix, whether a reverse proxy strips or keeps it."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on as ASGI wants it: the prefix in `root_path`, and in `path` too."""
        if scope["type"] == "http" and self._prefix:
            path = scope["path"]
            if not f"{path}/".startswith(f"{self._prefix}/"):
                path = self._prefix + path
            scope = {**scope, "root_path": self._prefix, "path": path}
        await self._app(scope, receive, send)


IS_HEAD = "pingboard.is_head"
"""Marks the scope of a GET that stands for a HEAD."""


def is_head(scope: Scope) -> bool:
    """Whether a request that a path gets as GET was a HEAD."""
    return bool(scope.get(IS_HEAD))


class HeadAsGet:
    """Answers HEAD wherever GET works, which FastAPI's paths do not by themselves."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass HEAD on as GET and drop the body; the headers stay those of GET (RFC 9110).

        A path whose body takes long, or has no end, asks `is_head` and leaves it out itself.
        """
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def send_without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self.app({**scope, "method": "GET", IS_HEAD: True}, receive, send_without_body)
