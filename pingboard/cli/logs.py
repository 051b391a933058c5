"""Logs: ours through structlog, the libraries' beside them, all on stderr and without user IDs."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import stamina
import structlog

from pingboard.cli.start import without_user_ids

if TYPE_CHECKING:
    from structlog.typing import EventDict


def set_up_logs(level: str) -> None:
    """Ours through structlog; the libraries' warnings beside them. All on stderr.

    Libraries stay above DEBUG whatever the level: there nio logs whole bodies, tokens included.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_PrivateFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    # What it warns of are answers that it can't use; they become errors of ours, said once.
    logging.getLogger("nio").setLevel(logging.ERROR)
    # Who retries logs it once, not at each try.
    stamina.instrumentation.set_on_retry_hooks([])
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


def _hide_user_ids(_logger: object, _method: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = without_user_ids(value)
    return event
