"""What lasts as long as its `async with`."""

from __future__ import annotations

from contextlib import AsyncExitStack
from types import TracebackType


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
