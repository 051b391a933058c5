"""Images of one homeserver, for its own web page or README: its place as a badge, and its history.

An image has to show something whatever its name is: of a homeserver that is not on the board, or
that can't exist, it says so, with status 200, because image proxies drop errors.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from pingboard import homeservers
from pingboard.boards import Boards
from pingboard.model import (
    DEFAULT_BOARD,
    DEFAULT_WINDOW,
    BoardName,
    Standing,
    UnknownHomeserverError,
    UnknownRoomError,
)
from pingboard.ranking.history import STEPS
from pingboard.render.markdown import shortest_decimal
from pingboard.web import errors
from pingboard.web.charts import smoke
from pingboard.web.dependencies import GivenBoards, Now
from pingboard.web.middleware import FRESH
from pingboard.web.pages.language import get_language
from pingboard.web.pages.layout import render_text
from pingboard.web.parameters import BadgeQuery, ImageQuery
from pingboard.web.schemas import describe_text

router = APIRouter(tags=["badges"], responses=errors.BAD_PARAMETER_RESPONSE)

LABEL = "matrix ping"

_COLOURS = {400: "2b7d2b", 700: "4c7a1d", 1500: "8a6d00", 5000: "a8510b"}
"""Hexadecimal by the highest median in ms that still has it: all carry white text at 4.5:1."""
_SLOW, _UNKNOWN = "b02a2a", "666666"

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML document may hold, however written (XML 1.0, production 2)."""

_WIDTHS = {"ijl|.,:;'!": 3.7, "ft()[] -/1": 5.0, "mwMW@%": 10.5}
"""Of a character in the badge's font, pixels; others are 7. The text is fitted to the sum, so that
it is right with any font."""


BadgeName = Annotated[
    str,
    Path(description="Matrix server name, URL-encoded; whatever else it is, there is a badge."),
]


def clean_xml(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)


@dataclass(frozen=True, slots=True)
class Badge:
    label: str
    message: str
    colour: str
    """six hexadecimal digits"""

    @classmethod
    def of(cls, standing: Standing | None, label: str | None, window: str) -> Badge:
        """The badge of a standing; None is a homeserver that the board does not have."""
        label = clean_xml(label or LABEL)
        if standing is None:
            return cls(label, f"no pongs · {window}", _UNKNOWN)
        median = standing.median_ms
        colour = next((name for limit, name in _COLOURS.items() if median <= limit), _SLOW)
        return cls(label, f"{_write_standing(standing)} · {window}", colour)


class ShieldsEndpoint(BaseModel):
    """A badge in the schema of https://shields.io/badges/endpoint-badge."""

    schema_version: int = Field(1, serialization_alias="schemaVersion")
    label: str
    message: str = Field(description="Rank, median in milliseconds, window.")
    color: str = Field(description="Hexadecimal.")
    cache_seconds: int = Field(300, serialization_alias="cacheSeconds")


class SvgResponse(Response):
    media_type = "image/svg+xml"


@router.get(
    "/badge/{name:anything}.svg",
    summary="A badge as an image",
    response_class=SvgResponse,
    responses=describe_text(SvgResponse.media_type, "The badge"),
)
def get_badge(
    boards: GivenBoards,
    now: Now,
    name: BadgeName,
    query: Annotated[BadgeQuery, Query()],
) -> Response:
    """Shows rank, median and window; a name that is not on the board gets a badge that says so."""
    badge = _make_badge(boards, now, name, query)
    sides = [_measure(badge.label), _measure(badge.message)]
    context = {"badge": badge, "widths": sides, "total": sum(sides)}
    return SvgResponse(render_text("badge.svg", context))


@router.get(
    "/badge/{name:anything}.json",
    summary="A badge for shields.io",
)
def get_badge_endpoint(
    boards: GivenBoards, now: Now, name: BadgeName, query: Annotated[BadgeQuery, Query()]
) -> ShieldsEndpoint:
    """Pass its address to https://img.shields.io/endpoint?url=... to choose among more styles."""
    badge = _make_badge(boards, now, name, query)
    return ShieldsEndpoint(label=badge.label, message=badge.message, color=badge.colour)


