"""Pongs whose ping is not known yet. Bounded for each server, whoever invents pings."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pingboard.model import Pending

MAX_PENDING = 1_000
"""Pending pongs of one server; a server that invents pings can't take more."""

Key = tuple[str, str]
"""A ping: room ID and event ID."""


class PendingPongs:
    """Pongs by the ping that they name, and which of those pings have become known."""

    def __init__(self) -> None:
        self._pongs: dict[Key, dict[str, Pending]] = {}
        """by the pong's event ID: history can bring it again"""
        self._count_of: dict[str, int] = {}
        self._resolved: dict[Key, None] = {}

    def add(self, candidate: Pending) -> bool:
        """Keep a pong until its ping is known; False where its server has too many pending."""
        pong = candidate.pong
        candidates = self._pongs.get((pong.room_id, pong.ping_event_id), {})
        if pong.event_id in candidates:
            return True
        if self._count_of.get(pong.server, 0) >= MAX_PENDING:
            return False
        self._count_of[pong.server] = self._count_of.get(pong.server, 0) + 1
        candidates[pong.event_id] = candidate
        self._pongs[pong.room_id, pong.ping_event_id] = candidates
        return True

    def resolve(self, ping: Key) -> None:
        """Note that it is known now what a ping is, so that its pongs are judged next."""
        if ping in self._pongs:
            self._resolved[ping] = None

    def take_resolved(self) -> list[Pending]:
        """Take the pongs of the pings resolved since the last time."""
        candidates = [candidate for ping in self._resolved for candidate in self._take(ping)]
        self._resolved.clear()
        return candidates

    def take_older(self, seen_ts: int, rooms: Iterable[str]) -> list[Pending]:
        """Take the pongs of these rooms that were seen before a time."""
        old = [
            candidate
            for room_id in set(rooms)
            for candidate in self._of_room(room_id)
            if candidate.pong.seen_ts < seen_ts
        ]
        self._drop(old)
        return old

    def redact(self, room_id: str, event_ids: Iterable[str]) -> None:
        """Forget pongs that were redacted while they were pending."""
        redacted = set(event_ids)
        self._drop(
            [
                candidate
                for candidate in self._of_room(room_id)
                if candidate.pong.event_id in redacted
            ]
        )

    def rooms(self) -> set[str]:
        """Return the rooms in which pongs are pending."""
        return {room_id for room_id, _ in self._pongs}

    def pings(self, room_id: str) -> list[str]:
        """Return the pings (event IDs) that pending pongs of a room name.

        Those that most servers name come first: a liar is alone with what it invents.
        """
        servers: dict[str, set[str]] = {}
        for candidate in self._of_room(room_id):
            servers.setdefault(candidate.pong.ping_event_id, set()).add(candidate.pong.server)
        return sorted(servers, key=lambda event_id: -len(servers[event_id]))

    def _of_room(self, room_id: str) -> list[Pending]:
        return [
            candidate
            for (of_room, _), candidates in self._pongs.items()
            if of_room == room_id
            for candidate in candidates.values()
        ]

    def _take(self, ping: Key) -> list[Pending]:
        candidates = list(self._pongs.pop(ping, {}).values())
        for candidate in candidates:
            self._count_of[candidate.pong.server] -= 1
        return candidates

    def _drop(self, candidates: list[Pending]) -> None:
        dropped = set(map(id, candidates))
        pongs = [candidate.pong for candidate in candidates]
        for ping in {(pong.room_id, pong.ping_event_id) for pong in pongs}:
            for candidate in self._take(ping):
                if id(candidate) not in dropped:
                    self.add(candidate)
