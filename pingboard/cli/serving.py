"""Settings -> the API on its port, reading from the database and never writing to it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pingboard.cli.start import RETRY_S, say, wording, writable

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from pingboard.settings import Settings
    from pingboard.store.engine import Engine
    from pingboard.web.server import Server

# What is needed is imported inside: the whole stack takes 0.4 s, and `--help` needs none of it.


API_NICENESS = 5
"""So much below the worker's is the priority of an API beside it."""


def open_listener(settings: Settings, inherited_fd: int | None = None) -> socket.socket:
    """The port, taken before anything slow is started: it may be another program's.

    Or that of the worker that this API runs beside, to which it leaves the processor first.
    """
    import os
    import socket

    from pingboard.web.server import listen

    if inherited_fd is None:
        return listen(settings.host, settings.port)
    os.nice(API_NICENESS)
    return socket.socket(fileno=inherited_fd)


def listener_url(listener: socket.socket) -> str:
    """Where a browser on this machine finds it; ends in `/`."""
    from pingboard.web.server import url_of

    return url_of(listener)


@contextlib.contextmanager
def open_server(settings: Settings, listener: socket.socket) -> Iterator[Server]:
    """The API, reading from the database and never writing to it."""
    from pingboard.store.engine import open_engine
    from pingboard.web.app import create_app, create_site, stop_streams
    from pingboard.web.pages.site import Site
    from pingboard.web.server import Server
    from pingboard.web.shared_boards import SharedBoards

    engine = open_engine(settings.database_url, read_only=True)
    _wait_for_tables(settings, engine)
    boards = SharedBoards(engine, next(iter(settings.rooms), None))
    app = create_app(
        boards,
        wording=wording(settings),
        configured=settings.rooms,
        per_minute=settings.rate_limit,
        embed_origins=settings.embed_origins,
        site=Site(settings.vantage, settings.contact, settings.data_licence),
    )
    try:
        site = create_site(
            app,
            public_url=settings.public_url.rstrip("/"),
            root_path=settings.root_path,
            trusted_proxies=settings.forwarded_allow_ips,
        )
        yield Server(site, listener, before_stop=lambda: stop_streams(app))
    finally:
        boards.close()
        engine.dispose()


def _wait_for_tables(settings: Settings, engine: Engine) -> None:
    """Return once the tables are those of this version; a database that is away is waited for."""
    import time

    from pingboard.cli.supervisor import SIGNS
    from pingboard.store.engine import PassingStoreError, is_current

    is_told = False
    while True:
        SIGNS.give()
        try:
            if not is_current(engine):
                with writable(settings):
                    pass
        except PassingStoreError as error:
            if not is_told:
                say(f"pingboard: {error}; waiting for it")
            is_told = True
            time.sleep(RETRY_S)
        else:
            return
