"""Pongs whose ping is not known yet. Bounded for each server, whoever invents pings."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pingboard.model import Pending

MAX_PENDING = 1_000
"""Pongs of one server that wait for their ping; a server that invents pings can't take more."""

Key = tuple[str, str]
"""A ping: room ID and event ID."""


class Waiting:
    """Pongs by the ping that they wait for, and which of those pings have become known."""

    def __init__(self) -> None:
        self._pongs: dict[Key, list[Pending]] = {}
        self._count_of: dict[str, int] = {}
        self._found: dict[Key, None] = {}

    def __contains__(self, one: Pending) -> bool:
        return one in self._pongs.get((one.pong.room_id, one.pong.ping_event_id), ())

    def add(self, one: Pending) -> bool:
        """Keep a pong until its ping is known; False where its server has too many waiting."""
        server = one.pong.server
        if self._count_of.get(server, 0) >= MAX_PENDING:
            return False
        self._count_of[server] = self._count_of.get(server, 0) + 1
        self._pongs.setdefault((one.pong.room_id, one.pong.ping_event_id), []).append(one)
        return True

    def find(self, ping: Key) -> None:
        """What an event is has become known: what waits for it is to be decided."""
        if ping in self._pongs:
            self._found[ping] = None

    def take_found(self) -> list[Pending]:
        """What waited for the pings found since the last time; it waits no more."""
        taken = [one for ping in self._found for one in self._take(ping)]
        self._found.clear()
        return taken

    def take_older(self, seen_ts: int, rooms: Iterable[str]) -> list[Pending]:
        """What was seen before a time and waits for pings of these rooms."""
        rooms = set(rooms)
        old = [
            one
            for (room_id, _), waiting in self._pongs.items()
            if room_id in rooms
            for one in waiting
            if one.pong.seen_ts < seen_ts
        ]
        self._drop(old)
        return old

    def redact(self, room_id: str, event_ids: Iterable[str]) -> None:
        """Forget pongs that were taken back while they waited."""
        gone = set(event_ids)
        self._drop(
            [
                one
                for (of_room, _), waiting in self._pongs.items()
                if of_room == room_id
                for one in waiting
                if one.pong.event_id in gone
            ]
        )

    def rooms(self) -> set[str]:
        """The rooms in which pongs wait."""
        return {room_id for room_id, _ in self._pongs}

    def pings(self, room_id: str) -> list[str]:
        """The pings (event IDs) of a room that pongs wait for, those of most servers first."""
        servers = {
            event_id: {one.pong.server for one in waiting}
            for (of_room, event_id), waiting in self._pongs.items()
            if of_room == room_id
        }
        return sorted(servers, key=lambda event_id: -len(servers[event_id]))

    def _take(self, ping: Key) -> list[Pending]:
        waiting = self._pongs.pop(ping, [])
        for one in waiting:
            self._count_of[one.pong.server] -= 1
        return waiting

    def _drop(self, pongs: Iterable[Pending]) -> None:
        gone = set(map(id, pongs))
        for ping in {(one.pong.room_id, one.pong.ping_event_id) for one in pongs}:
            for one in self._take(ping):
                if id(one) not in gone:
                    self.add(one)
