"""The boards as of now: what the web, the command line and the editions all ask.

In: a room, a board's name, a window. Out: a `Board`, exact, from the store's samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from pingboard.memory import years
from pingboard.memory.running import Key, Running
from pingboard.memory.samples import Memory, Snapshot
from pingboard.model import (
    Board,
    BoardName,
    Room,
    Standing,
    UnknownRoomError,
    Window,
    to_ts,
)
from pingboard.model.cancellation import raise_if_abandoned
from pingboard.ranking.answers import add_answers
from pingboard.ranking.following import follow
from pingboard.ranking.samples import standings
from pingboard.ranking.sliding import Span
from pingboard.store import figures, queries
from pingboard.store.changes import Watch

if TYPE_CHECKING:
    from pingboard.store.engine import Engine


MOST_AT_ONCE = 100
"""Changes that are followed on an event loop: some 5 us each."""

END_OF_TIME = 1 << 52

_LONGEST = timedelta(days=31)
"""Of the windows whose boards are kept in order: all of it is in memory."""

_SHORTEST = timedelta(hours=1)


class Question(NamedTuple):
    """Which board, and which part of it."""

    name: BoardName
    window: Window
    now: datetime
    room: str | None = None
    min_samples: int = 1
    limit: int | None = None

    @property
    def span(self) -> Span:
        """Where the window is."""
        return Span.of(self.window, to_ts(self.now))

    @property
    def length(self) -> timedelta:
        """Of the window."""
        return self.window.end - self.window.start

    @property
    def may_repeat(self) -> bool:
        """Whether the same may be asked again, a while later, of a window a while later."""
        return self.window.end == self.now and _SHORTEST <= self.length <= _LONGEST

    def key(self, rooms: Sequence[int]) -> Key:
        """What stays the same when it is asked again."""
        return Key(tuple(rooms), self.name, self.length)

    def answer(
        self, names: tuple[str, str | None], rows: Sequence[Standing], samples: int
    ) -> Board:
        """The board of these standings."""
        room_id, room_alias = names
        return Board(room_id, room_alias, self.name, self.window, self.now, samples, rows)


def order_boards(preferred: BoardName) -> list[BoardName]:
    """All boards, one of them first: those to look at where that has no samples."""
    return [preferred, *(name for name in BoardName if name is not preferred)]


class Boards:
    """Answers from one database; any thread may ask.

    `default_room` is an alias or an ID, the room where none is named; None takes the room that
    heard a pong last.
    """

    def __init__(self, engine: Engine, default_room: str | None = None) -> None:
        self.engine = engine
        self.default_room = default_room
        self._running = Running()
        self._memory = Memory(engine, self._running)
        self._watch = Watch(engine)
        self._told = 0
        """the last version that was told"""
        self.version_is_cheap = self._watch.is_cheap
        """whether `version` takes microseconds, so that it may be asked on an event loop"""

    def version(self) -> int:
        """The version of the data, for one thread: boards change only if it does, or with time."""
        self._told = self._follow() or self._watch.version()
        return self._told

    def _follow(self) -> int | None:
        """The version that is in memory now, None where it is not known at once."""
        if not self.version_is_cheap or not self._memory.lock.acquire(blocking=False):
            return None
        try:
            return self._memory.version if self._memory.follow(MOST_AT_ONCE) else None
        finally:
            self._memory.lock.release()

    def close(self) -> None:
        """Let go of what `version` keeps open."""
        self._watch.close()

    def rooms(self) -> list[Room]:
        """Every room that was joined or has samples, the most recently pinged first."""
        return queries.rooms(self.engine)

    def find_room(self, room: str | None = None) -> tuple[str, str | None]:
        """ID and alias of a room; raises UnknownRoomError, also where there is none yet."""
        wanted = room or self.default_room
        known = queries.room_names(self.engine)
        for names in known:
            if wanted is None or wanted in names:
                return names
        if wanted is None:
            raise UnknownRoomError("no room has been joined yet, so there is nothing to rank")
        others = ", ".join(alias or room_id for room_id, alias in known) or "none yet"
        raise UnknownRoomError(f"no room {wanted!r} is known here; known: {others}")

    def section_rooms(self, configured: Sequence[str]) -> list[str]:
        """The rooms of a section that names none: those configured, or all, that are known.

        Raises UnknownRoomError where there is none yet.
        """
        self.find_room()
        known = queries.room_names(self.engine)
        wanted = [room for room in configured if any(room in names for names in known)]
        return wanted or [room_id for room_id, _ in known]

    def snapshot(self, room_id: str, window: Window) -> Snapshot:
        """What a room heard in a window, with all rooms that it was upgraded from or to."""
        raise_if_abandoned()
        lineage = figures.lineage(self.engine, room_id)
        return self._memory.take(lineage, window.start_ts, window.end_ts)

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
        """The board of a room and window; raises UnknownRoomError."""
        return self.ask(Question(name, window, now, room, min_samples, limit))

    def ask(self, question: Question) -> Board:
        """The board that is asked for; raises UnknownRoomError."""
        raise_if_abandoned()
        with self._memory.lock:
            known = self._read(question) if self._memory.follow() else None
        if known is not None:
            return known
        names, rooms = self._locate(question.room)
        return self._keep(question, rooms) or self._rank(question, names, rooms)

    def ask_first(self, question: Question, names: Iterable[BoardName]) -> Board:
        """The first of these boards that has samples; where none has, the first of all.

        It is the same question otherwise. Raises UnknownRoomError.
        """
        empty = None
        for name in names:
            board = self.ask(question._replace(name=name))
            if board.samples:
                return board
            empty = empty or board
        return empty or self.ask(question)

    def ask_again_at_once(self, question: Question, now: datetime) -> Sequence[Standing] | None:
        """The standings for the same question at another time, of a window that ends then.

        None where that does not take microseconds, or would have to wait for somebody. As of the
        last `version`, or later; the same list as before where none of it has changed.
        """
        if not self._memory.lock.acquire(blocking=False):
            return None
        try:
            if self._memory.version < self._told:
                return None
            found = self._find(question, Span.ending(to_ts(now), to_ts(now - question.length)))
            return None if found is None else found[1]
        finally:
            self._memory.lock.release()

    def _read(self, question: Question) -> Board | None:
        """A board that is kept in order; under the lock."""
        found = self._find(question, question.span)
        return None if found is None else question.answer(*found)

    def _find(
        self, question: Question, span: Span
    ) -> tuple[tuple[str, str | None], Sequence[Standing], int] | None:
        """The room's names, the standings and how many samples; under the lock."""
        # Without asking the database: whom it does not know is looked for there.
        names = self._memory.rooms.find(question.room or self.default_room)
        if names is None:
            return None
        key = question.key(self._memory.rooms.lineage(names[0]))
        following = self._running.find(key, span, self._memory)
        if following is None:
            return None
        try:
            rows = following.standings(min_samples=question.min_samples, limit=question.limit)
        except LookupError:
            self._running.drop(key)
            return None
        return names, rows, following.samples

    def _locate(self, room: str | None) -> tuple[tuple[str, str | None], Sequence[int]]:
        """`find_room`, and the rows of all rooms that count as that one."""
        rooms = figures.read_rooms(self.engine)
        names = rooms.find(room or self.default_room) or self.find_room(room)
        return names, rooms.lineage(names[0])

    def _keep(self, question: Question, rooms: Sequence[int]) -> Board | None:
        """Keep a board in order from now on, if it is worth it; then read it."""
        if not question.may_repeat:
            return None
        key = question.key(rooms)
        with self._memory.lock:
            if not self._running.is_wanted(key):
                return None
            taken = self._memory.take(key.rooms, question.span.start_ts, END_OF_TIME)
            entry = self._running.begin(key)
        # Without the lock: it is a sort.
        following = follow(key.board, question.span, taken.blocks, taken.names)
        with self._memory.lock:
            self._running.finish(key, entry, following)
            return self._read(question) if self._memory.follow() else None

    def _rank(
        self, question: Question, names: tuple[str, str | None], rooms: Sequence[int]
    ) -> Board:
        """Any board, from all its samples."""
        window = question.window
        if window.end - window.start > _LONGEST:
            return question.answer(names, *self._rank_long(rooms, question))
        taken = self._memory.take(rooms, window.start_ts, window.end_ts)
        rows, samples = standings(
            taken.blocks,
            taken.names,
            question.name,
            window,
            min_samples=question.min_samples,
            limit=question.limit,
        )
        if question.name is BoardName.RESPONSE:
            rows = add_answers(rows, taken.blocks, taken.names, window, to_ts(question.now))
        return question.answer(names, rows, samples)

    def _rank_long(self, rooms: Sequence[int], question: Question) -> tuple[list[Standing], int]:
        """The standings of a window with whole months in it, which are counted already."""
        return years.read_board(
            self.engine,
            rooms,
            question.name,
            question.window,
            now_ts=to_ts(question.now),
            min_samples=question.min_samples,
            limit=question.limit,
        )
