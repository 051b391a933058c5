"""Boards that are ranked once for all who ask: for JSON, tables, pages and badges of any length."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING

from pingboard.boards import Boards, Question
from pingboard.model import Board
from pingboard.model.cancellation import AbandonedError

if TYPE_CHECKING:
    from pingboard.store.engine import Engine

MAX_STANDINGS = 40_000
"""In memory: about 20 MB."""


class SharedBoards(Boards):
    """Boards that are kept as long as their answers would be: for a version of the data, a minute.

    `version` is asked by whoever keeps answers (see freshness); before, nothing is shared.
    """

    def __init__(self, engine: Engine, default_room: str | None = None) -> None:
        super().__init__(engine, default_room)
        self._current: int | None = None
        self._kept: OrderedDict[object, Future[Board]] = OrderedDict()
        self._sharing = threading.Lock()

    def version(self) -> int:
        """As `Boards` does; boards of another version are forgotten."""
        version = super().version()
        if version != self._current:
            with self._sharing:
                self._current = version
                self._kept.clear()
        return version

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
