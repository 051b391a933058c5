"""The boards as of now: what the web, the command line and the editions all ask.

In: a room, a board's name, a window. Out: a `Board`, exact, from the store's samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from pingboard.blocks import answers_inside, count, losses_inside
from pingboard.memory import Memory, Snapshot
from pingboard.model import (
    PONG_TIMEOUT_MS,
    Board,
    BoardName,
    Room,
    Standing,
    UnknownRoomError,
    Window,
    to_ts,
)
from pingboard.ranking.clocks import Clock, estimate_clocks
from pingboard.ranking.samples import standings
from pingboard.store import figures, queries
from pingboard.store.changes import Watch

if TYPE_CHECKING:
    from pingboard.store.engine import Engine


class Boards:
    """Answers from one database; any thread may ask.

    `default_room` is an alias or an ID, the room where none is named; None takes the room that
    heard a pong last.
    """

    def __init__(self, engine: Engine, default_room: str | None = None) -> None:
        self.engine = engine
        self.default_room = default_room
        self._memory = Memory(engine)
        self._watch = Watch(engine)

    @property
    def version_is_cheap(self) -> bool:
        """Whether `version` takes microseconds, so that it may be asked on an event loop."""
        return self._watch.is_cheap

    def version(self) -> int:
        """The version of the data, for one thread: boards change only if it does, or with time."""
        return self._watch.version()

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
        room_id, alias = self.find_room(room)
        taken = self.snapshot(room_id, window)
        ranked, samples = standings(
            taken.blocks, taken.names, name, window, min_samples=min_samples, limit=limit
        )
        if name is BoardName.RESPONSE:
            ranked = _add_answers(ranked, taken, window, to_ts(now))
        return Board(
            room_id=room_id,
            room_alias=alias,
            name=name,
            window=window,
            generated_at=now,
            samples=samples,
            standings=ranked,
        )


def _add_answers(
    ranked: list[Standing], taken: Snapshot, window: Window, now_ts: int
) -> list[Standing]:
    """The standings with loss and clock of each pong server.

    A pong is lost once `now_ts` is 10 minutes after its ping.
    """
    answers = answers_inside(taken.blocks, window.start_ts, window.end_ts)
    given_up_ts = min(window.end_ts, now_ts - PONG_TIMEOUT_MS)
    losses = losses_inside(taken.blocks, window.start_ts, given_up_ts)
    servers = len(taken.names)
    answered = dict(zip(taken.names, count(answers.pong_server, servers), strict=True))
    lost = dict(zip(taken.names, count(losses.pong_server, servers), strict=True))
    clocks = {
        taken.names[server]: clock
        for server, clock in estimate_clocks(
            answers.pong_server, answers.ms, answers.offset_x2_ms
        ).items()
    }
    return [
        _add_answer(row, answered[name], lost[name], clocks.get(name))
        for row in ranked
        for name in [row.homeserver]
    ]


def _add_answer(row: Standing, answered: int, lost: int, clock: Clock | None) -> Standing:
    sent = answered + lost
    return row._replace(
        sent=sent,
        lost=lost,
        loss=lost / sent if sent else None,
        clock_offset_ms=clock.offset_ms if clock else None,
        clock_uncertainty_ms=clock.uncertainty_ms if clock else None,
    )
