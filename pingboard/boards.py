"""The boards as of now: what the web, the command line and the editions all ask.

In: a room, a board's name, a window. Out: a `Board`, exact, ranked from the store's samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import NamedTuple

from pingboard.model import Board, BoardName, Room, UnknownRoomError, Window, to_ts
from pingboard.model.cancellation import raise_if_abandoned
from pingboard.ranking.boards import rank_board
from pingboard.sample_cache import SampleCache, Snapshot
from pingboard.store.engine import Engine
from pingboard.store.journal import VersionWatch
from pingboard.store.rooms import list_rooms, read_lineage, read_room_names


class Question(NamedTuple):
    """Which board, and which part of it."""

    name: BoardName
    window: Window
    now: datetime
    room: str | None = None
    min_samples: int = 1
    limit: int | None = None


def order_boards(preferred: BoardName) -> list[BoardName]:
    """Return all boards, one of them first: those to look at where that has no samples."""
    return [preferred, *(name for name in BoardName if name is not preferred)]


class Boards:
    """Answers from one database; any thread may ask.

    `default_room` is an alias or an ID, the room where none is named; None takes the room with
    the latest ping.
    """

    def __init__(self, engine: Engine, default_room: str | None = None) -> None:
        self.engine = engine
        self.default_room = default_room
        self._cache = SampleCache(engine)
        self._watch = VersionWatch(engine)
        self.version_is_cheap = self._watch.is_cheap
        """whether `version` takes microseconds, so that it may be asked on an event loop"""

    def version(self) -> int:
        """Return the version of the data: boards change only if it does, or with time.

        Always from the same thread.
        """
        return self._watch.version()

    def follow(self, version: int) -> None:
        """Take note of a version that was found elsewhere."""

    def close(self) -> None:
        """Let go of what `version` keeps open."""
        self._watch.close()

    def rooms(self) -> list[Room]:
        """Return every room that was joined or has samples, the most recently pinged first."""
        return list_rooms(self.engine)

    def find_room(self, room: str | None = None) -> tuple[str, str | None]:
        """Return ID and alias of a room; raises UnknownRoomError, also where there is none yet."""
        name = room or self.default_room
        known = read_room_names(self.engine)
        for names in known:
            if name is None or name in names:
                return names
        if name is None:
            raise UnknownRoomError("no room has been joined yet, so there is nothing to rank")
        others = ", ".join(alias or room_id for room_id, alias in known) or "none yet"
        raise UnknownRoomError(f"no room {name!r} is known here; known: {others}")

    def section_rooms(self, configured: Sequence[str], named: Sequence[str] = ()) -> list[str]:
        """Return the rooms (IDs) of a section, each once: those named, or the newest configured.

        Raises UnknownRoomError, also where there is none yet.
        """
        if named:
            return list(dict.fromkeys(self.find_room(room)[0] for room in named))
        self.find_room()
        return self.newest_rooms(configured)

    def newest_rooms(self, configured: Sequence[str] = ()) -> list[str]:
        """Return the known rooms, of those configured or of all, without any that was upgraded.

        Of a room and those that it was upgraded from, any has the samples of all. They come in the
        order in which they are configured, or the one with the latest ping first.
        """
        known = read_room_names(self.engine)
        ids = {name: room_id for room_id, alias in known for name in (room_id, alias)}
        configured_ids = [ids[name] for name in configured if name in ids]
        by_lineage: dict[tuple[int, ...], str] = {}
        for room_id in configured_ids or [room_id for room_id, _ in known]:
            by_lineage.setdefault((*read_lineage(self.engine, room_id),), room_id)
        return list(by_lineage.values())

    def snapshot(self, room_id: str, window: Window) -> AbstractContextManager[Snapshot]:
        """Open what a room heard in a window, with all rooms that it was upgraded from or to."""
        lineage = read_lineage(self.engine, room_id)
        return self._cache.open(lineage, window.start_ts, window.end_ts)

    def board(
        self,
        name: BoardName,
        window: Window,
        *,
        now: datetime,
        room: str | None = None,
        min_samples: int = 1,
        limit: int | None = None,
    ) -> Board:
        """Rank a room and window; raises UnknownRoomError."""
        return self.ask(Question(name, window, now, room, min_samples, limit))

    def ask(self, question: Question) -> Board:
        """Rank what is asked for; raises UnknownRoomError."""
        raise_if_abandoned()
        name, window, now = question.name, question.window, question.now
        room_id, alias = self.find_room(question.room)
        with self.snapshot(room_id, window) as snapshot:
            standings, sample_count = rank_board(
                snapshot.blocks,
                snapshot.names,
                name,
                window,
                now_ts=to_ts(now),
                min_samples=question.min_samples,
                limit=question.limit,
            )
        return Board(room_id, alias, name, window, now, sample_count, standings)

    def ask_first(self, question: Question, names: Iterable[BoardName]) -> Board:
        """Return the first of these boards that has samples; where none has, the first of all.

        It is the same question otherwise. Raises UnknownRoomError.
        """
        empty = None
        for name in names:
            board = self.ask(question._replace(name=name))
            if board.samples:
                return board
            empty = empty or board
        return empty or self.ask(question)
