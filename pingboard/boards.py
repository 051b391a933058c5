"""The boards as of now: what the web, the command line and the editions all ask.

In: a room, a board's name, a window. Out: a `Board`, exact, from the store's samples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from pingboard.model import Board, BoardName, Room, Standing, UnknownRoomError, Window, to_ts
from pingboard.ranking.clocks import Clock, estimate_clocks
from pingboard.ranking.samples import Samples, standings
from pingboard.store import queries

if TYPE_CHECKING:
    from pingboard.store.engine import Engine


@dataclass(frozen=True, slots=True)
class Boards:
    """Answers from one database.

    `default_room` is an alias or an ID, the room where none is named; None takes the room that
    heard a pong last.
    """

    engine: Engine
    default_room: str | None = None

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
        columns = queries.read_columns(self.engine, room_id, window)
        ranked, samples = standings(Samples(*columns), name, min_samples=min_samples, limit=limit)
        if name is BoardName.RESPONSE:
            answers = queries.read_answers(self.engine, room_id, window, to_ts(now))
            ranked = _add_answers(ranked, answers)
        return Board(
            room_id=room_id,
            room_alias=alias,
            name=name,
            window=window,
            generated_at=now,
            samples=samples,
            standings=ranked,
        )


def _add_answers(ranked: list[Standing], answers: queries.Answers) -> list[Standing]:
    """The standings with loss and clock of each pong server."""
    answered = Counter(answers.pong_server.tolist())
    clocks = estimate_clocks(answers.pong_server, answers.round_trip_ms, answers.offset_x2_ms)
    positions = {name: position for position, name in enumerate(answers.names)}
    return [
        _add_answer(
            row,
            answered[positions[row.homeserver]],
            answers.lost.get(row.homeserver, 0),
            clocks.get(positions[row.homeserver]),
        )
        for row in ranked
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
