"""Logs: ours through structlog, the libraries' beside them, all on stderr and without user IDs."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import stamina
import structlog

from pingboard.cli.output import without_user_ids

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor


_TEXT = "%(levelname)s %(name)s: %(message)s"
_KEYS = ["timestamp", "level", "event"]


def set_up_logs(level: str, form: str = "text") -> None:
    """Ours through structlog; the libraries' warnings beside them. All on stderr.

    Libraries stay above DEBUG whatever the level: there nio logs whole bodies, tokens included.
    """
    handler = logging.StreamHandler()
    is_json = form == "json"
    handler.setFormatter(_JSONFormatter() if is_json else _PrivateFormatter(_TEXT))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    # What it warns of are answers that it can't use; they become errors of ours, said once.
    logging.getLogger("nio").setLevel(logging.ERROR)
    # A connection that breaks as it is put back: whoever used it is told, and logs it.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    # Who retries logs it once, not at each try.
    stamina.instrumentation.set_on_retry_hooks([])
    renderer: Processor = structlog.processors.LogfmtRenderer(key_order=_KEYS)
    if is_json:
        renderer = structlog.processors.JSONRenderer(ensure_ascii=False)
    elif sys.stderr.isatty():
        renderer = structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _hide_user_ids,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


class _PrivateFormatter(logging.Formatter):
    """For what libraries log: a homeserver's error can name a user."""

    def format(self, record: logging.LogRecord) -> str:
        return without_user_ids(super().format(record))


class _JSONFormatter(logging.Formatter):
    """The same as an object of the keys that our own log has."""

    def format(self, record: logging.LogRecord) -> str:
        created = datetime.fromtimestamp(record.created, UTC)
        event = {
            "timestamp": created.isoformat().replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": without_user_ids(super().format(record)),
            "logger": record.name,
        }
        return json.dumps(event, ensure_ascii=False)


def _hide_user_ids(_logger: object, _method: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = without_user_ids(value)
    return event
