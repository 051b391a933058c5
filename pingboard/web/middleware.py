"""What every request to the app goes through, and every answer of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pingboard.model.cancellation import AbandonedError, abandoned_when, raise_if_abandoned
from pingboard.web import errors
from pingboard.web.errors import HEADERS

CACHED = ("/api/", "/rankings.", "/section.", "/badge/", "/feed.atom")
FRESH = "public, max-age=30, stale-while-revalidate=300"
"""Half a minute old is fresh for who only reads; older is good enough while a new one comes."""

IS_HEAD = "pingboard.is_head"
"""Marks the scope of a GET that stands for a HEAD."""


def is_head(scope: Scope) -> bool:
    """Whether a request that a path gets as GET was a HEAD."""
    return bool(scope.get(IS_HEAD))


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
        """Pass the request on and complete the start of its response."""
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


class HeadAsGet:
    """Answers HEAD wherever GET works, which FastAPI's paths do not by themselves."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass HEAD on as GET and drop the body; the headers stay those of GET (RFC 9110).

        A path whose body takes long, or has no end, asks `is_head` and leaves it out itself.
        """
        if scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        scope["method"], scope[IS_HEAD] = "GET", True
        await self._app(scope, receive, send_without_body)


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
        """Pass the request on and listen for its end."""
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
            detail = "The server is stopping, perhaps to start again; please come back."
            headers = {"Connection": "close"}
            problem = errors.problem("stopping", detail, headers=headers)
            await errors.refuse(problem, scope, receive, send)
        finally:
            listener.cancel()
