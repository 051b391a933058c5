"""The rooms of one database: which one is meant, and what it was upgraded from or to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class RoomRow(NamedTuple):
    """A room by its row ID."""

    id: int
    room_id: str
    alias: str | None
    predecessor: int | None
    """its row ID"""


class Rooms:
    """All rooms, as of one moment."""

    def __init__(self, rows: Sequence[RoomRow] = ()) -> None:
        self._rows = rows
        self._names = {one.room_id: (one.room_id, one.alias) for one in rows}
        self._names |= {one.alias: (one.room_id, one.alias) for one in rows if one.alias}
        self._lineages: dict[str, tuple[int, ...]] = {}

    def find(self, name: str | None) -> tuple[str, str | None] | None:
        """ID and alias of a room, None for an unknown one; no name means the only one."""
        if name is None:
            return self._rows[0][1:3] if len(self._rows) == 1 else None
        return self._names.get(name)

    def lineage(self, room_id: str) -> tuple[int, ...]:
        """The rows of a room and of all that it was upgraded from or to; () for an unknown room."""
        found = self._lineages.get(room_id)
        if found is None:
            found = self._lineages[room_id] = self._trace(room_id)
        return found

    def _trace(self, room_id: str) -> tuple[int, ...]:
        found = {row.id for row in self._rows if row.room_id == room_id}
        while True:
            before = len(found)
            for row in self._rows:
                if row.predecessor in found or row.id in found:
                    found |= {one for one in (row.id, row.predecessor) if one is not None}
            if len(found) == before:
                return tuple(sorted(found))
