"""Asking again, with growing and jittered pauses, as long as it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import stamina

from pingboard.model import HomeserverError, RateLimitedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

MAX_BACKOFF_S = 60.0

R = TypeVar("R")


async def patiently(
    call: Callable[[], Awaitable[R]], on: type[HomeserverError] = HomeserverError
) -> R:
    """The answer of a call, asked for again after each error of the kind `on`, without end.

    Pauses grow to a minute and are jittered, so that a homeserver that comes back is not met by
    all its clients at once; where it says how long to wait, it is that long.
    """

    def pause(error: Exception) -> bool | float:
        if isinstance(error, RateLimitedError):
            return error.retry_after_s
        return isinstance(error, on)

    async for attempt in stamina.retry_context(
        on=pause, attempts=None, timeout=None, wait_initial=1.0, wait_max=MAX_BACKOFF_S
    ):
        with attempt:
            return await call()
    raise AssertionError("attempts are unlimited")
