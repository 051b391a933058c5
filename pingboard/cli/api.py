"""Settings -> the API on its port, in this process or in one beside the worker.

`run` has it in a process of its own: under load it would otherwise delay the worker's arrival
stamps, and so move a rank. The child inherits the listener; everything else it reads from the
settings, as any `pingboard serve` does. Its standard input is a pipe that ends with the parent,
however that ends, and it ends too.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pingboard.cli.open_database import opened, wait_for_database, writable
from pingboard.cli.output import say, wording
from pingboard.model import PingboardError

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping

    from pingboard.settings import Settings
    from pingboard.web.server import Server

NICENESS = 5
"""So much below the worker's is the priority of an API beside it."""

STOP_TIMEOUT_S = 7.0
"""How long the API may take to end; it and the worker have 10 s in all."""


def open_listener(settings: Settings, inherited_fd: int | None = None) -> socket.socket:
    """Take the port, before anything slow is started: it may be another program's.

    Or take over that of the worker that this API runs beside, and leave the processor to it first.
    """
    import os
    import socket

    from pingboard.web.server import listen

    if inherited_fd is None:
        return listen(settings.host, settings.port)
    os.nice(NICENESS)
    return socket.socket(fileno=inherited_fd)


@contextlib.contextmanager
def open_server(settings: Settings, listener: socket.socket) -> Iterator[Server]:
    """The API, reading from the database and never writing to it.

    It serves before there is a database too: requests get 503, and /readyz says why.
    """
    from pingboard.web.app import create_app, create_site, stop_streams
    from pingboard.web.pages.layout import Site
    from pingboard.web.server import Server
    from pingboard.web.shared_boards import MAX_WAIT_S, SharedBoards

    with (
        opened(settings.database_url, read_only=True, max_wait_s=MAX_WAIT_S) as engine,
        contextlib.closing(SharedBoards(engine, next(iter(settings.rooms), None))) as boards,
    ):
        app = create_app(
            boards,
            wording=wording(settings),
            configured=settings.rooms,
            per_minute=settings.rate_limit,
            embed_origins=settings.embed_origins,
            site=Site(
                settings.vantage, settings.contact, settings.data_licence, settings.source_url
            ),
        )
        proxies = settings.forwarded_allow_ips
        site = create_site(
            app,
            public_url=settings.public_url.rstrip("/"),
            root_path=settings.root_path,
            trusted_proxies=proxies,
        )
        yield Server(site, listener, before_stop=lambda: stop_streams(app), trusted_proxies=proxies)


async def make_tables(settings: Settings) -> None:
    """Return once the tables are those of this version; a database that is away is waited for."""
    await wait_for_database(lambda: _make_tables(settings))


def _make_tables(settings: Settings) -> None:
    from pingboard.store.engine import is_current

    with opened(settings.database_url, read_only=True) as engine:
        if is_current(engine):
            return
    with writable(settings):
        pass


@contextlib.asynccontextmanager
async def api_process(
    settings: Settings, listener: socket.socket, variables: Mapping[str, str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The API on the listener while the context lasts; `variables` are of its environment."""
    import os

    from pingboard.lab.process import end, spawn

    # The rooms are the lab's where there is one; the rest is what we were told ourselves.
    environment = {**os.environ, "PINGBOARD_ROOMS": " ".join(settings.rooms), **variables}
    environment.pop("NOTIFY_SOCKET", None)  # the life that systemd watches is the worker's
    process = await spawn(
        ("pingboard", "serve", "--listener-fd", str(listener.fileno())),
        pass_fds=[listener.fileno()],
        env=environment,
    )
    listener.close()
    try:
        yield process
    finally:
        await end(process, STOP_TIMEOUT_S)


async def run_beside(work: Coroutine[None, None, None], api: asyncio.subprocess.Process) -> None:
    """Run the worker until it ends, or the API does: neither goes on without the other."""
    import asyncio

    working, serving = asyncio.ensure_future(work), asyncio.ensure_future(api.wait())
    try:
        await asyncio.wait({working, serving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise PingboardError(
                f"the API has ended with exit code {api.returncode}, so the worker is ended too"
            )
        say("pingboard: the worker has ended, so the API is ended too")
        await working
    finally:
        with contextlib.suppress(ProcessLookupError):
            api.terminate()  # now, to end at the same time as the worker
        working.cancel()
        serving.cancel()
        await asyncio.wait({working, serving})
