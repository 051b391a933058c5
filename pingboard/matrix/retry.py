"""Retries with growing and jittered pauses, as long as it takes; logged once, not once a try."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TypeVar

import stamina
import structlog

from pingboard.model import HomeserverError, RateLimitedError
from pingboard.store.engine import PassingStoreError

MAX_BACKOFF_S = 60.0

# How a homeserver, its proxy or the network say that they are away: often one after the other.
_AWAY = re.compile(
    r"can't be reached|does not answer|closed the connection|answered 5\d\d, without"
)

R = TypeVar("R")

log = structlog.get_logger()


class Outage:
    """Logs a fault once when it begins, once for each other kind, and once when it is over."""

    def __init__(self, event: str, over: str, **context: str) -> None:
        self._event = event
        self._over = over
        self._context = context
        self._kind = ""

    def note(self, error: Exception) -> bool:
        """Log a fault; return whether it is of another kind than the one before."""
        kind = _kind_of(error)
        is_new, self._kind = kind != self._kind, kind
        write = log.warning if is_new else log.debug
        write(self._event, **self._context, error=str(error))
        return is_new

    def end(self) -> None:
        """Log that it is over, if there was one."""
        if self._kind:
            log.info(self._over, **self._context)
        self._kind = ""


def _kind_of(error: Exception) -> str:
    if isinstance(error, PassingStoreError) or _AWAY.search(str(error)):
        return "away"
    # Numbers, such as how long to wait, make no other fault of it.
    return re.sub(r"\d+", "", str(error)) or "unknown"


def log_waiting(waiting_for: str) -> Outage:
    """Return what logs that something is waited for."""
    return Outage("waiting", "no longer waiting", waiting_for=waiting_for)


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

    outage = log_waiting(waiting_for)
    async for attempt in stamina.retry_context(
        on=pause, attempts=None, timeout=None, wait_initial=1.0, wait_max=MAX_BACKOFF_S
    ):
        with attempt:
            try:
                answer = await call()
            except on as error:
                if outage.note(error) and on_fault is not None:
                    await on_fault(error)
                raise
            outage.end()
            return answer
    raise AssertionError("attempts are unlimited")
