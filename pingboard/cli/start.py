"""What each command begins with: settings, the database."""

from __future__ import annotations

import contextlib
import re
import sys
from typing import TYPE_CHECKING

import typer

from pingboard.model import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pingboard.boards import Boards
    from pingboard.render.section import Wording
    from pingboard.settings import Settings
    from pingboard.store.engine import Engine

RETRY_S = 5.0
"""How often a database that is away is asked for, or a standby asks whether it is its turn."""

_USER_ID = re.compile(r"@[^\s:@'\"]+:")

# What a command needs is imported inside it: the whole stack takes 0.4 s, `--help` needs none.


def configured() -> Settings:
    """The settings, for a command that does one thing and logs nothing."""
    from pingboard.settings import load_settings

    return load_settings()


def start(command: str) -> Settings:
    """The settings, with logs set up, for a command that runs until it is stopped."""
    from pingboard.cli.logs import set_up_logs
    from pingboard.cli.supervisor import SIGNS

    settings = configured()
    set_up_logs(settings.log_level.upper(), settings.log_format)
    SIGNS.begin(command, settings.runtime_dir)
    return settings


def without_user_ids(text: str) -> str:
    """The text with every user ID cut down to its server name: more is nobody's business."""
    return _USER_ID.sub("@…:", text)


@contextlib.contextmanager
def writable(settings: Settings) -> Iterator[Engine]:
    """The database for the one writer, its tables brought up to date."""
    from pingboard.store.engine import is_current, migrate, open_engine

    engine = open_engine(settings.database_url)
    if settings.migrate:
        migrate(engine)
    elif not is_current(engine):
        raise ConfigurationError(
            "the database's tables are not those of this version, and PINGBOARD_MIGRATE is off; "
            "run: pingboard db upgrade"
        )
    try:
        yield engine
    finally:
        engine.dispose()


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


@contextlib.contextmanager
def readable(settings: Settings) -> Iterator[Boards]:
    """The boards of a database that is there; nothing is written."""
    from pingboard.boards import Boards
    from pingboard.store.engine import is_current, open_engine

    engine = open_engine(settings.database_url, read_only=True)
    try:
        if not is_current(engine):
            raise ConfigurationError(
                "PINGBOARD_DATABASE_URL: there is no database of this version; "
                "`pingboard db upgrade` makes or upgrades it"
            )
        yield Boards(engine, settings.rooms[0] if settings.rooms else None)
    finally:
        engine.dispose()


def wording(settings: Settings) -> Wording:
    """The sentences around the tables, as set."""
    from pingboard.render.section import Wording

    given = {"title": settings.title, "intro": settings.intro, "invitation": settings.invitation}
    return Wording(**{name: text for name, text in given.items() if text is not None})
