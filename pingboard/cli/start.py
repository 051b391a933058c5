"""What the commands share: settings, the database, what is told, the end by a signal."""

from __future__ import annotations

import contextlib
import re
import sys
from typing import TYPE_CHECKING

import typer

from pingboard.model import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from pingboard.boards import Boards
    from pingboard.render.section import Wording
    from pingboard.settings import Settings
    from pingboard.store.engine import Engine

RETRY_S = 5.0
"""How often a database that is away is asked for, or a standby asks whether it is its turn."""

STOP_TIMEOUT_S = 9.0
"""How long to wait for an end in order after Ctrl-C or SIGTERM."""

_USER_ID = re.compile(r"@[^\s:@'\"]+:")

# What a command needs is imported inside it: the whole stack takes 0.4 s, `--help` needs none.


def configured() -> Settings:
    """The settings, for a command that does one thing and logs nothing."""
    from pingboard.settings import load_settings

    return load_settings()


def start(command: str) -> Settings:
    """The settings, with logs set up, for a command that runs until it is stopped."""
    from pingboard.cli.heartbeat import HEART
    from pingboard.cli.logs import set_up_logs

    settings = configured()
    set_up_logs(settings.log_level.upper(), settings.log_format)
    HEART.start(command, settings.runtime_dir)
    return settings


def run_until_stopped(work: Coroutine[None, None, None]) -> None:
    """Run to the end, or until Ctrl-C or SIGTERM; both end in order, with exit code 0."""
    import asyncio
    import signal

    from pingboard.cli.heartbeat import HEART

    async def stoppable() -> None:
        task = asyncio.ensure_future(work)

        def stop() -> None:
            _end_by_force_later()
            task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    try:
        asyncio.run(stoppable())
    finally:
        HEART.stop()


def _end_by_force_later() -> None:
    """End this process where it has not ended in time: no thread can be ended from outside.

    One that waits for a locked database, or for one that is away, may wait for ever.
    What is not committed by then comes again: the sync token was not committed either.
    """
    import os
    import threading

    def end() -> None:
        say(
            f"pingboard: still at work {STOP_TIMEOUT_S:.0f} s after the stop, perhaps because the "
            "database does not answer; ended all the same, and what is not stored comes again"
        )
        os._exit(0)

    timer = threading.Timer(STOP_TIMEOUT_S, end)
    timer.daemon = True
    timer.start()


def without_user_ids(text: str) -> str:
    """The text with every user ID cut down to its server name: more is nobody's business."""
    return _USER_ID.sub("@…:", text)


@contextlib.contextmanager
def opened(url: str, *, read_only: bool = False) -> Iterator[Engine]:
    """A database, whatever its tables are; its connections end with the context."""
    from pingboard.store.engine import open_engine

    engine = open_engine(url, read_only=read_only)
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


@contextlib.contextmanager
def readable(settings: Settings) -> Iterator[Boards]:
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


def say(line: str) -> None:
    """Tell the user on stderr; as an object where the log is one (PINGBOARD_LOG_FORMAT=json)."""
    if line and structlog_writes_json():
        import structlog

        structlog.get_logger().info(line)
    else:
        typer.echo(line, err=True)


def structlog_writes_json() -> bool:
    """Whether logs were set up, and as JSON; without loading what writes them."""
    structlog = sys.modules.get("structlog")
    if structlog is None or not structlog.is_configured():
        return False
    last = structlog.get_config()["processors"][-1]
    return isinstance(last, structlog.processors.JSONRenderer)


def wording(settings: Settings) -> Wording:
    """The sentences around the tables, as set."""
    from pingboard.render.section import Wording

    given = {"title": settings.title, "intro": settings.intro, "invitation": settings.invitation}
    return Wording(**{name: text for name, text in given.items() if text is not None})
