"""/badge/{name}.svg and .json: one homeserver's place, for its own web page or README.

An image has to show something whatever its name is: of a homeserver that is not on the board, or
that can't exist, the badge says so, with status 200, because image proxies drop errors.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict
from starlette.responses import Response

from pingboard.model import Standing, UnknownRoomError
from pingboard.render.markdown import shortest_decimal
from pingboard.web import errors
from pingboard.web.dependencies import GivenBoards, Now
from pingboard.web.pages.layout import render_text
from pingboard.web.parameters import BadgeQuery

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
    """The text as any XML document may hold it."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)


@dataclass(frozen=True, slots=True)
class Badge:
    """What a badge says."""

    label: str
    message: str
    colour: str
    """six hexadecimal digits"""

    @classmethod
    def of(cls, standing: Standing | None, label: str | None) -> Badge:
        """The badge of a standing; None is a homeserver that the board does not have."""
        label = clean_xml(label or LABEL)
        if standing is None:
            return cls(label, "no pongs", _UNKNOWN)
        median = standing.median_ms
        colour = next((one for most, one in _COLOURS.items() if median <= most), _SLOW)
        return cls(label, f"#{standing.rank} · {shortest_decimal(median)} ms", colour)


EXAMPLE: JsonDict = {
    "schemaVersion": 1,
    "label": "matrix ping",
    "message": "#2 · 512 ms",
    "color": "4c7a1d",
    "cacheSeconds": 300,
}


class ShieldsEndpoint(BaseModel):
    """A badge in the schema of https://shields.io/badges/endpoint-badge."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    schema_version: int = Field(1, serialization_alias="schemaVersion")
    label: str
    message: str = Field(description="Rank and median, milliseconds.")
    color: str = Field(description="Hexadecimal.")
    cache_seconds: int = Field(300, serialization_alias="cacheSeconds")


class SvgResponse(Response):
    """An image."""

    media_type = "image/svg+xml"


@router.get(
    "/badge/{name:anything}.svg",
    operation_id="get_badge",
    summary="A badge",
    response_class=SvgResponse,
    responses={
        200: {
            "description": "The badge",
            "content": {SvgResponse.media_type: {"schema": {"type": "string"}}},
        }
    },
)
def get_badge(
    boards: GivenBoards,
    now: Now,
    name: BadgeName,
    query: Annotated[BadgeQuery, Query()],
) -> Response:
    """Rank and median in milliseconds as an image; also for a name that is not on the board."""
    badge = Badge.of(_find(boards, now, name, query), query.label)
    sides = [_measure(badge.label), _measure(badge.message)]
    context = {"badge": badge, "widths": sides, "total": sum(sides)}
    return SvgResponse(render_text("badge.svg", context))


@router.get(
    "/badge/{name:anything}.json",
    operation_id="get_badge_endpoint",
    summary="A badge for shields.io",
)
def get_badge_endpoint(
    boards: GivenBoards, now: Now, name: BadgeName, query: Annotated[BadgeQuery, Query()]
) -> ShieldsEndpoint:
    """What https://img.shields.io/endpoint?url=... draws a badge of, in any of its styles."""
    badge = Badge.of(_find(boards, now, name, query), query.label)
    return ShieldsEndpoint(label=badge.label, message=badge.message, color=badge.colour)


def _find(boards: GivenBoards, now: Now, name: str, query: BadgeQuery) -> Standing | None:
    try:
        standings = query.ask(boards, now).standings
    except UnknownRoomError:
        return None
    return next((row for row in standings if row.homeserver == name), None)


def _measure(text: str) -> int:
    """The width of one side in pixels, its margins included."""
    widths = (next((w for ones, w in _WIDTHS.items() if one in ones), 7.0) for one in text)
    return round(sum(widths)) + 12
