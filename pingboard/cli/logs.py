"""Logs: ours and the libraries' warnings in one form, all on stderr and without user IDs."""

from __future__ import annotations

import logging
import sys

import stamina
import structlog
from structlog.typing import EventDict, Processor

from pingboard.cli.output import without_user_ids


def set_up_logs(level: str, form: str = "text") -> None:
    """Write what is logged from this level on; `form` is `text` or `json`.

    Libraries stay above DEBUG whatever the level: there nio logs whole bodies, tokens included.
    """
    steps: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _hide_user_ids,
    ]
    renderer = _choose_renderer(form)
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *steps],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    # What it warns of are answers that it can't use; they become errors of ours, said once.
    logging.getLogger("nio").setLevel(logging.ERROR)
    # A connection that breaks as it is put back: whoever used it is told, and logs it.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    # Who retries logs it once, not at each try.
    stamina.instrumentation.set_on_retry_hooks([])
    structlog.configure(
        processors=[*steps, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _choose_renderer(form: str) -> Processor:
    if form == "json":
        return structlog.processors.JSONRenderer(ensure_ascii=False)
    if sys.stderr.isatty():
        return structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    return structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"])


def _hide_user_ids(_logger: object, _method: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = without_user_ids(value)
    return event
