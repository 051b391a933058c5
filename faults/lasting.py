"""What lasts as long as its `async with`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from types import TracebackType
from typing import Any


class Lasting:
    """Ends what its `__aenter__` began and put into `_lifetime`."""

    def __init__(self) -> None:
        self._lifetime = AsyncExitStack()

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._lifetime.__aexit__(error_type, error, traceback)


@asynccontextmanager
async def in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Work that goes on beside what is in the context, and ends with it."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
