"""/editions: the archive, with how the ranks have moved; and the page of each edition."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from pingboard import editions
from pingboard.boards import order_boards
from pingboard.model import DEFAULT_BOARD, BoardName, from_ts
from pingboard.store import editions as store
from pingboard.web.api.editions import Name, find_edition, write_section
from pingboard.web.charts import bumps
from pingboard.web.dependencies import GivenAll
from pingboard.web.pages import choices
from pingboard.web.pages.board import find_room
from pingboard.web.pages.layout import TAG, PageQuery, language_of, render
from pingboard.web.parameters import SectionQuery, parse_instant

WEEKS = 12
"""In the chart."""

ROWS = 25
"""Of each board on an edition's page; its JSON has all."""

router = APIRouter(tags=[TAG], include_in_schema=False)


class EditionsPageQuery(PageQuery):
    """Whose ranks the chart shows."""

    board: BoardName | None = Field(
        None, description="Left out: `response`, or the first board that editions have."
    )


@router.get("/editions")
def show_editions(
    request: Request, given: GivenAll, query: Annotated[EditionsPageQuery, Query()]
) -> Response:
    """Every edition, the newest first, and the ranks of the last ones as lines."""
    boards = given.boards
    room_id, alias = find_room(boards, query)
    board, weeks = query.board or DEFAULT_BOARD, []
    for name in [query.board] if query.board else order_boards(DEFAULT_BOARD):
        if room_id and (weeks := editions.read_ranks(boards.engine, WEEKS, room_id, alias, name)):
            board = name
            break
    default = board if query.board is None else DEFAULT_BOARD
    drawn = bumps.draw(weeks)
    latest = store.read_latest_editions(boards.engine, 1)
    firsts = {name: min(ranks, key=lambda homeserver: ranks[homeserver]) for name, ranks in weeks}
    context: dict[str, Any] = {
        "room": alias or room_id,
        "board": board,
        "boards": choices.link_boards(
            request.url.path, query, board, language_of(request), default
        ),
        "section": write_section(given, latest[0], SectionQuery()) if latest else None,
        "bumps": drawn,
        "editions": [
            (name, from_ts(ts), firsts.get(name))
            for name, ts in store.read_edition_names(boards.engine).items()
        ],
    }
    return render(request, "editions.html", context, room_id=room_id)


@router.get("/editions/{name}")
def show_edition(
    request: Request, given: GivenAll, name: Name, query: Annotated[PageQuery, Query()]
) -> Response:
    boards = given.boards
    edition = find_edition(boards, name)
    document = json.loads(edition.json)
    names = list(store.read_edition_names(boards.engine))
    number = names.index(name)
    context = {
        "name": name,
        "section": write_section(given, edition, SectionQuery()),
        "window": {end: parse_instant(document["window"][end]) for end in ("from_at", "to_at")},
        "sections": document["rooms"],
        "meanings": choices.MEANINGS,
        "rows": ROWS,
        "newer": names[number - 1] if number else None,
        "older": names[number + 1] if number + 1 < len(names) else None,
        "query": query,
    }
    return render(request, "edition.html", context)
