"""The echo bot of one homeserver: `pingboard echo`, started as a user would start it."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import aiohttp

from pingboard.lab.process import ChildProcess, OnProgress
from pingboard.lab.synapse_api import LabAccount


class EchoBotProcess(ChildProcess):
    """Ready when `members` tells that it has joined the room, which it does by itself."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        account: LabAccount,
        room_alias: str,
        members: Callable[[], Awaitable[frozenset[str]]],
        *,
        directory: Path,
        on_progress: OnProgress,
    ) -> None:
        environment = {
            "PINGBOARD_HOMESERVER": account.homeserver_url,
            "PINGBOARD_USER": account.user_id,
            "PINGBOARD_ACCESS_TOKEN": account.access_token,
            "PINGBOARD_ROOMS": room_alias,
        }
        super().__init__(
            name, command, directory=directory, on_progress=on_progress, environment=environment
        )
        self.account = account
        self._members = members

    async def is_ready(self) -> bool:
        try:
            return self.account.user_id in await self._members()
        except (aiohttp.ClientError, TimeoutError):
            return False
