"""Answers too long to be kept: sent part by part, each made when the client has taken the last."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, NamedTuple, TypeVar
from weakref import WeakSet

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import StreamingResponse

from pingboard.model.cancellation import raise_if_abandoned
from pingboard.web import errors
from pingboard.web.limits import WORK, Work
from pingboard.web.negotiation import choose_encoding, encode_stream

Result = TypeVar("Result")


MAX_LISTS = 10
"""Lists that are in memory at once, because their clients are still taking them."""


class OneThread:
    """Reads long lists, and writes them, in one thread: for all requests, one part at a time.

    What reading takes in memory is then taken once, and the thread pool is free for others.
    """

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._lists: WeakSet[Any] = WeakSet()

    async def run(self, function: Callable[..., Result], *arguments: object) -> Result:
        loop, context = asyncio.get_running_loop(), copy_context()
        return await loop.run_in_executor(self._executor, context.run, function, *arguments)

    async def read(self, read_list: Callable[[], Result]) -> Result:
        """Read a list; raise a problem where too many are still being sent."""
        return await self.run(self._read, read_list)

    def _read(self, read_list: Callable[[], Result]) -> Result:
        raise_if_abandoned()
        if len(self._lists) >= MAX_LISTS:
            raise errors.problem(
                "too-busy", "Too many lists are being sent; please try again later."
            )
        rows = read_list()
        self._lists.add(rows)
        return rows


def open_stream(request: Request) -> None:
    """Raise a problem where too many long answers are being sent to the client."""
    work = request.scope.get(WORK)
    if work is not None:
        work.open_stream()


def require_stream(request: Request) -> None:
    """Raise a problem where no long answer could be sent to the client now."""
    work = request.scope.get(WORK)
    if work is not None:
        work.require_stream()


def stream_text(
    request: Request,
    parts: Iterable[str],
    media_type: str,
    headers: Mapping[str, str],
    thread: OneThread | None = None,
) -> StreamingResponse:
    """Stream a text, compressed as the client prefers; `Vary` in `headers` has to say so.

    Its parts are made in `thread`, or in the pool. Raise a problem as `open_stream` does.
    """
    open_stream(request)
    coding = choose_encoding(request.headers.get("accept-encoding", "").encode()) or b""
    encoded = encode_stream(coding, parts)
    run = run_in_threadpool if thread is None else thread.run
    content = _make_parts(encoded, run, request.scope.get(WORK))
    response = StreamingResponse(content, 200, headers, media_type)
    if coding:
        response.headers["Content-Encoding"] = coding.decode()
    return response


class MadePart(NamedTuple):
    part: bytes | None
    """None at the end"""
    took_s: float
    """without the wait for its thread"""


async def _make_parts(
    parts: Iterator[bytes], run: Callable[..., Awaitable[MadePart]], work: Work | None
) -> AsyncIterator[bytes]:
    """Make each part in a turn of the client, which has none while it takes the part."""
    clock = time.monotonic if work is None else work.clock
    made: MadePart | None = MadePart(b"", 0.0)
    while made is not None and made.part is not None:
        if work is not None:
            await work.begin_turn()
        made = None
        try:
            made = await run(_make_part, parts, clock)
        finally:
            if work is not None:
                work.end_turn(made.took_s if made is not None else None)
        if made.part is not None:
            yield made.part


def _make_part(parts: Iterator[bytes], clock: Callable[[], float]) -> MadePart:
    raise_if_abandoned()
    started = clock()
    part = next(parts, None)
    return MadePart(part, clock() - started)
