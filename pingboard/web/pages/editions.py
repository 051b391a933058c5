"""/editions: the archive, with how the ranks have moved; and the page of each edition."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from pingboard import editions
from pingboard.model import BoardName, UnknownRoomError, from_ts
from pingboard.store import editions as store
from pingboard.web.api.editions import Name, find_edition
from pingboard.web.charts import bumps
from pingboard.web.dependencies import GivenBoards
from pingboard.web.pages import choices
from pingboard.web.pages.layout import TAG, PageQuery, language_of, render
from pingboard.web.parameters import parse_instant

WEEKS = 12
"""In the chart."""

ROWS = 25
"""Of each board on an edition's page; its JSON has all."""

router = APIRouter(tags=[TAG], include_in_schema=False)


class EditionsPageQuery(PageQuery):
    """Whose ranks the chart shows."""

    board: BoardName = BoardName.RESPONSE


@router.get("/editions")
def show_editions(
    request: Request, boards: GivenBoards, query: Annotated[EditionsPageQuery, Query()]
) -> Response:
    """Every edition, the newest first, and the ranks of the last ones as lines."""
    room_id = alias = None
    try:
        room_id, alias = boards.find_room(query.room)
    except UnknownRoomError:
        # Before the default room is joined there is no edition, and nothing wrong.
        if query.room is not None:
            raise
    weeks = (
        editions.read_ranks(boards.engine, WEEKS, room_id, alias, query.board) if room_id else []
    )
    drawn = bumps.draw(weeks)
    firsts = {name: min(ranks, key=lambda one: ranks[one]) for name, ranks in weeks}
    context: dict[str, Any] = {
        "room": alias or room_id,
        "board": query.board,
        "boards": choices.link_boards(request.url.path, query, query.board, language_of(request)),
        "bumps": drawn,
        "editions": [
            (name, from_ts(ts), firsts.get(name)) for name, ts in store.names(boards.engine).items()
        ],
    }
    return render(request, "editions.html", context, room_id=room_id)


@router.get("/editions/{name}")
def show_edition(
    request: Request, boards: GivenBoards, name: Name, query: Annotated[PageQuery, Query()]
) -> Response:
    """The boards of one week, as they were frozen."""
    document = json.loads(find_edition(boards, name).json)
    names = list(store.names(boards.engine))
    number = names.index(name)
    context = {
        "name": name,
        "window": {end: parse_instant(document["window"][end]) for end in ("from", "to")},
        "sections": document["rooms"],
        "meanings": choices.MEANINGS,
        "rows": ROWS,
        "newer": names[number - 1] if number else None,
        "older": names[number + 1] if number + 1 < len(names) else None,
        "query": query,
    }
    return render(request, "edition.html", context)
