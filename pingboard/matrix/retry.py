"""Retries with growing and jittered pauses, as long as it takes; logged once, not once a try."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

import stamina
import structlog

from pingboard.model import HomeserverError, RateLimitedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

MAX_BACKOFF_S = 60.0

R = TypeVar("R")

log = structlog.get_logger()


async def retry_until_answered(
    call: Callable[[], Awaitable[R]],
    on: type[HomeserverError] = HomeserverError,
    on_fault: Callable[[HomeserverError], Awaitable[None]] | None = None,
    waiting_for: str = "the homeserver",
) -> R:
    """Return the answer of a call, asked for again after each error of the kind `on`, without end.

    Pauses grow to a minute and are jittered, so that a homeserver that comes back is not met by
    all its clients at once; where it says how long to wait, it is that long. `on_fault` is told
    of each fault that is another than the one before.
    """

    def pause(error: Exception) -> bool | float:
        if isinstance(error, RateLimitedError):
            return error.retry_after_s
        return isinstance(error, on)

    fault = ""
    async for attempt in stamina.retry_context(
        on=pause, attempts=None, timeout=None, wait_initial=1.0, wait_max=MAX_BACKOFF_S
    ):
        with attempt:
            try:
                answer = await call()
            except on as error:
                # Numbers, such as how long to wait, make no other fault of it.
                kind = re.sub(r"\d+", "", str(error))
                if kind != fault:
                    fault = kind
                    log.warning("waiting", waiting_for=waiting_for, error=str(error))
                    if on_fault is not None:
                        await on_fault(error)
                raise
            if fault:
                log.info("no longer waiting", waiting_for=waiting_for)
            return answer
    raise AssertionError("attempts are unlimited")
