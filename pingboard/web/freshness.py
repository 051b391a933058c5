"""As of when an answer is: the version of the data and the minute."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime

import structlog

from pingboard.boards import Boards
from pingboard.model import StoreError

log = structlog.get_logger()

_MIN_PAUSE_S = {True: 0.00005, False: 0.1}
_MAX_PAUSE_S = {True: 0.001, False: 0.1}
"""How long a version is believed, by whether asking for it is cheap: the former after a change,
then twice as long each time that nothing has changed. So many requests at once share the asking,
and while pongs come in each is shown at once."""


class Freshness:
    """Gives something that differs as soon as the data has changed, or the minute has.

    The minute, because a window that ends now also changes by what leaves it. Every request asks
    it, so it is what logs that the database is away: a line when it begins, another when it ends.
    """

    def __init__(self, boards: Boards, clock: Callable[[], datetime]) -> None:
        self._boards = boards
        self._clock = clock
        self._ask_at = 0.0
        self._pause_s = 0.0
        self._current: tuple[object, float] | None = None
        self._is_away = False

    async def __call__(self) -> object:
        """What answers are as of now; asked often, it looks once in a while."""
        now = time.monotonic()
        if now >= self._ask_at:
            is_cheap = self._boards.version_is_cheap
            # Before asking: while one request waits for the database, others don't ask too.
            self._ask_at = now + max(self._pause_s, _MIN_PAUSE_S[is_cheap])
            ask = self._boards.version
            version: object
            try:
                version = ask() if is_cheap else await asyncio.to_thread(ask)
                self._note(None)
            except StoreError as error:
                # Like nothing before: then no answer is fresh, and the app says what is wrong.
                version = object()
                self._note(error)
            current = (version, self._clock().timestamp() // 60)
            is_same = current == self._current
            longer_s = min(2 * self._pause_s, _MAX_PAUSE_S[is_cheap])
            self._pause_s = longer_s if is_same else _MIN_PAUSE_S[is_cheap]
            self._current = current
        return self._current

    def _note(self, error: StoreError | None) -> None:
        if error is not None and not self._is_away:
            log.warning("the database does not answer, so requests get 503", error=str(error))
        elif error is None and self._is_away:
            log.info("the database answers again")
        self._is_away = error is not None