def _make_badge(boards: Boards, now: datetime, name: str, query: BadgeQuery) -> Badge:
    try:
        standings = query.ask(boards, now).standings
    except UnknownRoomError:
        standings = []
    standing = next((row for row in standings if row.homeserver == name), None)
    return Badge.of(standing, query.label, _name_window(query, now))


def _write_standing(standing: Standing) -> str:
    return f"#{standing.rank} · {shortest_decimal(standing.median_ms)} ms"


def _measure(text: str) -> int:
    """The width of one side in pixels, its margins included."""
    widths = (
        next((width for characters, width in _WIDTHS.items() if character in characters), 7.0)
        for character in text
    )
    return round(sum(widths)) + 12


MAX_TITLE_CHARACTERS = 60


@router.get(
    "/homeservers/{name:anything}/history.svg",
    summary="One homeserver over time, as an image",
    response_class=SvgResponse,
    responses=describe_text(SvgResponse.media_type, "The image"),
)
def get_history_image(
    boards: GivenBoards,
    now: Now,
    name: Annotated[
        str,
        Path(
            description="Matrix server name, URL-encoded; whatever else it is, there is an image."
        ),
    ],
    query: Annotated[ImageQuery, Query()],
) -> Response:
    """Median, percentile bands and loss in 720 x 240 pixels, light or dark to suit its viewer."""
    drawing, standing, board = _draw(boards, now, name, query)
    shown = clean_xml(name)
    shown = shown if len(shown) <= MAX_TITLE_CHARACTERS else f"{shown[:MAX_TITLE_CHARACTERS]}…"
    svg = render_text(
        "charts/history.svg",
        {
            "title": f"{shown} · {board}",
            "text": _tell(drawing),
            "standing": standing,
            "smoke": drawing,
            "style": _style(),
            "language": get_language("en"),
        },
    )
    headers = {"Content-Security-Policy": _policy(), "Cache-Control": FRESH}
    return SvgResponse(svg, headers=headers)


def _draw(
    boards: Boards, now: Now, name: str, query: ImageQuery
) -> tuple[smoke.Smoke | None, str, BoardName]:
    """The drawing, rank and median in words, and of which board; None and "" of what is unknown."""
    try:
        board = query.ask(boards, now)
        row = next((row for row in board.standings if row.homeserver == name), None)
        window = board.window
        step = STEPS[smoke.choose_step(window, row.samples if row else 0)]
        buckets = homeservers.read_history(
            boards, board.room_id, window, name, board.name, step, now=now
        )
    except (UnknownRoomError, UnknownHomeserverError):
        return None, "", query.board or DEFAULT_BOARD
    standing = _write_standing(row) if row else ""
    text = f"{standing} · {_name_window(query, now)}".strip(" ·")
    return smoke.draw(board.name, buckets, window, step), text, board.name


def _name_window(query: ImageQuery, now: datetime) -> str:
    if query.from_ or query.to:
        window = query.window_at(now)
        return f"{window.start:%Y-%m-%d} to {window.end:%Y-%m-%d}"
    return query.window or DEFAULT_WINDOW


def _tell(drawing: smoke.Smoke | None) -> str:
    if drawing is None:
        return "no pongs"
    medians = f"Medians from {drawing.lowest_ms:,.0f} to {drawing.highest_ms:,.0f} ms"
    return f"{medians}; {drawing.lost} of {drawing.sent} pings lost."


@cache
def _style() -> str:
    return files("pingboard.web").joinpath("static", "charts.css").read_text("utf-8")


@cache
def _policy() -> str:
    """Nothing but the style inside, also where the image is opened as a page of its own."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; frame-ancestors 'none'"
