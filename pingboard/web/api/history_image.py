"""/homeservers/{name}/history.svg: a homeserver's history for a README, in the colours of light and
dark.

Like a badge it is an image whatever its name is: of a homeserver that is not known it says so, with
status 200, because image proxies drop errors.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from pingboard import homeservers
from pingboard.boards import Boards
from pingboard.model import (
    DEFAULT_BOARD,
    BoardName,
    UnknownHomeserverError,
    UnknownRoomError,
    Window,
    describe_board,
)
from pingboard.ranking.history import STEPS
from pingboard.render.markdown import shortest_decimal
from pingboard.web import errors
from pingboard.web.api.badges import SvgResponse, clean_xml
from pingboard.web.charts import smoke
from pingboard.web.dependencies import GivenBoards, Now
from pingboard.web.middleware import FRESH
from pingboard.web.pages.language import get_language
from pingboard.web.pages.layout import render_text
from pingboard.web.parameters import ImageQuery

router = APIRouter(tags=["badges"], responses=errors.BAD_PARAMETER_RESPONSE)

MAX_TITLE_CHARACTERS = 60


@router.get(
    "/homeservers/{name:anything}/history.svg",
    operation_id="get_history_image",
    summary="One homeserver over time, as an image",
    response_class=SvgResponse,
    responses={
        200: {
            "description": "The image",
            "content": {SvgResponse.media_type: {"schema": {"type": "string"}}},
        }
    },
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
    """Median, percentile bands and loss over time, 720 x 240, light or dark as its viewer is."""
    drawing, standing, board = _draw(boards, now, name, query)
    shown = clean_xml(name)
    shown = shown if len(shown) <= MAX_TITLE_CHARACTERS else f"{shown[:MAX_TITLE_CHARACTERS]}…"
    svg = render_text(
        "charts/history.svg",
        {
            "title": f"{shown} · {describe_board(board).number}",
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
    standing = f"#{row.rank} · {shortest_decimal(row.median_ms)} ms" if row else ""
    text = f"{standing} · {_name(query, window)}".strip(" ·")
    return smoke.draw(buckets, window, step), text, board.name


def _name(query: ImageQuery, window: Window) -> str:
    if query.from_ or query.to:
        return f"{window.start:%Y-%m-%d} to {window.end:%Y-%m-%d}"
    return query.window or "7d"


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
