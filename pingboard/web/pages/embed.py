"""/embed: the board for an iframe on another site, where the operator allows that."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from pingboard.web import errors
from pingboard.web.dependencies import GivenAll, Now
from pingboard.web.pages import choices
from pingboard.web.pages.board import describe_board
from pingboard.web.pages.board_view import BoardPageQuery
from pingboard.web.pages.layout import TAG, render

ROWS = 10
"""Of the board, where nothing else is asked for."""

_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors "
)
"""No script at all: who embeds it gets a table."""

router = APIRouter(tags=[TAG], include_in_schema=False)


@router.get("/embed")
def show_embedded(
    request: Request, given: GivenAll, now: Now, query: Annotated[BoardPageQuery, Query()]
) -> Response:
    """The board without all around it; 403 where embedding is not turned on."""
    if not given.embed_origins:
        raise errors.problem(
            "embedding-off",
            "Embedding is off here. The operator turns it on by naming the sites that may show "
            "the board, for example PINGBOARD_EMBED_ORIGINS=https://blog.example, or * for all.",
        )
    board = query.model_copy(update={"limit": None}).ask(given.boards, now)
    shown = query.model_copy(update={"limit": query.limit or ROWS})
    context = describe_board(request, given.boards, shown, board)
    context["whole"] = "/" + choices.encode(query, limit=None)
    policy = _POLICY + " ".join(given.embed_origins)
    return render(request, "embed.html", context, headers={"Content-Security-Policy": policy})
