"""The API as an operator runs it beside the worker: `pingboard serve`, told by its environment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import aiohttp
from yarl import URL

from faults.worker import PingboardProcess
from pingboard.lab.network import reserved_port

if TYPE_CHECKING:
    from faults.scene import Scene

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the site, and how long it took."""

    status: int
    headers: Mapping[str, str]
    text: str
    seconds: float


class Site(PingboardProcess):
    """Ready when it says that it serves."""

    def __init__(self, scene: Scene, port: int, name: str = "site", rooms: str = "") -> None:
        wanted = ("DATABASE_URL", "ROOMS", "LOG_LEVEL")
        settings = {name: scene.settings[name] for name in wanted} | {"PORT": str(port)}
        if rooms:
            settings["ROOMS"] = rooms
        super().__init__(name, ("pingboard", "serve"), scene.directory, settings)
        self.http = scene.stage.http
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    async def is_ready(self) -> bool:
        try:
            return (await self.get("/healthz")).status == 200
        except aiohttp.ClientError:
            return False

    async def get(self, address: str, headers: Mapping[str, str] = NO_HEADERS) -> Reply:
        """Ask for a path with its query, as it is written."""
        begin = monotonic()
        url = URL(self.url + address, encoded=True)
        async with self.http.get(url, headers=headers, allow_redirects=False) as answer:
            text = await answer.text()
            return Reply(answer.status, answer.headers, text, monotonic() - begin)

    async def json(self, address: str) -> Any:
        """The JSON that a path answers with, whatever the status."""
        async with self.http.get(URL(self.url + address, encoded=True)) as answer:
            return await answer.json(content_type=None)


@asynccontextmanager
async def open_site(scene: Scene) -> AsyncIterator[Site]:
    """The worker has heard pongs, and a site of its own shows them."""
    await scene.start()
    await scene.has_more(2, scene.within(20))
    with reserved_port() as port:
        site = Site(scene, port)
        await site.start()
        try:
            yield site
        finally:
            await site.stop()
