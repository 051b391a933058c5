"""Boards that all requests share, and as of when they are: the data's version and the minute."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime
from typing import Generic, TypeVar

import structlog

from pingboard.boards import Boards, Question
from pingboard.model import Board, StoreError
from pingboard.model.cancellation import AbandonedError
from pingboard.store.engine import Engine

log = structlog.get_logger()

_PAUSE_S = {True: 0.001, False: 0.1}
"""How long a version is believed, by whether asking for it is cheap: many requests share it."""


Result = TypeVar("Result")

MAX_WAIT_S = 5.0
"""How long anybody waits for a database that does not answer."""


class SharedQuestion(Generic[Result]):
    """A question to the database, in a thread: whoever asks meanwhile shares the answer.

    A database that hangs would else take a thread and a connection for each who asks.
    """

    def __init__(self, ask: Callable[[], Result]) -> None:
        self._ask = ask
        self._task: asyncio.Task[Result] | None = None
        self._is_overdue = False

    async def __call__(self) -> Result:
        """Return the answer; TimeoutError after `MAX_WAIT_S`, then at once until it has come."""
        task = self._task
        if task is None or task.done():
            task = self._task = asyncio.create_task(asyncio.to_thread(self._ask))
            # Perhaps nobody waits for it any more when it fails.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._is_overdue = False
        if self._is_overdue:
            raise TimeoutError
        done, _ = await asyncio.wait([task], timeout=MAX_WAIT_S)
        if not done:
            self._is_overdue = True
            raise TimeoutError
        return task.result()


class Freshness:
    """Gives something that differs as soon as the data has changed, or the minute has.

    The minute, because a window that ends now also changes by what leaves it. Every request asks
    it, so it is what logs that the database is away: a line when it begins, another when it ends.
    """

    def __init__(self, boards: Boards, clock: Callable[[], datetime]) -> None:
        self._boards = boards
        self._clock = clock
        self._ask = SharedQuestion(boards.version)
        self._ask_at = 0.0
        self._current: tuple[object, float] | None = None
        self._is_away = False

    def raise_if_away(self) -> None:
        """Raise StoreError where the database did not answer the last time."""
        if self._is_away:
            raise StoreError("the database does not answer")

    async def __call__(self) -> object:
        """What answers are as of now; asked often, it looks once in a while."""
        now = time.monotonic()
        if now >= self._ask_at:
            is_cheap = self._boards.version_is_cheap
            # Before asking: while one request waits for the database, others don't ask too.
            self._ask_at = now + _PAUSE_S[is_cheap]
            version: object
            try:
                version = self._boards.version() if is_cheap else await self._ask()
                self._note(None)
            except (StoreError, TimeoutError) as error:
                # Like nothing before: then no answer is fresh, and the app says what is wrong.
                version = object()
                self._ask_at = 0.0  # it may be back at any time
                self._note(str(error) or f"nothing came within {MAX_WAIT_S:.0f} s")
            self._current = (version, self._clock().timestamp() // 60)
        return self._current

    def _note(self, error: str | None) -> None:
        if error is not None and not self._is_away:
            log.warning("the database does not answer, so requests get 503", error=error)
        elif error is None and self._is_away:
            log.info("the database answers again")
        self._is_away = error is not None


MAX_STANDINGS = 40_000
"""In memory: about 20 MB."""


class SharedBoards(Boards):
    """Boards that are ranked once for JSON, tables, pages and badges of any length.

    They are kept as long as answers are: for a version of the data, a minute. Nothing is shared
    before `version` was asked.
    """

    def __init__(self, engine: Engine, default_room: str | None = None) -> None:
        super().__init__(engine, default_room)
        self._current: int | None = None
        self._kept: OrderedDict[object, Future[Board]] = OrderedDict()
        self._sharing = threading.Lock()

    def version(self) -> int:
        """As `Boards` does; boards of another version are forgotten."""
        version = super().version()
        self.follow(version)
        return version

    def follow(self, version: int) -> None:
        """Forget boards of another version than this."""
        if version != self._current:
            with self._sharing:
                self._current = version
                self._kept.clear()

    def ask(self, question: Question) -> Board:
        """As `Boards` does; a window that ends now may end when it was first asked for."""
        if self._current is None:
            return super().ask(question)
        window: object = question.window
        if question.window.end == question.now:
            window = question.window.end - question.window.start
        minute = question.now.timestamp() // 60
        key = (question.name, window, question.room, question.min_samples, minute)
        board = self._share(key, question._replace(limit=None))
        return replace(board, standings=board.standings[: question.limit])

    def _share(self, key: object, question: Question) -> Board:
        while True:
            with self._sharing:
                kept = self._kept.get(key)
                future = kept or self._kept.setdefault(key, Future())
            if kept is None:
                return self._rank_for_all(key, future, question)
            try:
                return kept.result()
            except AbandonedError:
                continue  # who ranked it for all has left, and its entry with it

    def _rank_for_all(self, key: object, future: Future[Board], question: Question) -> Board:
        try:
            board = super().ask(question)
        except BaseException as error:
            with self._sharing:
                if self._kept.get(key) is future:
                    del self._kept[key]
            future.set_exception(error)
            raise
        future.set_result(board)
        with self._sharing:
            self._trim()
        return board

    def _trim(self) -> None:
        """Forget the oldest, so that what is kept stays within its bound."""
        done = [key for key, board in self._kept.items() if board.done()]
        sizes = [len(self._kept[key].result().standings) + 10 for key in done]
        too_many = sum(sizes) - MAX_STANDINGS
        for key in done:
            if too_many <= 0:
                return
            too_many -= len(self._kept.pop(key).result().standings) + 10
