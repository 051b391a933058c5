"""What a command tells its user: lines on stderr without user IDs, and the words around a table."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pingboard.render.section import Wording
    from pingboard.settings import Settings

_USER_ID = re.compile(r"@[^\s:@'\"]+:")


def without_user_ids(text: str) -> str:
    """The text with every user ID cut down to its server name: more is nobody's business."""
    return _USER_ID.sub("@…:", text)


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
