"""What each command begins with: settings, logs, the database."""

from __future__ import annotations

import contextlib
import logging
import re
import sys
from typing import TYPE_CHECKING

import typer

from pingboard.model import ConfigurationError
from pingboard.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from structlog.typing import EventDict

    from pingboard.boards import Boards
    from pingboard.render.section import Wording
    from pingboard.store.engine import Engine

_USER_ID = re.compile(r"@[^\s:@'\"]+:")

# What a command needs is imported inside it: the whole stack takes 0.4 s, `--help` needs none.


def start() -> Settings:
    settings = load_settings()
    set_up_logs(settings.log_level.upper())
    return settings


def set_up_logs(level: str) -> None:
    """Ours through structlog; the libraries' warnings beside them. All on stderr.

    Libraries stay above DEBUG whatever the level: there nio logs whole bodies, tokens included.
    """
    import structlog

    handler = logging.StreamHandler()
    handler.setFormatter(_PrivateFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    # What it warns of are answers that it can't use; they become errors of ours, said once.
    logging.getLogger("nio").setLevel(logging.ERROR)
    terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _hide_user_ids,
            structlog.dev.ConsoleRenderer()
            if terminal
            else structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


class _PrivateFormatter(logging.Formatter):
    """For what libraries log: a homeserver's error can name a user."""

    def format(self, record: logging.LogRecord) -> str:
        return without_user_ids(super().format(record))


def without_user_ids(text: str) -> str:
    """The text with every user ID cut down to its server name: more is nobody's business."""
    return _USER_ID.sub("@…:", text)


def _hide_user_ids(_logger: object, _method: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = without_user_ids(value)
    return event


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
    typer.echo(line, err=True)


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
