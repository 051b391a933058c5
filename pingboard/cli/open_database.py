"""The database of a command: opened for the one writer, or for readers alone."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, TypeVar

from pingboard.cli.output import say
from pingboard.model import ConfigurationError, LeaseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pingboard.boards import Boards
    from pingboard.settings import Settings
    from pingboard.store.engine import Engine

T = TypeVar("T")

RETRY_S = 5.0
"""How often a database that is away is asked for, or a standby asks whether it is its turn."""


@contextlib.contextmanager
def opened(
    url: str, *, read_only: bool = False, max_wait_s: float | None = None
) -> Iterator[Engine]:
    """A database, whatever its tables are; its connections end with the context."""
    from pingboard.store.engine import open_engine

    engine = open_engine(url, read_only=read_only, max_wait_s=max_wait_s)
    try:
        yield engine
    finally:
        engine.dispose()


@contextlib.contextmanager
def writable(settings: Settings) -> Iterator[Engine]:
    """The database for the one writer, its tables brought up to date."""
    from pingboard.store.engine import is_current, migrate

    with opened(settings.database_url) as engine:
        if settings.migrate:
            migrate(engine)
        elif not is_current(engine):
            raise ConfigurationError(
                "the database's tables are not those of this version, and PINGBOARD_MIGRATE is "
                "off; run: pingboard db upgrade"
            )
        yield engine


async def wait_for_database(open_once: Callable[[], T], *, can_stand_by: bool = False) -> T:
    """Return what opens a database; one that is away is asked for again and again.

    So is one that another worker writes to, with `can_stand_by`. A line says so once.
    """
    import asyncio

    from pingboard.cli.heartbeat import HEART
    from pingboard.store.engine import PassingStoreError

    waiting = ""
    while True:
        HEART.beat()  # a start that waits is a start that worked, to a supervisor
        try:
            answer = await asyncio.to_thread(open_once)
        except (LeaseError, PassingStoreError) as error:
            is_standby = isinstance(error, LeaseError)
            if is_standby and not can_stand_by:
                raise
            was_waiting, waiting = waiting, "standing by" if is_standby else "waiting for it"
            if waiting != was_waiting:
                say(f"pingboard: {error}; {waiting}")
            await asyncio.sleep(RETRY_S)
        else:
            if waiting:
                say("pingboard: the database is there now")
            return answer


@contextlib.contextmanager
def opened_boards(settings: Settings) -> Iterator[Boards]:
    """The boards of a database that is there; nothing is written."""
    from pingboard.boards import Boards
    from pingboard.store.engine import is_current

    with opened(settings.database_url, read_only=True) as engine:
        if not is_current(engine):
            raise ConfigurationError(
                "PINGBOARD_DATABASE_URL: there is no database of this version; "
                "`pingboard db upgrade` makes or upgrades it"
            )
        yield Boards(engine, settings.rooms[0] if settings.rooms else None)
