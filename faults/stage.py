"""What all cases share: two homeservers that federate, an echo bot and a person on each."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from pathlib import Path
from typing import Self
from uuid import uuid4

import aiohttp

from faults.bot import Bot
from faults.lasting import Lasting
from faults.user import User
from pingboard.lab import Homeserver, Lab


class Stage(Lasting):
    """Made by `async with`. Cases may stop, freeze and kill the homeservers: `mend` after each.

    `short` tells the cases to take seconds; `patience` widens their bounds of time on a machine
    that is busy with other things; `asleep` is how long the long form of case 34 sleeps.
    """

    lab: Lab
    http: aiohttp.ClientSession
    owner: User
    """on hs1; makes the rooms, so it may do everything there"""
    here: User
    """a person on hs1, the homeserver of the worker"""
    there: User
    """a person on hs2"""
    bots: tuple[Bot, ...]
    """the echo bots of hs1 and hs2"""
    directory: Path

    def __init__(
        self, *, short: bool, patience: float = 1.0, asleep: timedelta = timedelta(minutes=10)
    ) -> None:
        self.short = short
        self.patience = patience
        self.asleep = asleep
        self.users: list[User] = []
        super().__init__()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as lifetime:
            self.directory = Path(tempfile.mkdtemp(prefix="pingboard-faults-"))
            lifetime.callback(shutil.rmtree, self.directory, ignore_errors=True)
            self.lab = await lifetime.enter_async_context(Lab(servers=2, echo=False))
            self.http = await lifetime.enter_async_context(
                aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(limit=0),
                    timeout=aiohttp.ClientTimeout(total=60 * self.patience),
                )
            )
            for homeserver in self.lab.homeservers:
                homeserver.ready_timeout_s *= self.patience
            self.owner = User(self.http, self.lab.owner)
            self.users.append(self.owner)
            first, second = self.lab.homeservers
            self.here = await self.register(first, "person")
            self.there = await self.register(second, "person")
            self.bots = tuple(
                [Bot(await self.register(homeserver, "echo")) for homeserver in (first, second)]
            )
            for bot in self.bots:
                lifetime.push_async_callback(_end, asyncio.create_task(bot.run()))
            self._lifetime = lifetime.pop_all()
        return self

    async def register(self, homeserver: Homeserver, role: str) -> User:
        """A new account with the role in its name."""
        account = await self.lab.register(homeserver, f"{role}-{uuid4().hex[:8]}")
        user = User(self.http, account)
        self.users.append(user)
        return user

    async def mend(self) -> None:
        """Let the homeservers run again."""
        for homeserver in self.lab.homeservers:
            await homeserver.start()
            await homeserver.resume()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
