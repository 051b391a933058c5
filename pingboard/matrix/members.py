"""Who is in a room, and which servers should therefore answer a ping. User IDs in memory alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pingboard.servername import server_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

EXPECTED_WITHIN_MS = 86_400_000
"""A server that answered none of our pings for a day is gone, not losing (method: "Loss")."""


class Members:
    """The members of one room, and which servers' bots have answered us lately.

    `answered` are servers with the time of their last pong to a ping of ours. Until our homeserver
    has said who is in the room, all of these are taken to be.
    """

    def __init__(self, answered: Mapping[str, int]) -> None:
        self._users: set[str] | None = None
        self._changes: dict[str, bool] = {}
        """who came (True) or went since our homeserver was last asked for all"""
        self._answered = dict(answered)
        self._bots: dict[str, set[str]] = {}

    def begin_asking(self) -> None:
        """Note that our homeserver is asked for all members: changes from here on are newer."""
        self._changes.clear()

    def replace(self, user_ids: Iterable[str]) -> None:
        """Learn all members, as they were at some time since `begin_asking`."""
        self._users = set(user_ids)
        for user_id, is_joined in self._changes.items():
            self._apply(user_id, is_joined=is_joined)

    def change(self, user_id: str, *, is_joined: bool) -> None:
        """Note that somebody came, stayed or went."""
        self._changes[user_id] = is_joined
        self._apply(user_id, is_joined=is_joined)

    def hear(self, bot: str, server: str, seen_ts: int) -> None:
        """Note that a bot has answered a ping of ours."""
        self._answered[server] = max(seen_ts, self._answered.get(server, 0))
        self._bots.setdefault(server, set()).add(bot)

    def expected(self, now_ts: int) -> list[str]:
        """Return the servers from which a ping sent now should be answered."""
        present = {server_of(user_id) for user_id in self._users or ()}
        return [
            server
            for server, last_ts in self._answered.items()
            if now_ts - last_ts <= EXPECTED_WITHIN_MS
            and (self._users is None or server in present)
            # Which of a server's users is the bot is known once it answered this process.
            and (server not in self._bots or any(map(self._is_here, self._bots[server])))
        ]

    def _is_here(self, user_id: str) -> bool:
        if self._users is None:
            return self._changes.get(user_id, True)
        return user_id in self._users

    def _apply(self, user_id: str, *, is_joined: bool) -> None:
        if self._users is None:
            return
        if is_joined:
            self._users.add(user_id)
        else:
            self._users.discard(user_id)
