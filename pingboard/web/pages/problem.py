"""A problem (RFC 9457) as a page for people, in their language; /problems/{kind}: what it means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response

from pingboard.model import WINDOWS, BoardName
from pingboard.web.pages.language import LANGUAGES, mark
from pingboard.web.pages.layout import TAG, PageQuery, render
from pingboard.web.problem_types import TYPES

MAX_SHOWN_CHARACTERS = 200
"""Of what was asked for, where it is given back."""

MAX_ROOMS = 20

VALUES = {
    "board": mark("One of %(boards)s."),
    "window": mark("One of %(windows)s; left out where from and to are given."),
    "from": mark(
        "A time with its timezone, before the end and at most 366 days before it, such as "
        "2026-10-05T00:00:00Z."
    ),
    "to": mark("A time with its timezone, after the start, such as 2026-10-12T00:00:00Z."),
    "limit": mark("A whole number from 1 to 10,000."),
    "min_samples": mark("A whole number from 1 to 1,000,000,000."),
    "lang": mark("One of %(languages)s."),
    "sort": mark("A column, such as median; with a - before it, the other way round."),
    "q": mark("At most 255 characters."),
    "homeserver": mark("At most 255 characters."),
    "with": mark("At most 255 characters."),
    "pings": mark("A whole number from 1 to 1,000."),
    "pongs": mark("A whole number from 1 to 1,000."),
    "room": mark("An alias or room ID; in an address the # of an alias is written %%23."),
}
"""What a parameter of a page may be, of the catalogue; what may be chosen is in CHOICES."""

CHOICES = {
    "boards": ", ".join(BoardName),
    "windows": ", ".join(WINDOWS),
    "languages": ", ".join(LANGUAGES),
}


router = APIRouter(tags=[TAG], include_in_schema=False)


@router.get("/problems/{kind}")
async def show_problem_type(
    request: Request, kind: Annotated[str, Path()], _query: Annotated[PageQuery, Query()]
) -> Response:
    """What a problem's `type` means."""
    if kind not in TYPES:
        raise HTTPException(404)
    return render(request, "problem_type.html", {"type": TYPES[kind]})


def render_problem(
    request: Request, problem: Mapping[str, Any], headers: Mapping[str, str]
) -> HTMLResponse:
    """A problem as a page, with its status; its links leave out what may be wrong."""
    kind = str(problem["type"]).rpartition("/")[2]
    context = {
        "problem": problem,
        "kind": kind,
        "meaning": TYPES[kind].meaning,
        "values": VALUES,
        "choices": CHOICES,
        "path": request.url.path[:MAX_SHOWN_CHARACTERS],
        "room_asked": request.query_params.get("room", "")[:MAX_SHOWN_CHARACTERS],
        "rooms_known": _list_rooms(request) if kind == "unknown-room" else [],
    }
    return render(
        request,
        "problem.html",
        context,
        status=problem["status"],
        headers=headers,
        keeps_choice=False,
    )


def _list_rooms(request: Request) -> list[str]:
    rooms = request.app.state.given.boards.rooms()
    return [room.alias or room.room_id for room in rooms[:MAX_ROOMS]]
