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


class PendingPongs:
    """Pongs by the ping that they name, and which of those pings have become known."""

    def __init__(self) -> None:
        self._pongs: dict[Key, list[Pending]] = {}
        self._count_of: dict[str, int] = {}
        self._resolved: dict[Key, None] = {}

    def add(self, one: Pending) -> bool:
        """Keep a pong until its ping is known; False where its server has too many waiting."""
        server = one.pong.server
        if self._count_of.get(server, 0) >= MAX_PENDING:
            return False
        self._count_of[server] = self._count_of.get(server, 0) + 1
        self._pongs.setdefault((one.pong.room_id, one.pong.ping_event_id), []).append(one)
        return True

    def resolve(self, ping: Key) -> None:
        """Note that it is known now what a ping is, so that its pongs are judged next."""
        if ping in self._pongs:
            self._resolved[ping] = None

    def take_resolved(self) -> list[Pending]:
        """Take the pongs of the pings resolved since the last time."""
        taken = [pong for ping in self._resolved for pong in self._take(ping)]
        self._resolved.clear()
        return taken

    def take_older(self, seen_ts: int, rooms: Iterable[str]) -> list[Pending]:
        """Take the pongs of these rooms that were seen before a time."""
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
        """Forget pongs that were redacted while they were pending."""
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
        """Return the rooms in which pongs are pending."""
        return {room_id for room_id, _ in self._pongs}

    def pings(self, room_id: str) -> list[str]:
        """Return the pings (event IDs) that pending pongs of a room name.

        Those that most servers name come first: a liar is alone with what it invents.
        """
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
