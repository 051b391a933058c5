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

    `answered` are servers with the time of their last pong to a ping of ours.
    """

    def __init__(self, user_ids: Iterable[str], answered: Mapping[str, int]) -> None:
        self._users = set(user_ids)
        self._answered = dict(answered)
        self._bots: dict[str, set[str]] = {}

    def replace(self, user_ids: Iterable[str]) -> None:
        """Learn the members anew, after events were missed."""
        self._users = set(user_ids)

    def change(self, user_id: str, *, is_joined: bool) -> None:
        """Somebody came, stayed or went."""
        if is_joined:
            self._users.add(user_id)
        else:
            self._users.discard(user_id)

    def hear(self, bot: str, server: str, seen_ts: int) -> None:
        """A bot has answered a ping of ours."""
        self._answered[server] = max(seen_ts, self._answered.get(server, 0))
        self._bots.setdefault(server, set()).add(bot)

    def expected(self, now_ts: int) -> list[str]:
        """The servers from which a ping sent now should be answered."""
        present = {server_of(user_id) for user_id in self._users}
        return [
            server
            for server, last_ts in self._answered.items()
            if now_ts - last_ts <= EXPECTED_WITHIN_MS
            and server in present
            # Which of a server's users is the bot is known once it answered this process.
            and (server not in self._bots or self._bots[server] & self._users)
        ]
